# The `marker` rule: numbered lines are written between the records; the echo of one acknowledges all records before it.
#
# A marker follows 1,000 records, or the first record after the last marker by 5 ms: the lag is bounded by both, and at
# full speed a thousandth of the lines are markers. Numbers only grow, over all runs: an echo of an earlier run that
# comes late stands for records that were answered in it.

cdef enum:
    MARKER_RECORDS = 1000

cdef int64_t MARKER_NS = 5 * MS
cdef int64_t ECHO_LOOK_NS = 50 * MS             # an echo that does not come is looked for this often
cdef int64_t ECHO_LATEST_NS = 30000 * MS        # STDIN empty for so long, where it cannot be seen that it is waited on


cdef bint inlet_has_unmarked(const inlet_t *s) noexcept nogil:
    """Is there a record, or a part of a marker, that the Calculator got and no whole marker follows yet?"""
    return s.ledger.unmarked > 0 or s.marker_left > 0


cdef int64_t inlet_marker_due_ns(const inlet_t *s, int64_t now_ns) noexcept nogil:
    """In how many ns the next marker is to be written; 0 at once, -1 not yet known."""
    if s.marker_left > 0:
        return 0
    if s.ledger.unmarked == 0 or s.ledger.cursor_bytes > 0:
        return -1
    if s.ledger.unmarked >= MARKER_RECORDS:
        return 0
    return max(0, s.unmarked_since_ns + MARKER_NS - now_ns)


cdef bint inlet_write_marker(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Write the marker that is due, or its rest. Returns whether more can be written at once."""
    cdef ssize_t wrote
    if s.marker_left == 0:
        s.marker_bytes = s.marker_left = marker_write(&s.progress.marker, ledger_mark(&s.ledger), s.marker_line)
        progress_issue_mark(s.progress, s.ledger.mark)      # before the Calculator can echo it
    s.iov[0].iov_base = s.marker_line + s.marker_bytes - s.marker_left
    s.iov[0].iov_len = s.marker_left
    wrote = inlet_writev(s, 1, now_ns)
    if wrote < 0:
        return False
    s.marker_left -= <size_t>wrote
    return True


cdef void inlet_forget_marker(inlet_t *s) noexcept nogil:
    """The pipe with a part of it is gone."""
    s.marker_left = 0
    s.echo_owed = False


cdef int64_t inlet_watch_markers(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Look for an echo that will not come. Returns in how many ns to look again or to write a marker; 0: neither."""
    cdef int unread = 0
    cdef int look
    cdef int64_t framed = progress_mark_framed(s.progress)
    cdef int64_t due_ns
    if not inlet_may_write(s):
        s.empty_since_ns = 0
        return 0
    if framed != s.mark_seen:
        s.echo_owed = False
    if inlet_has_unmarked(s):       # in a pause, too: what was written before it is to be acknowledged
        due_ns = inlet_marker_due_ns(s, now_ns)
        s.empty_since_ns = 0
        return 0 if s.blocked or due_ns < 0 else max(1, due_ns)
    if s.paused:
        s.empty_since_ns = 0
        return 0
    if framed >= s.ledger.mark:
        s.empty_since_ns = 0
        return 0
    if s.ledger.cursor_bytes > 0 or sys.unread_bytes(s.stdin_fd, &unread) != 0 or unread > 0 \
            or progress_held(s.progress) or s.empty_since_ns == 0 or framed != s.mark_seen:
        s.mark_seen = framed
        s.empty_since_ns = s.idle_since_ns = now_ns
        s.next_probe_ns = now_ns + ECHO_LOOK_NS
    if now_ns >= s.next_probe_ns:
        s.next_probe_ns = now_ns + ECHO_LOOK_NS
        s.probes += 1
        look = calculator_probe_look(&s.demand.probe)
        if look != PROBE_IDLE:
            s.idle_since_ns = now_ns
        if not s.echo_owed and (now_ns - s.empty_since_ns >= ECHO_LATEST_NS
                                or (look == PROBE_IDLE and now_ns - s.idle_since_ns >= s.idle_ns)):
            s.echo_owed = True
            notice_post(&s.client.notices, NOTICE_ECHO_OWED, 0, b"")
    return s.next_probe_ns - now_ns
