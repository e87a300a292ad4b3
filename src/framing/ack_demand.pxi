# The `demand` rule: a Calculator that came back for more is done with what it had, as far as it does not read ahead.

cdef extern from "stdin_wait.h" nogil:
    int WAIT_NO, WAIT_YES, WAIT_UNKNOWN
    int stdin_wait_look(int, ino_t)

cdef int64_t SAMPLE_INTERVAL_NS = 5 * MS        # of a pipe that is not empty
cdef int64_t PROBE_SOONEST_NS = MS              # a pipe is empty for this long before /proc is read
cdef int64_t PROBE_LATEST_NS = 20 * MS


cdef void inlet_answered(inlet_t *s, int64_t position) noexcept nogil:
    """The Calculator is done with STDIN up to `position`. STDIN was sampled before; STDOUT is sampled here, after."""
    if ledger_answer(&s.ledger, position):
        ledger_fence(&s.ledger, progress_written(s.progress))


cdef int64_t inlet_sample(inlet_t *s, int64_t now_ns) noexcept nogil:
    """The `demand` rule. Returns in how many ns to sample again; 0 when there is nothing to wait for."""
    cdef int unread = 0
    cdef int look
    if s.ledger.answered == s.ledger.cursor or not inlet_may_write(s):
        return 0
    if ioctl(s.stdin_fd, FIONREAD, &unread) != 0:
        return 0
    inlet_answered(s, s.ledger.written - unread - s.readahead_bytes)
    if s.ledger.answered == s.ledger.cursor:
        return 0
    if unread > 0 or s.ledger.cursor_bytes > 0:
        s.empty_since_ns = 0
        return SAMPLE_INTERVAL_NS
    if s.empty_since_ns == 0:
        s.empty_since_ns = s.idle_since_ns = now_ns
        s.probe_interval_ns = PROBE_SOONEST_NS
        s.next_probe_ns = now_ns + PROBE_SOONEST_NS
    if now_ns < s.next_probe_ns:
        return s.next_probe_ns - now_ns
    s.probes += 1
    look = stdin_wait_look(s.session, s.pipe_inode)
    if look == WAIT_NO:
        s.idle_since_ns = now_ns
    if look == WAIT_YES or (look == WAIT_UNKNOWN and now_ns - s.idle_since_ns >= s.idle_ns):
        inlet_answered(s, s.ledger.written)
        return 0
    # A look costs in proportion to the processes there are: never more than a tenth of the time goes to it.
    s.probe_interval_ns = min(2 * s.probe_interval_ns, PROBE_LATEST_NS)
    s.next_probe_ns = monotonic_ns()
    s.next_probe_ns += max(s.probe_interval_ns, 10 * (s.next_probe_ns - now_ns))
    return s.next_probe_ns - now_ns
