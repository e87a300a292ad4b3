# How much is written ahead of the Calculator: by feed.h, or a batch at a time where only a rest shows what is done.


cdef void inlet_look_at_stdin(inlet_t *s) noexcept nogil:
    """See how far STDIN was read, then what time it is: a sample never looks older than it is."""
    cdef uint64_t ticks = demand_samples(&s.demand)
    if not inlet_may_write(s) or sys.unread_bytes(s.stdin_fd, &s.unread_bytes) != 0:
        s.unread_bytes = 0
    elif s.bytes_written > s.run_from:
        demand_sampled(&s.demand, ticks, s.unread_bytes >= s.bytes_written - s.run_from)
    s.looked_ns = monotonic_ns()
    feed_look(&s.feed, s.looked_ns, s.bytes_written, s.bytes_written - s.unread_bytes)


cdef int64_t inlet_fed_limit(inlet_t *s, int64_t limit) noexcept nogil:
    """Before which record writing stops, of those before `limit`."""
    cdef int64_t fed = limit
    if s.ledger.count == LEDGER_COUNT_BYTES and demand_in_shares(&s.demand):
        fed = max(s.ledger.cursor + (s.ledger.cursor_bytes > 0),
                  min(limit, shares_limit(&s.shares, s.looked_ns, s.ledger.cursor, s.ledger.written,
                                          s.unread_bytes == 0)))
    if s.ledger.count == LEDGER_COUNT_BYTES and demand_in_batches(&s.demand):
        fed = ledger_fit(&s.ledger, fed, batches_room(&s.demand.batches, s.ledger.written),
                         s.ledger.written == s.demand.batches.from_, IOV_BATCH)
    elif not feed_is_full_speed(&s.feed):
        fed = ledger_fit(&s.ledger, fed, feed_room(&s.feed, s.bytes_written, s.bytes_written - s.unread_bytes),
                         s.unread_bytes == 0, IOV_BATCH)
    s.held_back = fed < limit and fed - s.ledger.cursor < IOV_BATCH
    feed_holds_back(&s.feed, s.held_back or s.blocked, s.looked_ns, s.bytes_written, s.bytes_written - s.unread_bytes)
    return fed


cdef int64_t inlet_fed_again_ns(inlet_t *s) noexcept nogil:
    """In how many ns to look whether more may be written; 0: not before something happens."""
    if not s.held_back or not inlet_may_write(s) \
            or (s.ledger.count == LEDGER_COUNT_BYTES and demand_in_batches(&s.demand)):
        return 0
    return feed_again_ns(&s.feed, s.looked_ns)


cdef void inlet_note_full(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Count the time in which STDIN holds as much as it is to hold, and more waits."""
    cdef bint full = s.blocked or (s.held_back and s.unread_bytes > 0)
    if full and s.full_since_ns == 0:
        s.full_since_ns = now_ns
    elif not full and s.full_since_ns > 0:
        s.full_ns += now_ns - s.full_since_ns
        s.full_since_ns = 0
