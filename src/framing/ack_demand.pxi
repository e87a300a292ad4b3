# The `demand` rule in the inlet: what ack_demand.h says is done with is answered.


cdef void inlet_answered(inlet_t *s, int64_t position) noexcept nogil:
    """The Calculator is done with STDIN up to `position`. STDIN was sampled before; STDOUT is sampled here, after."""
    if ledger_answer(&s.ledger, position):
        ledger_fence(&s.ledger, progress_written(s.progress))


cdef bint inlet_sees_no_rest(inlet_t *s) noexcept nogil:
    """Does nothing show that a record which nothing follows is done with?"""
    return s.ledger.count == LEDGER_COUNT_BYTES and demand_is_unseen(&s.demand)


cdef bint inlet_is_urgent(inlet_t *s) noexcept nogil:
    """Does somebody wait for what the Calculator is done with?"""
    cdef bint window_fills = ledger_room(&s.ledger) <= s.ledger.max_records // 2 \
        or s.ledger.bytes > s.ledger.max_bytes // 2
    cdef bint batch_is_over = s.held_back and s.ledger.count == LEDGER_COUNT_BYTES and demand_in_batches(&s.demand)
    return window_fills or batch_is_over or s.draining or s.closing or s.revoking != NULL or s.alone_until > 0 \
        or s.careful_until > 0


cdef void inlet_sample(inlet_t *s) noexcept nogil:
    """Look at the Calculator by the rule; `look_again_ns` says when to do so again. STDIN has just been looked at."""
    cdef demand_seen_t seen
    s.look_again_ns = 0
    if not inlet_may_write(s):
        return
    seen.now_ns = s.looked_ns
    seen.written = s.ledger.written
    seen.read = s.ledger.written - s.unread_bytes
    seen.whole = s.ledger.cursor_bytes == 0
    seen.out_written = progress_written(s.progress) if s.unread_bytes == 0 and seen.whole else 0
    seen.urgent = inlet_is_urgent(s)
    s.look_again_ns = demand_look(&s.demand, &seen)
    inlet_answered(s, s.demand.done)
    if s.ledger.answered == s.ledger.cursor and s.ledger.cursor_bytes == 0:
        s.look_again_ns = 0
