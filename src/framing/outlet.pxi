# The outlet's shell: what Python sees of src/framing/outlet.h. Nothing per line.

cdef extern from "outlet.h" nogil:
    ctypedef struct burst_limits_t:
        pass
    burst_limits_t burst_limits(int, size_t, double)
    ctypedef struct outlet_config_t:
        properties_t properties
        bint output_json, transactional, at_most_once, propagate_key
        size_t max_line_bytes, max_message_bytes
        burst_limits_t burst
    ctypedef struct outlet_t:
        client_t client
        outlet_config_t config
        progress_t progress
    ctypedef struct outlet_stream_t:
        const char *workspace
        size_t workspace_bytes
        const uint8_t *marker_prefix
        size_t marker_prefix_bytes
        size_t max_slab_bytes
    const char *HAND_OVER_MS
    outlet_t *outlet_new()
    int outlet_open(outlet_t *, const outlet_stream_t *)
    bint outlet_make_client(outlet_t *, char *, size_t)
    void outlet_run(outlet_t *)
    void outlet_dispose(outlet_t *)
    int OUTLET_COUNTER_COUNT
    const char **outlet_counter_names
    void outlet_read_counters(outlet_t *, int64_t *)

cdef extern from "outlet_orders.h" nogil:
    int outlet_produce_to(outlet_t *, const char *)
    int outlet_bury_in(outlet_t *, const char *)
    void outlet_forget_letters(outlet_t *)
    int outlet_discard(outlet_t *)
    void outlet_hold(outlet_t *)
    void outlet_attach(outlet_t *, int)
    void outlet_read_to_end(outlet_t *)
    size_t outlet_finish(outlet_t *, bint, bint)
    void outlet_abandon(outlet_t *)
    void outlet_abort(outlet_t *)
    bint outlet_voided(const outlet_t *)
    int outlet_log_in_with(outlet_t *, const char *, const char *)
    void outlet_stop(outlet_t *, int64_t)

cdef enum:
    PRODUCER_OVERHEAD_BYTES = 512   # what librdkafka counts against message.max.bytes besides the value, generously
    COUNTERS_ROOM = 64              # for OUTLET_COUNTER_COUNT of them


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
    cdef bytes workspace

    def __cinit__(self, *args, **kwargs):
        self.s = outlet_new()
        if self.s == NULL:
            raise MemoryError

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
        cdef outlet_config_t *c = &self.s.config
        cdef outlet_stream_t stream
        cdef char why[512]
        cdef int failed
        cdef bint made
        c.output_json = output_json
        c.transactional = transactional
        c.at_most_once = at_most_once
        c.propagate_key = propagate_key
        c.max_line_bytes = max_line_bytes
        c.max_message_bytes = max_message_bytes - PRODUCER_OVERHEAD_BYTES
        c.burst = burst_limits(<int>number_in(config, "batch.num.messages", 10000),
                               <size_t>min(number_in(config, "batch.size", 1e6),
                                           number_in(config, "message.max.bytes", 1e6)),
                               number_in(config, "linger.ms", 5))
        self.workspace = wsp.encode()
        stream.workspace = self.workspace
        stream.workspace_bytes = len(self.workspace)
        stream.marker_prefix = <const uint8_t *><const char *>marker_prefix
        stream.marker_prefix_bytes = len(marker_prefix)
        stream.max_slab_bytes = max_slab_bytes
        failed = outlet_open(self.s, &stream)
        if failed == ENOMEM:
            raise MemoryError
        if failed == EINVAL:
            raise ValueError("the marker's prefix is too long")
        if failed != 0:
            raise OSError(failed, "eventfd")
        properties_of({**config, "linger.ms": HAND_OVER_MS.decode()}, &c.properties)
        with nogil:
            made = outlet_make_client(self.s, why, sizeof(why))
        if not made:
            raise ValueError((<bytes>why).decode("utf-8", "replace"))

    def __dealloc__(self):
        if self.s != NULL:
            outlet_dispose(self.s)

    def run(self) -> None:
        """Until ``stop``: the thread's body. Posts the notice ``closed`` when the client is gone."""
        with nogil:
            outlet_run(self.s)

    def produce_to(self, str topic not None) -> None:
        """Lines go to ``topic`` from now on. RuntimeError while lines for another topic are undelivered."""
        cdef bytes name = topic.encode()
        cdef const char *to = name
        cdef int refused
        with nogil:
            refused = outlet_produce_to(self.s, to)
        if refused:
            raise RuntimeError("lines for the last topic are not delivered yet")

    def bury_in(self, str topic) -> None:
        """Dead letters go to ``topic`` from now on; None: nowhere, those of records wait, of lines are dropped."""
        cdef bytes name = topic.encode() if topic is not None else b""
        cdef const char *to = NULL
        cdef int failed
        if topic is not None:
            to = name
        with nogil:
            failed = outlet_bury_in(self.s, to)
        if failed:
            raise MemoryError

    def forget_letters(self) -> None:
        """In a transaction: the inlet that posted letters is gone, and its records are read again."""
        with nogil:
            outlet_forget_letters(self.s)

    def discard(self) -> None:
        """Lines are read, counted and dropped from now on. RuntimeError while lines for a topic are undelivered."""
        cdef int refused
        with nogil:
            refused = outlet_discard(self.s)
        if refused:
            raise RuntimeError("lines for the last topic are not delivered yet")

    def hold(self) -> None:
        """Lines stay in the pipe from now on; what was read before is still delivered."""
        with nogil:
            outlet_hold(self.s)

    def attach(self, int stdout_fd) -> None:
        """A new run of the Calculator: read its STDOUT. Takes ownership of ``stdout_fd`` (non-blocking)."""
        with nogil:
            outlet_attach(self.s, stdout_fd)

    def read_to_end(self) -> None:
        """The Calculator is gone: while lines are held, take what it left in the pipe into the buffer, if it fits.

        The notice ``stdout-ended`` tells when the end was reached.
        """
        with nogil:
            outlet_read_to_end(self.s)

    def finish(self, *, bint keep_lines, bint keep_tail) -> int:
        """The run is over: close its STDOUT. Returns the length of its unfinished last line in bytes.

        ``keep_lines``: lines that were read and not framed yet wait for a topic; else they are dropped (they must not
        go to the next one). ``keep_tail``: the unfinished line becomes a record all the same (the Calculator ended in
        order); else it is dropped (it died in the middle of it).
        """
        cdef size_t tail
        with nogil:
            tail = outlet_finish(self.s, keep_lines, keep_tail)
        return tail

    def abandon(self) -> None:
        """Give up every line that is not delivered, and those that runs which are over left in the buffer.

        ``undelivered`` of the snapshot tells when that is done.

        The inlet must have forgotten its fences first (``Inlet.forget``), or records would count as answered
        by lines that never arrived.
        """
        with nogil:
            outlet_abandon(self.s)

    def log_in_with(self, str user not None, str password not None) -> None:
        """From the next connection on."""
        cdef bytes user_bytes = user.encode(), password_bytes = password.encode()
        cdef const char *user_text = user_bytes
        cdef const char *password_text = password_bytes
        cdef int failed
        with nogil:
            failed = outlet_log_in_with(self.s, user_text, password_text)
        if failed != 0:
            raise MemoryError

    def abort(self) -> None:
        """Abort the open transaction, and drop every line until the inlet writes its records again.

        A commit that is under way is not stopped: what it covers counts.
        """
        with nogil:
            outlet_abort(self.s)

    @property
    def voided(self) -> bool:
        """Whether a transaction was lost and its records are not being written again yet."""
        return outlet_voided(self.s)

    def stop(self, double deadline_s) -> None:
        """End ``run``: as soon as everything taken is delivered, at the latest in ``deadline_s``."""
        cdef int64_t within_ns = <int64_t>(deadline_s * 1e9)
        with nogil:
            outlet_stop(self.s, within_ns)

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
        cdef int64_t now[COUNTERS_ROOM]
        cdef int i
        outlet_read_counters(self.s, now)
        cdef dict taken = {outlet_counter_names[i].decode(): now[i] for i in range(OUTLET_COUNTER_COUNT)}
        since_ns = taken.pop("full_since_ns")
        taken["output_full_ns"] += monotonic_ns() - since_ns if since_ns else 0
        since_ns = taken.pop("call_since_ns")
        taken["call_ms"] = (monotonic_ns() - since_ns) // 1000000 if since_ns else 0
        return taken
