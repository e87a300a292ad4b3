# The outlet: STDOUT -> topic. One thread, no GIL, no Python object per line.


cdef void outlet_serve(outlet_t *s) noexcept nogil:
    """Take the delivery reports, and pass on how far everything is delivered."""
    rdk.poll(s.rk, 0)
    outlet_file_letters(s)
    delivery_advance(&s.delivery)
    progress_deliver(&s.progress, s.delivery.done_end, s.delivery.done_mark)
    if s.abandoning and s.in_flight == 0:
        s.abandoning = False


cdef void outlet_look_for_fatal(outlet_t *s, int64_t now_ns) noexcept nogil:
    """After a fatal error the client sends nothing, and keeps what it has for ever, because nothing times out.

    So it has to give everything back, for a new one. Asked again: an answer may put lines into its queue once more.
    """
    cdef char why[8]
    s.call = CALL_NONE
    s.fatal = s.fatal or rdk.fatal_error(s.rk, why, sizeof(why)) != RDK_ERR_NONE
    if s.fatal and s.in_flight + s.letters_flying > 0:
        rdk.purge(s.rk, RDK_PURGE_QUEUE_AND_INFLIGHT | RDK_PURGE_NON_BLOCKING)
    elif s.fatal and now_ns >= s.call_again_ns and not client_disposal_under_way(&s.disposal):
        s.call = CALL_RENEW


cdef int64_t outlet_undelivered(outlet_t *s) noexcept nogil:
    return s.pending_count + <int64_t>s.returned.count + s.in_flight


cdef int64_t outlet_kept(const outlet_t *s) noexcept nogil:
    """Bytes of whole lines that runs which are over left in the buffer."""
    return max(0, s.kept_until - outlet_position(s, s.begin))


cdef int outlet_round(outlet_t *s) noexcept nogil:
    """Everything that can be done without waiting. Returns the milliseconds to wait for events, -1 to end."""
    cdef int64_t now_ns = monotonic_ns()
    cdef int64_t gathered_ns
    cdef bint room
    cdef int i
    s.begin_owed = False
    outlet_seal_empty(s)
    outlet_serve(s)
    outlet_send_letters(s, now_ns)
    s.letters_full = False
    if s.transactional:
        outlet_transact(s, now_ns)
        if s.call == CALL_EXPLAIN:
            return 0        # nothing can be sent in this transaction any more
    if outlet_holds(s):
        room = outlet_flush(s, now_ns)
        while s.to_the_end and not s.ended and s.end - s.begin < s.capacity and outlet_read(s):
            pass
        room = room and s.end - s.begin < s.capacity
        if s.ended and not s.ended_told:
            s.ended_told = True
            notice_post(&s.client.notices, NOTICE_STDOUT_ENDED, <int>(s.end - s.begin), b"")
    else:
        room = outlet_frame(s, now_ns)
        for i in range(READS_A_ROUND):
            if not room or s.ended or s.progress.fd < 0 or not outlet_read(s):
                break
            room = outlet_frame(s, now_ns)
            outlet_serve(s)
        room = room and not s.letters_full
        if room and s.ended and not s.ended_told:
            s.ended_told = True
            notice_post(&s.client.notices, NOTICE_STDOUT_ENDED, <int>(s.end - s.begin), b"")
    if room and s.full:
        s.full_ns += now_ns - s.full_since_ns
    elif not room and not s.full:
        s.full_since_ns = now_ns
    s.full = not room
    progress_hold(&s.progress, s.full or outlet_holds(s))
    if s.stopping and ((outlet_undelivered(s) == 0 and not outlet_has_letters(s)) or now_ns >= s.stop_deadline_ns):
        return -1
    if s.transactional:
        outlet_transact(s, now_ns)      # again: this round may have come to the cut
    else:
        outlet_look_for_fatal(s, now_ns)
    if s.call != CALL_NONE:
        return 0
    if s.stopping or s.abandoning:
        return CLOSING_WAIT_MS
    if s.pending_count == 0 and s.returned.count == 0:
        return FULL_WAIT_MS if s.full else IDLE_WAIT_MS
    gathered_ns = s.handed_over_ns + s.burst.gather_ns - now_ns
    if outlet_may_begin_burst(s) and 0 < gathered_ns < FULL_WAIT_MS * <int64_t>1000000:
        return <int>(gathered_ns // 1000000) + 1
    return FULL_WAIT_MS


cdef void outlet_publish(outlet_t *s) noexcept nogil:
    """Holding the lock: show Python how things are now."""
    cdef outlet_counters_t now
    now.lines_read = s.lines_read
    now.markers_echoed = s.markers_echoed
    now.bytes_read = s.bytes_read
    now.lines_delivered = s.lines_delivered
    now.bytes_produced = s.bytes_produced
    now.lines_discarded = s.lines_discarded
    now.lines_oversize = s.lines_oversize
    now.lines_unproducible = s.lines_unproducible
    now.lines_abandoned = s.lines_abandoned
    now.lines_lost = s.lines_lost
    now.lines_not_json = s.lines_not_json
    now.lines_repaired = s.lines_repaired
    now.retries = s.retries
    now.undelivered = outlet_undelivered(s)
    now.kept_bytes = outlet_kept(s)
    now.last_error = s.last_error
    now.dead_letters_delivered = s.letters_delivered
    now.dead_letter_error = s.letter_error
    now.dead_letters_waiting = outlet_letters_waiting(s)
    now.dead_letters_in_flight = s.letters_flying
    now.clients_renewed = s.renewals
    now.transaction_open = s.open
    now.transactions_committed = s.commits
    now.transactions_aborted = s.aborts
    now.lines_since_marker = s.unmarked
    now.output_full = s.full
    now.output_full_ns = s.full_ns
    now.slabs_live = s.delivery.slabs_live
    now.slab_bytes = s.delivery.slab_bytes
    now.returned_bytes = s.returned.capacity * sizeof(rd_kafka_message_t)
    now.key_bytes = keys_held(&s.progress.keys)
    now.reads = s.reads
    now.brokers_up = s.client.brokers_up
    now.notices_dropped = s.client.notices.dropped
    now.full_since_ns = s.full_since_ns if s.full else 0
    now.call_since_ns = s.call_since_ns
    counters_publish(&s.published, <const int64_t *>&now, sizeof(now) // sizeof(int64_t))


cdef void outlet_lock(outlet_t *s) noexcept nogil:
    """By the outlet's thread. Never held round a call that waits."""
    turnstile_enter_loop(&s.gate)
    notices_hold(&s.client.notices)


cdef void outlet_unlock(outlet_t *s) noexcept nogil:
    outlet_publish(s)
    notices_show(&s.client.notices)
    turnstile_leave(&s.gate)


cdef void outlet_close(outlet_t *s) noexcept nogil:
    """Purge what could not be delivered, serve its reports, destroy the client: in that order.

    Nobody who gives an order waits for librdkafka: the lock is not held while it works.
    """
    cdef rd_kafka_t *rk = s.rk
    cdef rd_kafka_topic_t *rkt = s.rkt
    cdef rd_kafka_topic_t *letters_rkt = s.letters_rkt
    cdef void *error
    cdef int i
    rdk.purge(rk, RDK_PURGE_QUEUE_AND_INFLIGHT)
    for i in range(100):
        outlet_lock(s)
        rdk.poll(rk, 0)
        outlet_unlock(s)
        if rdk.outq_len(rk) == 0:
            break
        wait_wake(s.wake_fd, CLOSING_WAIT_MS)
    outlet_lock(s)
    s.lines_abandoned += s.pending_count + s.returned.count
    s.pending_count = 0
    returned_clear(&s.returned)
    outlet_drop_letters(s)
    s.rk = NULL
    s.rkt = s.letters_rkt = NULL
    outlet_unlock(s)
    if s.open:      # readers need not wait for its timeout
        error = rdk.abort_transaction(rk, CALL_TIMEOUT_MS)
        if error != NULL:
            rdk.error_destroy(error)
    outlet_drop_offsets(s)
    live_add(LIVE_lines, s.in_flight + s.letters_flying)
    producer_destroy(rk, rkt, letters_rkt, s.main_queue)
    client_disposal_end(&s.disposal)


cdef void outlet_run(outlet_t *s) noexcept nogil:
    cdef pollfd waits[2]
    cdef int timeout_ms
    sys.thread_name(b"outlet")
    while True:
        outlet_lock(s)
        timeout_ms = outlet_round(s)
        waits[0].fd = s.wake_fd
        waits[0].events = POLLIN
        waits[1].fd = s.progress.fd if not outlet_holds(s) and not s.full and not s.ended else -1
        waits[1].events = POLLIN
        outlet_unlock(s)
        if timeout_ms < 0:
            break
        if s.call != CALL_NONE:
            outlet_make_call(s)
            continue
        sys.poll(waits, 2, timeout_ms)
        if waits[0].revents & POLLIN:
            drain_wakes(s.wake_fd)
    outlet_close(s)
    notice_post(&s.client.notices, NOTICE_CLOSED, 0, b"")


cdef void outlet_free(outlet_t *s) noexcept nogil:
    if s.delivery.ring != NULL:
        delivery_close(&s.delivery)
    envelope_free(&s.env)
    properties_free(&s.properties)
    free(s.buffer)
    free(s.pending)
    returned_clear(&s.returned)
    keys_close(&s.progress.keys)
    free(s.key)
    free(s.partitions.loads)
    progress_detach(&s.progress)
    close_if_open(s.wake_fd)
    close_if_open(s.client.notices.wake_fd)
    free(s)
    live_add(LIVE_objects, -1)


cdef void *outlet_dispose(void *opaque) noexcept nogil:
    """Of one that never ran. The client's threads may use what is freed until it is destroyed."""
    cdef outlet_t *s = <outlet_t *>opaque
    outlet_drop_letters(s)
    producer_destroy(s.rk, s.rkt, s.letters_rkt, s.main_queue)
    outlet_free(s)
    return NULL


cdef double number_in(dict config, str name, double default) except? -1:
    """The value of a property that the outlet goes by too."""
    try:
        return float(config.get(name, default))
    except ValueError:
        raise ValueError(f"{name} is {config[name]!r}, expected a number") from None


cdef class Outlet:
    """Reads the Calculator's STDOUT, wraps each line in a dataframe and produces it to one topic.

    ``run`` is the body of a thread of its own; every other method may be called from one other thread and takes effect
    before it returns, without waiting for I/O. Lines stay in the pipe (``hold``) until ``produce_to`` or ``discard``.
    """

    cdef outlet_t *s
    cdef bytes topic
    cdef bytes dead_letter_topic
    cdef bytes workspace

    def __cinit__(self, *args, **kwargs):
        self.s = <outlet_t *>calloc(1, sizeof(outlet_t))
        if self.s == NULL:
            raise MemoryError
        live_add(LIVE_objects, 1)
        self.s.wake_fd = self.s.client.notices.wake_fd = -1
        progress_open(&self.s.progress)

    def __init__(self, dict config not None, str wsp not None, *, bint output_json,
                 size_t max_line_bytes, size_t max_message_bytes, size_t max_slab_bytes, bytes marker_prefix=b"",
                 bint transactional=False, bint at_most_once=False, bint propagate_key=False):
        """``config``: librdkafka properties; ``wsp``: the workspace's uid; ``max_slab_bytes``: bound of the envelopes
        that are not delivered yet; ``marker_prefix``: how the marker lines of the `marker` rule begin;
        ``transactional``: `exactly-once`, ``config`` has a transactional.id;
        ``propagate_key``: PROPAGATE_KEY, the keys of the records in flight are carried to their lines;
        ``at_most_once``: a line that the broker may have is not sent again, ``config`` allows no retries.

        Raises ValueError with librdkafka's reason if it refuses a property.
        """
        cdef outlet_t *s = self.s
        cdef bytes uid = wsp.encode()
        cdef char why[512]
        cdef bint made
        self.workspace = uid
        s.progress.workspace = self.workspace
        s.propagate_key = propagate_key
        s.output_json = output_json
        s.max_line_bytes = max_line_bytes
        s.max_message_bytes = max_message_bytes - PRODUCER_OVERHEAD_BYTES
        s.capacity = max_line_bytes + READ_BYTES
        if notices_open(&s.client.notices) != 0:
            raise OSError(errno, "eventfd")
        turnstile_open(&s.gate)
        kernels_select(cpu_best_isa())
        s.burst = burst_limits(<int>number_in(config, "batch.num.messages", 10000),
                               <size_t>min(number_in(config, "batch.size", 1e6),
                                           number_in(config, "message.max.bytes", 1e6)),
                               number_in(config, "linger.ms", 5))
        s.buffer = <uint8_t *>malloc(s.capacity + FRAMING_PADDING)
        s.pending = <rd_kafka_message_t *>malloc(s.burst.max_lines * sizeof(rd_kafka_message_t))
        if marker_open(&s.progress.marker, <const uint8_t *><const char *>marker_prefix, len(marker_prefix)) != 0:
            raise ValueError("the marker's prefix is too long")
        if s.propagate_key:
            keys_open(&s.progress.keys)
        if s.buffer == NULL or s.pending == NULL or delivery_open(&s.delivery, max_slab_bytes) != 0 \
                or envelope_init(&s.env, &kernels, <const uint8_t *><const char *>uid, len(uid)) != 0:
            raise MemoryError
        s.wake_fd = wake_open()
        if s.wake_fd < 0:
            raise OSError(errno, "eventfd")
        s.progress.outlet_wake_fd = s.wake_fd
        s.transactional = transactional
        s.at_most_once = at_most_once
        properties_of({**config, "linger.ms": HAND_OVER_MS}, &s.properties)
        with nogil:
            made = outlet_make_client(s, &s.rk, &s.main_queue, why, sizeof(why))
        if not made:
            raise ValueError((<bytes>why).decode("utf-8", "replace"))
        s.client.brokers_up = -1
        outlet_publish(s)

    def __dealloc__(self):
        if self.s == NULL:
            return
        if self.s.rk == NULL:
            outlet_free(self.s)
        else:                   # it never ran
            dispose_in_background(outlet_dispose, self.s)

    cdef void enter(self) noexcept:
        with nogil:
            turnstile_enter_caller(&self.s.gate)

    cdef void leave(self) noexcept:
        outlet_publish(self.s)
        turnstile_leave(&self.s.gate)
        wake(self.s.wake_fd)

    def run(self) -> None:
        """Until ``stop``: the thread's body. Posts the notice ``closed`` when the client is gone."""
        with nogil:
            outlet_run(self.s)

    def produce_to(self, str topic not None) -> None:
        """Lines go to ``topic`` from now on. RuntimeError while lines for another topic are undelivered."""
        cdef bytes name = topic.encode()
        self.enter()
        try:
            if self.s.rkt == NULL or name != self.topic:
                self.take_topic_away()
                outlet_end_groups(self.s)
                self.s.rkt = partition_topic_new(self.s.rk, name, self.s.propagate_key)
                partitions_forget(&self.s.partitions)
                self.topic = name
            self.s.flow = PRODUCE
            self.s.last_error = 0
        finally:
            self.leave()

    def bury_in(self, str topic) -> None:
        """Dead letters go to ``topic`` from now on; None: nowhere, those of records wait, of lines are dropped."""
        cdef bytes name = topic.encode() if topic is not None else None
        self.enter()
        if name != self.dead_letter_topic:
            if self.s.letters_rkt != NULL:
                rdk.topic_destroy(self.s.letters_rkt)
            self.s.letters_rkt = rdk.topic_new(self.s.rk, name, NULL) if name is not None else NULL
            self.s.letters_retry_at_ns = 0
            outlet_retry_letters(self.s)
            self.s.letter_error = 0
            self.dead_letter_topic = name
            if name is None:
                outlet_drop_lines_letters(self.s)
        self.leave()

    def forget_letters(self) -> None:
        """In a transaction: the inlet that posted letters is gone, and its records are read again."""
        self.enter()
        if self.s.transactional:
            outlet_drop_letters(self.s)
        self.leave()

    def discard(self) -> None:
        """Lines are read, counted and dropped from now on. RuntimeError while lines for a topic are undelivered."""
        self.enter()
        try:
            self.take_topic_away()
            self.s.flow = DISCARD
        finally:
            self.leave()

    def hold(self) -> None:
        """Lines stay in the pipe from now on; what was read before is still delivered."""
        self.enter()
        self.s.flow = HOLD
        self.leave()

    cdef take_topic_away(self):
        if outlet_undelivered(self.s) > 0:
            raise RuntimeError("lines for the last topic are not delivered yet")
        if self.s.rkt != NULL:
            rdk.topic_destroy(self.s.rkt)
            self.s.rkt = NULL

    def attach(self, int stdout_fd) -> None:
        """A new run of the Calculator: read its STDOUT. Takes ownership of ``stdout_fd`` (non-blocking)."""
        cdef outlet_t *s = self.s
        self.enter()
        s.ended = s.ended_told = s.to_the_end = False
        s.unmarked = 0
        s.first_owed = True
        surplus_begin(&s.progress.surplus)
        if s.begin == s.end:
            s.skipping = False      # else the end of a line over the limit is still in the buffer
        s.seal_owed = True
        outlet_seal_empty(s)
        progress_attach(&s.progress, stdout_fd)
        self.leave()

    def read_to_end(self) -> None:
        """The Calculator is gone: while lines are held, take what it left in the pipe into the buffer, if it fits.

        The notice ``stdout-ended`` tells when the end was reached.
        """
        self.enter()
        self.s.to_the_end = True
        self.leave()

    def finish(self, *, bint keep_lines, bint keep_tail) -> int:
        """The run is over: close its STDOUT. Returns the length of its unfinished last line in bytes.

        ``keep_lines``: lines that were read and not framed yet wait for a topic; else they are dropped (they must not
        go to the next one). ``keep_tail``: the unfinished line becomes a record all the same (the Calculator ended in
        order); else it is dropped (it died in the middle of it).
        """
        cdef outlet_t *s = self.s
        cdef size_t tail = 0
        cdef int64_t lines
        self.enter()
        progress_detach(&s.progress)
        s.seal_owed = False
        if not keep_lines:
            s.begin = s.scanned = s.end     # its position is told at the next attach, after the inlet's detach
        while tail < s.end - s.begin and s.buffer[s.end - tail - 1] != c'\n':
            tail += 1
        if tail > 0 and keep_tail and not (s.skipping and tail == s.end - s.begin):
            s.buffer[s.end] = c'\n'     # the buffer has FRAMING_PADDING bytes behind its capacity
            s.end += 1
            s.progress.read_position += 1
            if s.flow != HOLD:
                outlet_frame(s, monotonic_ns())     # now, so that the inlet's fences find the line's end
        else:
            s.end -= tail
            s.dropped += tail
            s.scanned = min(s.scanned, s.end)
        s.kept_until = outlet_position(s, s.end)
        s.ended = s.ended_told = True
        progress_expect_mark(&s.progress, outlet_mark_after(s, s.buffer + s.begin, s.end - s.begin, &lines))
        self.leave()
        return tail

    def abandon(self) -> None:
        """Give up every line that is not delivered, and those that runs which are over left in the buffer.

        ``undelivered`` of the snapshot tells when that is done.

        The inlet must have forgotten its fences first (``Inlet.forget``), or records would count as answered
        by lines that never arrived.
        """
        cdef outlet_t *s = self.s
        cdef int i
        cdef size_t kept
        cdef int64_t lines
        self.enter()
        s.abandoning = True
        for i in range(s.pending_count):
            (<batch_t *>s.pending[i]._private).outstanding -= 1
        for i in range(<int>s.returned.count):
            (<batch_t *>returned_first(&s.returned)[i]._private).outstanding -= 1
        s.lines_abandoned += s.pending_count + s.returned.count
        s.pending_count = 0
        returned_taken(&s.returned, s.returned.count, 0, s.in_flight)
        s.retry_at_ns = 0
        outlet_end_groups(s)
        kept = outlet_kept(s)
        if kept > 0:
            s.mark = outlet_mark_after(s, s.buffer + s.begin, kept, &lines)
            s.lines_abandoned += lines
            s.lines_read += lines
            s.begin += kept
            s.scanned = max(s.scanned, s.begin)
        rdk.purge(s.rk, RDK_PURGE_QUEUE_AND_INFLIGHT | RDK_PURGE_NON_BLOCKING)
        self.leave()

    def abort(self) -> None:
        """Abort the open transaction, and drop every line until the inlet writes its records again.

        A commit that is under way is not stopped: what it covers counts.
        """
        cdef int state
        self.enter()
        state = cut_state(&self.s.progress.cut)
        if state != CUT_OFFSETS and state != CUT_COMMITTED and state != CUT_VOID:
            # The outlet's thread waits for the lock; the inlet's may move it on meanwhile, and nothing comes of that.
            while not cut_move(&self.s.progress.cut, state, CUT_VOID):
                state = cut_state(&self.s.progress.cut)
            outlet_fail(self.s, 0, b"")
        self.leave()

    @property
    def voided(self) -> bool:
        """Whether a transaction was lost and its records are not being written again yet."""
        return cut_state(&self.s.progress.cut) == CUT_VOID

    def stop(self, double deadline_s) -> None:
        """End ``run``: as soon as everything taken is delivered, at the latest in ``deadline_s``."""
        self.enter()
        self.s.stop_deadline_ns = monotonic_ns() + <int64_t>(deadline_s * 1e9)
        self.s.stopping = True
        self.leave()

    @property
    def notice_fd(self) -> int:
        """An eventfd, written when there are notices to take. It lives as long as this object."""
        return self.s.client.notices.wake_fd

    def notices(self) -> list[tuple[str, int, str]]:
        """Take what the thread has to tell: (kind, code, text) each."""
        return take_notices(&self.s.client.notices)

    def snapshot(self) -> dict[str, int]:
        """Counters since the outlet was made, and what is under way; as the last round or order left them.

        From any thread, without waiting.
        """
        cdef outlet_counters_t now
        counters_read(&self.s.published, <int64_t *>&now, sizeof(now) // sizeof(int64_t))
        cdef dict taken = now
        since_ns = taken.pop("full_since_ns")
        taken["output_full_ns"] += monotonic_ns() - since_ns if since_ns else 0
        since_ns = taken.pop("call_since_ns")
        taken["call_ms"] = (monotonic_ns() - since_ns) // 1000000 if since_ns else 0
        return taken
