# The inlet: topic -> STDIN. One thread, no GIL, no Python object per record.


cdef void inlet_note_partitions(inlet_t *s, int kind, int count, const char *why) noexcept nogil:
    notice_post(&s.client.notices, kind, count, why)


cdef void inlet_publish(inlet_t *s) noexcept nogil:
    """Holding the lock: show Python how things are now."""
    cdef inlet_counters_t now
    cdef int unread = 0
    if s.stdin_fd >= 0:
        sys.unread_bytes(s.stdin_fd, &unread)
    now.assigned_partitions = s.assigned
    now.unplaced_partitions = s.unplaced.cnt if s.unplaced != NULL else 0
    now.readable_partitions = s.readable
    now.records_read = s.records_read
    now.bytes_read = s.bytes_read
    now.tombstones = s.tombstones
    now.values_changed = s.ledger.values_changed
    now.lines_written = s.lines_written
    now.bytes_written = s.bytes_written
    now.acknowledged = s.acknowledged
    now.replayed = s.replayed
    now.in_flight_records = s.ledger.tail - s.ledger.head
    now.in_flight_bytes = s.ledger.bytes
    now.unacknowledged = max(s.ledger.cursor + (s.ledger.cursor_bytes > 0),
                             max(s.committed, s.commit_target)) - s.ledger.head
    now.unanswered = s.ledger.cursor - s.ledger.answered + (s.ledger.cursor_bytes > 0)
    now.protocol_violations = s.rules_broken
    now.markers_written = s.ledger.mark if s.ledger.count == LEDGER_COUNT_MARKERS else 0
    now.echo_owed = s.echo_owed
    now.rule_broken = s.rule_broken
    now.written_alone = s.alone_until > 0
    now.written_carefully = s.careful_until > 0
    now.dead_in_flight = s.ledger.dead
    now.lines_in_flight = ledger_lines_in_flight(&s.ledger)
    now.stdin_unread_bytes = unread
    now.stdin_full = s.full_since_ns > 0
    now.stdin_full_ns = s.full_ns
    now.stdin_broken = s.stdin_broken
    now.rounds = s.rounds
    now.probes = s.probes + s.demand.looks
    now.watch_note = demand_note(&s.demand) if s.attached else 0
    now.feed_bytes = s.feed.allowed_bytes
    now.brokers_up = s.client.brokers_up
    now.group_steady = s.client.group_steady
    now.notices_dropped = s.client.notices.dropped
    now.full_since_ns = s.full_since_ns
    counters_publish(&s.published, <const int64_t *>&now, sizeof(now) // sizeof(int64_t))


cdef void inlet_publish_lag(inlet_t *s, int64_t now_ns) noexcept nogil:
    cdef int32_t i, count = 0
    cdef int64_t low
    cdef lag_entry_t *entry
    if lag_reserve(&s.lag, s.ledger.partition_count) != 0:
        return
    s.readable = 0
    for i in range(s.ledger.partition_count):
        if s.ledger.partitions[i].state == PARTITION_LOST:
            continue
        entry = &s.lag.next[count]
        entry.partition = i
        entry.acknowledged = s.ledger.partitions[i].next_offset
        low = entry.high = -1
        rdk.get_watermark_offsets(s.rk, s.topic, i, &low, &entry.high)
        s.readable += entry.high >= 0
        count += 1
    lag_show(&s.lag, count)
    s.next_lag_ns = now_ns + LAG_INTERVAL_NS
    s.lag_acknowledged = s.acknowledged


cdef void inlet_lock(inlet_t *s) noexcept nogil:
    """By the inlet's thread. Never held round a call that waits."""
    turnstile_enter_loop(&s.gate)
    notices_hold(&s.client.notices)


cdef void inlet_unlock(inlet_t *s) noexcept nogil:
    inlet_publish(s)
    notices_show(&s.client.notices)
    turnstile_leave(&s.gate)


# Calls that librdkafka's main thread answers, which may wait for a broker's thread that looks a name up. Made without
# the lock, so orders may come meanwhile: the caller keeps nothing over the call that they could change.

cdef void inlet_assign_none(inlet_t *s) noexcept nogil:
    inlet_unlock(s)
    rdk.assign(s.rk, NULL)
    inlet_lock(s)


cdef bint inlet_is_cooperative(inlet_t *s) noexcept nogil:
    cdef const char *protocol
    inlet_unlock(s)
    protocol = rdk.rebalance_protocol(s.rk)
    inlet_lock(s)
    return protocol != NULL and protocol[0] == c'C'     # COOPERATIVE


cdef void inlet_assign_more(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) noexcept nogil:
    inlet_unlock(s)
    rdk.error_destroy(rdk.incremental_assign(s.rk, partitions))
    inlet_lock(s)


cdef void inlet_assign_less(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) noexcept nogil:
    inlet_unlock(s)
    rdk.error_destroy(rdk.incremental_unassign(s.rk, partitions))
    inlet_lock(s)


cdef void inlet_store(inlet_t *s) noexcept nogil:
    """Hand the acknowledged offsets to librdkafka, whose automatic commit sends them."""
    cdef rd_kafka_topic_partition_list_t *offsets
    if s.commit_ahead or s.transactional:
        return
    offsets = inlet_new_offsets(s)
    if offsets != NULL:
        # An error here is ERR__STATE: the partition was lost in between, and its next owner reads the records again.
        rdk.offsets_store(s.rk, offsets)
        rdk.topic_partition_list_destroy(offsets)


cdef void inlet_acknowledge(inlet_t *s) noexcept nogil:
    """Take out of the ledger what is acknowledged now."""
    if s.transactional:
        return          # when it is committed
    if s.ledger.count == LEDGER_COUNT_BYTES:
        inlet_release(s, ledger_settle(&s.ledger, progress_delivered(s.progress)))
    elif s.ledger.count == LEDGER_COUNT_LINES:
        inlet_release(s, inlet_settled_lines(s))
    else:
        inlet_release(s, ledger_settle_marks(&s.ledger, progress_mark_delivered(s.progress)))


cdef int64_t inlet_watch(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Look at the Calculator by the rule that acknowledges. Returns in how many ns to look again; 0: for nothing."""
    if s.ledger.count == LEDGER_COUNT_BYTES:
        return s.look_again_ns      # it was looked at before the last write
    if s.ledger.count == LEDGER_COUNT_LINES:
        return inlet_watch_lines(s, now_ns)
    return inlet_watch_markers(s, now_ns)


cdef void inlet_release(inlet_t *s, int64_t sequence) noexcept nogil:
    cdef ledger_entry_t *entry
    ledger_acknowledge(&s.ledger, sequence)
    while ledger_may_pop(&s.ledger, s.progress.letters.delivered):
        s.acknowledged += inlet_counts(s, ledger_at(&s.ledger, s.ledger.head))
        entry = ledger_pop(&s.ledger)
        rdk.message_destroy(<rd_kafka_message_t *>entry.record)


cdef bint inlet_counts(const inlet_t *s, const ledger_entry_t *entry) noexcept nogil:
    """Whether a record that is released was acknowledged: one of a partition that was lost is its next owner's.

    Where it was committed before it was written, it is ours for good.
    """
    return ledger_owns(&s.ledger, entry) or (s.commit_ahead and not entry.flags & LEDGER_VOID)


cdef void inlet_give_up(inlet_t *s) noexcept nogil:
    """Answer the group: the partitions asked back are given up, with what was acknowledged of them stored."""
    cdef rd_kafka_topic_partition_list_t *partitions = s.revoking
    cdef rd_kafka_topic_partition_list_t *given = inlet_unexpect(s, partitions)
    cdef int i
    s.revoking = NULL
    inlet_take_commit(s)
    if not rdk.assignment_lost(s.rk):
        inlet_store(s)
    inlet_end_attempts(s, partitions)
    for i in range(partitions.cnt):
        if s.transactional and s.ledger.partitions[partitions.elems[i].partition].in_flight > 0:
            s.abort_owed = True
        ledger_revoke(&s.ledger, partitions.elems[i].partition, inlet_void_from(s))
    s.keys_until = 0
    s.assigned -= partitions.cnt
    s.next_lag_ns = 0
    if inlet_is_cooperative(s):
        inlet_assign_less(s, given)
    else:
        inlet_assign_none(s)
    rdk.topic_partition_list_destroy(given)
    inlet_note_partitions(s, NOTICE_REVOKED, partitions.cnt, s.topic)
    rdk.topic_partition_list_destroy(partitions)


cdef int64_t inlet_void_from(inlet_t *s) noexcept nogil:
    """Of a partition that is gone, records from here on are not written: who gets it reads them."""
    return max(s.ledger.cursor, s.committed)


cdef int64_t inlet_drain_from(inlet_t *s) noexcept nogil:
    """Likewise of one that is to go: a commit that is under way decides about the records that it covers."""
    return max(inlet_void_from(s), s.commit_target)


cdef bint inlet_drained(inlet_t *s) noexcept nogil:
    cdef int i
    if s.commit_ahead:      # what it committed is its own for good, what it did not is left
        return s.commit_target < 0
    for i in range(s.revoking.cnt):
        if s.ledger.partitions[s.revoking.elems[i].partition].in_flight > 0:
            return False
    return True


cdef void on_rebalance(rd_kafka_t *rk, int event, rd_kafka_topic_partition_list_t *partitions,
                       void *opaque) noexcept nogil:
    """Called out of consumer_poll, on the inlet's thread."""
    cdef inlet_t *s = <inlet_t *>opaque
    cdef int i
    if s.revoking != NULL:
        inlet_give_up(s)        # a new rebalance overtakes the drain of the last one
    inlet_answer_without(s)
    if event == RDK_ERR__ASSIGN_PARTITIONS:
        for i in range(partitions.cnt):
            ledger_assign(&s.ledger, partitions.elems[i].partition)
            inlet_begin_attempt(s, partitions.elems[i].partition)
        s.assigned += partitions.cnt
        s.next_lag_ns = 0
        inlet_expect(s, partitions)
        if partitions.cnt > 0:
            inlet_ask_again(s)
        else:
            inlet_answer_without(s)
        inlet_note_partitions(s, NOTICE_ASSIGNED, partitions.cnt, s.topic)
    elif event == RDK_ERR__REVOKE_PARTITIONS:
        s.revoking = rdk.topic_partition_list_copy(partitions)
        for i in range(partitions.cnt):
            ledger_drain(&s.ledger, partitions.elems[i].partition, inlet_drain_from(s))
        s.keys_until = 0
        s.revoke_deadline_ns = monotonic_ns() + s.revoke_grace_ns
        if s.stopping or rdk.assignment_lost(rk) or inlet_drained(s):
            inlet_give_up(s)
    else:
        notice_post(&s.client.notices, NOTICE_ERROR, event, rdk.err2str(event))
        inlet_assign_none(s)


cdef int64_t inlet_take_ahead(const inlet_t *s) noexcept nogil:
    return TAKE_AHEAD if s.commit_ahead else TAKE_BATCH


cdef int64_t inlet_room(inlet_t *s) noexcept nogil:
    """How many records may be taken at once. A few always may where only reading on shows what is done: the first one
    known to be done when the third is read."""
    cdef int64_t room = ledger_batch(&s.ledger, TAKE_BATCH)
    if room <= 0 and inlet_sees_no_rest(s):
        room = LEDGER_LEAST_RECORDS - (s.ledger.tail - s.ledger.head)
    return room


cdef void inlet_take(inlet_t *s) noexcept nogil:
    """Take records as far as there is room; never far ahead of the writing, so that little is dropped on a revoke."""
    cdef int64_t want = inlet_room(s)
    cdef ssize_t n, i
    cdef size_t others
    cdef rd_kafka_message_t *m
    if s.paused or s.draining or s.closing or s.replaced or s.unsure_until_ns > 0 or s.alone_until > 0 \
            or not inlet_may_write(s):
        return
    if s.ledger.tail - s.ledger.cursor >= inlet_take_ahead(s) or want <= 0:
        s.more = True       # as far as we know: the queue tells of a record only once
        return
    n = rdk.consume_batch_queue(s.records, 0, s.taken, want)
    s.more = n == want
    for i in range(n):
        m = s.taken[i]
        if m.err != RDK_ERR_NONE:
            notice_post(&s.client.notices, NOTICE_ERROR, m.err, rdk.err2str(m.err))
            s.next_lag_ns = 0       # what can be read is counted before it is told that something cannot
            rdk.message_destroy(m)
            continue
        if m.partition >= s.ledger.partition_count:     # cannot be: it was never assigned
            rdk.message_destroy(m)
            continue
        s.records_read += 1
        s.bytes_read += m.len
        if m.payload == NULL:
            s.tombstones += 1
        others = m.key_len * (1 + s.propagate_key)      # one that is carried is copied
        others += header_bytes(m, s.taken[i + 1] if i + 1 < n else NULL)
        ledger_append(&s.ledger, m, <const uint8_t *>m.payload, m.len, others, m.partition, m.offset, s.newlines)
        if s.fresh > 0 and m.partition < s.attempts_count and s.attempts[m.partition].state == ATTEMPT_FRESH:
            inlet_first_record(s, s.ledger.tail - 1)


cdef bint inlet_write(inlet_t *s, int64_t now_ns) noexcept nogil:
    """One writev from librdkafka's memory. Returns whether more can be written at once."""
    cdef int64_t limit = s.ledger.tail
    cdef int64_t unfinished = s.ledger.cursor + (s.ledger.cursor_bytes > 0)
    cdef int n
    cdef ssize_t wrote
    if not inlet_may_write(s):
        return False
    if inlet_alone(s):
        limit = min(limit, inlet_alone_limit(s))
    if s.transactional:
        limit = min(limit, ledger_dead_limit(&s.ledger))
    if s.paused or s.draining or s.closing:
        limit = unfinished      # a record that was begun is finished: half a line is never left behind
    if s.commit_ahead:          # and nobody else will ever read one that was committed
        limit = max(unfinished, s.committed)
    if s.ledger.count == LEDGER_COUNT_MARKERS and inlet_marker_due_ns(s, now_ns) == 0:
        return inlet_write_marker(s, now_ns)
    if s.transactional and cut_state(&s.progress.cut) == CUT_ANYWHERE:
        limit = unfinished
    if s.firsts > 0 or s.notes_awaited or s.notes_due > 0 or s.notes_to_clear or s.careful_until > 0:
        limit = inlet_noted_limit(s, limit, now_ns)
    limit = inlet_fed_limit(s, limit)
    if s.propagate_key:
        limit = inlet_note_keys(s, limit)
    n = ledger_gather(&s.ledger, limit, s.iov, IOV_BATCH)
    if n == 0:
        ledger_skip(&s.ledger, limit)
        s.blocked = False
        return False
    demand_writes(&s.demand, s.ledger.written, s.looked_ns)
    wrote = inlet_writev(s, n, now_ns)
    if wrote < 0:
        return False
    inlet_written(s, <size_t>wrote, limit, now_ns)
    return True


cdef int64_t inlet_note_keys(inlet_t *s, int64_t limit) noexcept nogil:
    """Before records are written, note the keys that their answers are to have. Returns before which record that is."""
    cdef ledger_entry_t *entry
    cdef rd_kafka_message_t *m
    cdef int64_t until = min(limit, s.ledger.cursor + IOV_BATCH)    # no more than are written at once
    if s.keys_until <= s.ledger.cursor:
        s.keys_until = s.ledger.cursor
        s.keys_mark = s.ledger.mark
    if s.keys_until >= until:
        return until
    keys_lock(&s.progress.keys)
    keys_forget(&s.progress.keys, progress_mark_framed(s.progress) + 1)     # lines that came and asked for none
    while s.keys_until < until:
        entry = ledger_at(&s.ledger, s.keys_until)
        m = <rd_kafka_message_t *>entry.record
        if entry.line_bytes > 0:
            if keys_note(&s.progress.keys, s.keys_mark + 1, m.key, m.key_len) != 0:
                break
            s.keys_mark += 1
        s.keys_until += 1
    keys_unlock(&s.progress.keys)
    return s.keys_until


cdef void inlet_written(inlet_t *s, size_t size, int64_t limit, int64_t now_ns) noexcept nogil:
    cdef bint marked = s.ledger.unmarked == 0
    s.lines_written += ledger_written(&s.ledger, size, limit)
    if s.ledger.count == LEDGER_COUNT_LINES:
        progress_write_lines(s.progress, ledger_lines_written(&s.ledger))
    if marked:
        s.unmarked_since_ns = now_ns


cdef ssize_t inlet_writev(inlet_t *s, int n, int64_t now_ns) noexcept nogil:
    """Write the first ``n`` of `iov`. Returns the bytes written, or -1 when nothing can be written now."""
    cdef ssize_t wrote = sys.writev(s.stdin_fd, s.iov, n)
    if wrote < 0:
        if errno == EINTR:
            return 0
        if errno == EAGAIN:
            s.blocked = True
        else:
            s.stdin_broken = True
            s.blocked = False
            notice_post(&s.client.notices, NOTICE_STDIN_BROKEN, errno, b"the Calculator closed its STDIN")
        return -1
    s.blocked = False
    s.bytes_written += wrote
    s.empty_since_ns = 0
    return wrote


cdef void inlet_close_stdin(inlet_t *s) noexcept nogil:
    cdef char path[64]
    if s.stdin_fd < 0:
        return
    # What the Calculator leaves unread in the pipe must not count as read when it exits: keep a read end, opened only
    # now that nothing is written any more, so that it cannot hide an EPIPE.
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s.stdin_fd)
    s.leftover_fd = sys.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    sys.close(s.stdin_fd)
    s.stdin_fd = -1
    notice_post(&s.client.notices, NOTICE_STDIN_CLOSED, 0, b"")


cdef int inlet_round(inlet_t *s) noexcept nogil:
    """Everything that can be done without waiting. Returns the milliseconds to wait for events, -1 to end."""
    cdef int64_t now_ns = monotonic_ns()
    cdef int64_t sample_ns, wait_ns = IDLE_TIMEOUT_MS * MS
    cdef int64_t cut_ns = 0
    cdef int64_t notes_ns
    cdef rd_kafka_message_t *m
    cdef bint used_up = True
    cdef int i
    s.rounds += 1
    for i in range(16):
        m = rdk.consumer_poll(s.rk, 0)
        if m == NULL:
            break
        if m.err == RDK_ERR__FATAL:
            client_post_fatal(s.rk, &s.client)
        else:
            notice_post(&s.client.notices, NOTICE_ERROR, m.err, rdk.err2str(m.err))
            s.next_lag_ns = 0       # likewise, see inlet_take
        rdk.message_destroy(m)
    if s.stopping:
        return -1
    inlet_find_places(s, now_ns)
    inlet_identify(s, now_ns)
    inlet_take_notes(s, now_ns)
    inlet_post_letters(s)
    for i in range(WRITES_A_ROUND):
        inlet_acknowledge(s)
        inlet_take(s)
        if s.commit_ahead:
            inlet_commit_ahead(s, now_ns)
        inlet_look_at_stdin(s)
        if s.ledger.count == LEDGER_COUNT_BYTES:
            inlet_sample(s)
        if not inlet_write(s, now_ns):
            used_up = False
            break
    inlet_post_letters(s)       # again: of those that were just passed over
    sample_ns = inlet_watch(s, now_ns)
    if s.transactional:
        cut_ns = inlet_transact(s, now_ns)
    inlet_note_full(s, now_ns)
    if inlet_is_urgent(s):      # else what is delivered is looked at every STORE_INTERVAL_NS: each wake-up costs
        progress_inlet_waits(s.progress)
    inlet_acknowledge(s)
    progress_set_window_full(s.progress, s.ledger.cursor == s.ledger.tail and ledger_room(&s.ledger) <= 0)
    if s.revoking != NULL and (now_ns >= s.revoke_deadline_ns or inlet_drained(s)):
        inlet_give_up(s)
    if now_ns >= s.next_store_ns and s.careful_until == 0:
        inlet_store(s)
        s.next_store_ns = now_ns + STORE_INTERVAL_NS
        if inlet_has_gone_back(s) and not s.notes_failure_told:
            s.notes_to_clear = True
    if now_ns >= s.next_lag_ns:
        inlet_publish_lag(s, now_ns)
    if s.closing and s.ledger.cursor_bytes == 0 and not inlet_owes_lines(s) and not inlet_has_unmarked(s):
        inlet_close_stdin(s)
    if used_up:
        return 0
    if s.more and not s.blocked and s.ledger.tail - s.ledger.cursor < inlet_take_ahead(s) \
            and inlet_room(s) > 0 and not (s.paused or s.draining or s.closing or s.replaced) \
            and s.unsure_until_ns == 0 and s.alone_until == 0 and inlet_may_write(s):
        return 0
    if cut_ns > 0:
        wait_ns = min(wait_ns, cut_ns)
    if sample_ns > 0:
        wait_ns = min(wait_ns, sample_ns)
    sample_ns = inlet_fed_again_ns(s)
    if sample_ns > 0:
        wait_ns = min(wait_ns, sample_ns)
    notes_ns = inlet_notes_due_ns(s, now_ns)
    if notes_ns > 0:
        wait_ns = min(wait_ns, notes_ns)
    if s.ledger.head < s.ledger.cursor:
        wait_ns = min(wait_ns, STORE_INTERVAL_NS)
    if s.acknowledged != s.lag_acknowledged:
        wait_ns = min(wait_ns, max(0, s.next_lag_ns - now_ns))
    if s.revoking != NULL:
        wait_ns = min(wait_ns, max(0, s.revoke_deadline_ns - now_ns))
    if s.unplaced.cnt > 0 and not s.question.asked:
        wait_ns = min(wait_ns, max(0, s.next_places_ns - now_ns))
    if s.answer_by_ns > 0:
        wait_ns = min(wait_ns, max(0, s.answer_by_ns - now_ns))
    return <int>((wait_ns + MS - 1) // MS)


cdef void inlet_destroy_client(rd_kafka_t *rk, rd_kafka_queue_t *records, rd_kafka_queue_t *consumer_queue,
                               rd_kafka_queue_t *answers) noexcept nogil:
    client_wakes(answers, -1)
    rdk.queue_destroy(answers)
    client_wakes(records, -1)
    client_wakes(consumer_queue, -1)
    rdk.queue_destroy(consumer_queue)
    rdk.queue_destroy(records)
    rdk.destroy_flags(rk, RDK_DESTROY_NO_CONSUMER_CLOSE)


cdef void inlet_close(inlet_t *s) noexcept nogil:
    """Commit, leave the group, destroy the client: librdkafka wants its messages and queues back first.

    Nobody who gives an order waits for the group or for librdkafka: the lock is not held while they work.
    """
    cdef rd_kafka_t *rk = s.rk
    cdef rd_kafka_queue_t *queue
    cdef rd_kafka_message_t *m
    cdef ledger_entry_t *entry
    cdef void *error
    inlet_lock(s)
    inlet_acknowledge(s)
    inlet_store(s)
    if s.revoking != NULL:
        inlet_give_up(s)
    inlet_answer_without(s)
    # Drop what is not acknowledged: voided first, so that no offset moves.
    cdef int32_t i
    for i in range(s.ledger.partition_count):
        if s.ledger.partitions[i].state != PARTITION_LOST:
            s.ledger.partitions[i].epoch += 1
    while s.ledger.head < s.ledger.tail:
        entry = ledger_pop(&s.ledger)
        rdk.message_destroy(<rd_kafka_message_t *>entry.record)
    queue = rdk.queue_new(rk)
    client_wakes(queue, s.wake_fd)
    error = rdk.consumer_close_queue(rk, queue)
    while error == NULL and not rdk.consumer_closed(rk) and monotonic_ns() < s.stop_deadline_ns:
        if rdk.consume_batch_queue(queue, 0, &m, 1) == 1:   # serves the last rebalance
            rdk.message_destroy(m)
        inlet_unlock(s)
        wait_wake(s.wake_fd, CLOSE_STEP_MS)
        inlet_lock(s)
    lag_show(&s.lag, 0)
    s.readable = 0
    s.rk = NULL
    rdk.topic_partition_list_destroy(s.unplaced)
    s.unplaced = NULL
    inlet_unlock(s)
    # After a fatal error librdkafka refuses to close, and there is no membership left to end.
    if error != NULL:
        rdk.error_destroy(error)
    elif not rdk.consumer_closed(rk):
        notice_post(&s.client.notices, NOTICE_ERROR, 0, b"the group did not answer in time: left without a goodbye")
    progress_unset_inlet(s.progress, s.wake_fd)
    offsets_question_end(&s.question)
    client_wakes(queue, -1)
    rdk.queue_destroy(queue)
    client_wakes(s.notes, -1)
    rdk.queue_destroy(s.notes)
    inlet_destroy_client(rk, s.records, s.consumer_queue, s.answers)


cdef void inlet_subscribe(inlet_t *s) noexcept nogil:
    """Join the group. Not before the thread runs: a static member that joins fences the one before it with its id."""
    cdef rd_kafka_topic_partition_list_t *topics = rdk.topic_partition_list_new(1)
    rdk.topic_partition_list_add(topics, s.topic, RDK_PARTITION_UA)
    rdk.subscribe(s.rk, topics)
    rdk.topic_partition_list_destroy(topics)


cdef void inlet_run(inlet_t *s) noexcept nogil:
    cdef pollfd waits[2]
    cdef int timeout_ms
    cdef unsigned run
    sys.thread_name(b"inlet")
    progress_set_inlet(s.progress, s.wake_fd)   # not before: until then another one may be at work
    inlet_subscribe(s)
    while True:
        inlet_lock(s)
        timeout_ms = inlet_round(s)
        waits[0].fd = s.wake_fd
        waits[0].events = POLLIN
        # Without POLLOUT the second one still reports POLLERR: the Calculator closed its STDIN.
        waits[1].fd = s.stdin_fd if inlet_may_write(s) else -1
        waits[1].events = POLLOUT if s.blocked else 0
        waits[1].revents = 0
        run = s.run
        inlet_unlock(s)
        if timeout_ms < 0:
            break
        if timeout_ms == 0:
            continue
        sys.poll(waits, 2, timeout_ms)
        if waits[0].revents & POLLIN:
            drain_wakes(s.wake_fd)
        if waits[1].revents & POLLERR:
            inlet_lock(s)
            if s.run == run and inlet_may_write(s):
                s.stdin_broken = True
                s.blocked = False
                notice_post(&s.client.notices, NOTICE_STDIN_BROKEN, 0, b"the Calculator closed its STDIN")
            inlet_unlock(s)
    inlet_close(s)
    notice_post(&s.client.notices, NOTICE_CLOSED, 0, b"")


cdef void inlet_free(inlet_t *s) noexcept nogil:
    if s.unplaced != NULL:
        rdk.topic_partition_list_destroy(s.unplaced)
    ledger_close(&s.ledger)
    lag_close(&s.lag)
    free(s.attempts)
    free(s.taken)
    free(s.iov)
    close_if_open(s.stdin_fd)
    close_if_open(s.leftover_fd)
    close_if_open(s.wake_fd)
    close_if_open(s.client.notices.wake_fd)
    free(s)
    live_add(LIVE_objects, -1)


cdef void *inlet_dispose(void *opaque) noexcept nogil:
    """Of one that never ran. The client's threads may use what is freed until it is destroyed."""
    cdef inlet_t *s = <inlet_t *>opaque
    client_wakes(s.notes, -1)
    rdk.queue_destroy(s.notes)
    inlet_destroy_client(s.rk, s.records, s.consumer_queue, s.answers)
    inlet_free(s)
    return NULL


cdef ino_t pipe_inode(bytes path) noexcept:
    """The inode of a pipe, 0 if it is none or cannot be looked at."""
    cdef c_stat status
    if sys.stat(path, &status) != 0 or not S_ISFIFO(status.st_mode):
        return 0
    return status.st_ino


cdef class Inlet:
    """Reads one topic as a member of the group and writes each record's value as a line to the Calculator's STDIN.

    Records stay in the ledger until the rule of their acknowledgement says that the Calculator is done with them and
    the outlet that what it had written by then is delivered; only then does their offset move. ``run`` is the body of a
    thread of its own; every other method may be called from one other thread and takes effect before it returns,
    without waiting.
    """

    cdef inlet_t *s
    cdef Outlet outlet
    cdef bytes topic

    def __cinit__(self, *args, **kwargs):
        self.s = <inlet_t *>calloc(1, sizeof(inlet_t))
        if self.s == NULL:
            raise MemoryError
        live_add(LIVE_objects, 1)
        self.s.stdin_fd = self.s.leftover_fd = self.s.wake_fd = self.s.client.notices.wake_fd = -1

    def __init__(self, dict config not None, str topic not None, Outlet outlet not None, *,
                 int64_t max_in_flight_records, int64_t max_in_flight_bytes, double ack_idle_s, double feed_ahead_s,
                 double revoke_grace_s, str input_newlines not None, str ack_mode not None,
                 bint commit_ahead, bint transactional=False):
        """``config``: librdkafka properties, with a cooperative partition.assignment.strategy and auto.offset.reset;
        ``ack_idle_s``: how long nothing may go on before that is a rest where background work cannot be told apart;
        ``feed_ahead_s``: how much of the Calculator's working time is written ahead of it;
        ``ack_mode``: the rule that acknowledges, `demand`, `line` or `marker`; ``input_newlines``: a newline inside a
        value is a `space`, `split`s it, or makes it a dead letter (`reject`);
        ``commit_ahead``: `at-most-once`; ``transactional``: `exactly-once`, as the outlet is.

        Raises ValueError with librdkafka's reason if it refuses a property.
        """
        cdef inlet_t *s = self.s
        cdef client_callbacks_t callbacks
        self.outlet = outlet
        self.topic = topic.encode()
        s.topic = self.topic
        s.first_offset = RDK_OFFSET_BEGINNING if config["auto.offset.reset"] == "earliest" else RDK_OFFSET_END
        s.progress = &outlet.s.progress
        s.idle_ns = s.demand.idle_ns = <int64_t>(ack_idle_s * 1e9)
        s.feed_ahead_ns = <int64_t>(feed_ahead_s * 1e9)
        s.revoke_grace_ns = <int64_t>(revoke_grace_s * 1e9)
        s.newlines = ledger_newlines(input_newlines)
        s.propagate_key = s.progress.keys.carried
        s.commit_ahead = commit_ahead
        s.transactional = transactional
        s.commit_target = -1
        s.poison_max_attempts = 1000000
        if notices_open(&s.client.notices) != 0:
            raise OSError(errno, "eventfd")
        turnstile_open(&s.gate)
        lag_open(&s.lag)
        s.taken = <rd_kafka_message_t **>malloc(TAKE_BATCH * sizeof(void *))
        s.iov = <iovec *>malloc(IOV_BATCH * sizeof(iovec))
        if s.taken == NULL or s.iov == NULL or \
                ledger_open(&s.ledger, max_in_flight_records, max_in_flight_bytes, ledger_count(ack_mode)) != 0:
            raise MemoryError
        ledger_keep_from(&s.ledger, s.progress.marker.prefix, s.progress.marker.size)
        s.wake_fd = wake_open()
        if s.wake_fd < 0:
            raise OSError(errno, "eventfd")
        callbacks.on_delivery = NULL
        callbacks.on_rebalance = on_rebalance
        callbacks.on_commit = on_commit
        s.rk = consumer_new(config, &s.client, &callbacks)
        s.client.brokers_up = -1
        s.question.consumer = s.rk
        s.question.wake_fd = s.wake_fd
        rdk.poll_set_consumer(s.rk)
        s.records = rdk.queue_new(s.rk)
        s.answers = rdk.queue_new(s.rk)
        s.notes = rdk.queue_new(s.rk)
        s.unplaced = rdk.topic_partition_list_new(16)
        s.consumer_queue = rdk.queue_get_consumer(s.rk)
        client_wakes(s.answers, s.wake_fd)
        client_wakes(s.notes, s.wake_fd)
        client_wakes(s.records, s.wake_fd)
        client_wakes(s.consumer_queue, s.wake_fd)
        inlet_publish(s)

    def __dealloc__(self):
        if self.s == NULL:
            return
        if self.s.rk == NULL:
            inlet_free(self.s)
        else:                   # it never ran
            dispose_in_background(inlet_dispose, self.s)

    cdef void enter(self) noexcept:
        with nogil:
            turnstile_enter_caller(&self.s.gate)

    cdef void leave(self) noexcept:
        inlet_publish(self.s)
        turnstile_leave(&self.s.gate)
        wake(self.s.wake_fd)

    def run(self) -> None:
        """Until ``stop``: the thread's body. Posts the notice ``closed`` when the client is gone."""
        with nogil:
            inlet_run(self.s)

    def attach(self, int stdin_fd, int pid) -> None:
        """Write to this STDIN of the Calculator, beginning with what the last run left unanswered.

        Takes ownership of ``stdin_fd`` (non-blocking); ``pid`` leads its session. Another inlet may have written to it
        before: all that it wrote is done.
        """
        cdef ino_t stdio[3]
        cdef inlet_t *s = self.s
        stdio[0] = pipe_inode(b"/proc/self/fd/%d" % stdin_fd)
        stdio[1] = pipe_inode(b"/proc/%d/fd/1" % pid)
        stdio[2] = pipe_inode(b"/proc/%d/fd/2" % pid)
        self.enter()
        s.stdin_fd = stdin_fd
        demand_attach(&s.demand, pid, stdio, s.feed_ahead_ns, s.ledger.written)
        feed_reset(&s.feed, s.feed_ahead_ns, max(PIPE_LEAST_BYTES, sys.pipe_bytes(stdin_fd)))
        s.unread_bytes = 0
        s.run_from = s.bytes_written
        shares_reset(&s.shares, s.ledger.max_records, s.ledger.max_bytes, s.ledger.cursor, s.ledger.written)
        s.look_again_ns = 0
        s.held_back = False
        s.run += 1
        s.exited = s.blocked = s.closing = s.stdin_broken = s.rule_broken = False
        s.attached = True
        if s.ledger.count == LEDGER_COUNT_LINES:
            s.mark_before = s.ledger.mark = progress_mark_expected(s.progress)
            progress_write_lines(s.progress, s.ledger.mark)
        else:
            s.ledger.mark = progress_mark_issued(s.progress)    # of an inlet before this one
        inlet_forget_marker(s)
        s.read_until = s.keys_until = 0
        s.empty_since_ns = 0
        s.more = True
        self.leave()

    def close_stdin(self) -> None:
        """Write nothing more but the rest of a record that was begun, then give the Calculator its EOF."""
        self.enter()
        self.s.closing = True
        self.leave()

    def exited(self) -> None:
        """The run's process is gone: write no more, and take no sample, which could be of what it left behind."""
        self.enter()
        self.s.exited = True
        self.s.read_until = inlet_read_until(self.s)
        self.leave()

    def broke_rule(self) -> bool:
        """After the outlet took the run's STDOUT to its end, before ``detach``: whether it broke the `line` rule.

        Such a run says nothing of the record that was first in it.
        """
        self.enter()
        if self.s.ledger.count == LEDGER_COUNT_LINES:
            # Lines that wait for a topic are not framed yet.
            inlet_look_for_surplus(self.s, max(progress_mark_framed(self.s.progress),
                                               progress_mark_expected(self.s.progress)))
        broke = self.s.rule_broken
        self.leave()
        return broke

    def detach(self, *, bint finished) -> int:
        """The run is over, and its STDOUT was taken to the end. Return how many records the next run gets again.

        ``finished``: the Calculator ended by itself, in order, at the end of its STDIN; if it left nothing unread, all
        that was written counts as answered. Otherwise its last sample counts.
        """
        cdef inlet_t *s = self.s
        cdef int unread = 0
        cdef int64_t again
        self.enter()
        if s.leftover_fd >= 0:
            if finished and s.ledger.count == LEDGER_COUNT_BYTES and s.ledger.cursor_bytes == 0 \
                    and sys.unread_bytes(s.leftover_fd, &unread) == 0 and unread == 0:
                inlet_answered(s, s.ledger.written)
            sys.close(s.leftover_fd)
            s.leftover_fd = -1
        if s.stdin_fd >= 0:
            sys.close(s.stdin_fd)
            s.stdin_fd = -1
        s.run += 1
        s.held_back = False
        inlet_forget_marker(s)
        if s.commit_ahead:
            inlet_release(s, ledger_forfeit(&s.ledger))
            again = 0
        elif s.ledger.count != LEDGER_COUNT_BYTES:
            again = ledger_rewind_marks(&s.ledger, progress_mark_expected(s.progress),
                                        not inlet_rewind_void(s) and not s.rule_broken)
        else:
            again = ledger_rewind(&s.ledger, progress_line_end(s.progress))
        s.replayed += again
        s.attached = s.exited = s.closing = s.blocked = s.stdin_broken = s.rule_broken = False
        self.leave()
        return again

    def suspect(self) -> tuple[int, int] | None:
        """After ``detach``: (partition, offset) of the first record to be written again, if the run had read of it."""
        cdef inlet_t *s = self.s
        cdef int64_t first
        found = None
        self.enter()
        first = ledger_first_line(&s.ledger)
        if first < s.read_until and first < s.ledger.tail:
            found = ledger_at(&s.ledger, first).partition, ledger_at(&s.ledger, first).offset
        self.leave()
        return found

    def isolate(self) -> None:
        """After ``detach``: write what the run had read of alone, record by record; take nothing meanwhile.

        The notice ``cleared`` tells when all of it was answered.
        """
        self.enter()
        self.s.alone_until = min(self.s.read_until, self.s.ledger.tail)
        self.leave()

    def bury(self, int32_t partition, int64_t offset, str why not None) -> None:
        """After ``detach``: send the suspect to the dead letter stream instead of writing it again.

        Nothing if it is not the first any more: its partition was lost since.
        """
        cdef inlet_t *s = self.s
        cdef bytes reason = why.encode()
        self.enter()
        if ledger_bury_first(&s.ledger, partition, offset):
            snprintf(s.poison_why, sizeof(s.poison_why), "%s", <const char *>reason)
        s.alone_until = 0
        s.more = True
        self.leave()

    def judge_by(self, int max_attempts, *, bint dead_letters) -> None:
        """How often a record may have been alone when the Supervisor itself ended, and whether it has a place to go.

        In force for partitions of which no record was taken yet.
        """
        self.enter()
        self.s.poison_max_attempts = max_attempts
        self.s.has_dead_letters = dead_letters
        self.leave()

    def forget(self) -> None:
        """Count nothing of what is written as answered but what is acknowledged already: its lines are abandoned.

        Only while nothing of the present run was written (``drain`` is on since before it was attached).
        """
        self.enter()
        inlet_rewind_void(self.s)
        if self.s.ledger.count != LEDGER_COUNT_BYTES:
            self.s.replayed += ledger_rewind_marks(&self.s.ledger, self.s.ledger.mark, False)
        else:
            self.s.replayed += ledger_rewind(&self.s.ledger, -1)
        self.leave()

    def recall(self) -> bool:
        """A transaction was lost: if no record in it has a line, the run can go on, and dead letters are posted again.

        Returns False if there is one: the run has to end.
        """
        cdef inlet_t *s = self.s
        cdef bint harmless
        self.enter()
        harmless = ledger_lines_in_flight(&s.ledger) == 0 and inlet_rewind_void(s)
        if harmless:
            ledger_rewind_marks(&s.ledger, s.ledger.mark, False)
        self.leave()
        return harmless

    def take_stdin(self) -> int:
        """Give the Calculator's STDIN back, open, or -1 if there is none: for an inlet of another topic.

        Only when the ledger has drained: no record of it may be under way.
        """
        self.enter()
        stdin_fd = self.s.stdin_fd
        if self.s.attached and self.s.ledger.count == LEDGER_COUNT_LINES:
            progress_expect_mark(self.s.progress, self.s.ledger.mark)
        self.s.stdin_fd = -1
        self.s.attached = False
        self.s.run += 1
        self.s.blocked = self.s.held_back = self.s.stdin_broken = False
        self.leave()
        return stdin_fd

    def pause(self, bint paused) -> None:
        """Stop or resume the flow; the Calculator keeps running and the group membership stays."""
        self.enter()
        self.s.paused = paused
        self.s.more = True
        self.leave()

    def drain(self, bint draining) -> None:
        """Write no further record until told otherwise; ``unanswered`` of the snapshot tells when nothing is left."""
        self.enter()
        self.s.draining = draining
        self.s.more = True
        self.leave()

    def stop(self, double deadline_s) -> None:
        """End ``run``: commit what is acknowledged, leave the group, within ``deadline_s``."""
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
        """Counters since the inlet was made, and the ledger's zones; as the last round or order left them.

        From any thread, without waiting.
        """
        cdef inlet_counters_t now
        counters_read(&self.s.published, <int64_t *>&now, sizeof(now) // sizeof(int64_t))
        cdef dict taken = now
        since_ns = taken.pop("full_since_ns")
        taken["stdin_full_ns"] += monotonic_ns() - since_ns if since_ns else 0
        return taken

    def lag(self) -> dict[int, tuple[int, int]]:
        """Of each partition we own: (offset acknowledged up to, high watermark), -1 or less where not known yet.

        As it was within the last half second. From any thread, without waiting.
        """
        cdef int32_t i, count = 0
        cdef lag_entry_t *entries = lag_copy(&self.s.lag, &count)
        found = {entries[i].partition: (entries[i].acknowledged, entries[i].high) for i in range(count)}
        free(entries)
        return found
