# Exactly-once, the inlet's part: when to commit, which offsets, and when the records may go. See cut.h.

cdef int64_t COMMIT_INTERVAL_NS = 100 * MS
cdef int64_t COMMIT_SOON_NS = 5 * MS            # somebody waits for the end of what is under way


cdef bint inlet_has_uncommitted(inlet_t *s) noexcept nogil:
    return s.ledger.head < s.ledger.cursor or progress_transaction_open(s.progress)


cdef bint inlet_may_cut_anywhere(inlet_t *s) noexcept nogil:
    return s.ledger.head == s.ledger.cursor and s.ledger.cursor_bytes == 0


cdef int64_t inlet_transact(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Move the commit on. Returns in how many ns to look again; 0: when something happens."""
    cdef cut_t *cut = &s.progress.cut
    cdef int state = cut_state(cut)
    if s.abort_owed and (state == CUT_NONE or state == CUT_ASKED or state == CUT_ANYWHERE or state == CUT_DELIVERED):
        if not inlet_abort(s, state, b"partitions were given up before their records were done"):
            return COMMIT_SOON_NS
        s.abort_owed = False
        return 0
    if state == CUT_VOID:
        s.abort_owed = False
        return 0
    if inlet_take_commit(s):
        return COMMIT_SOON_NS
    if state == CUT_DELIVERED:
        inlet_hand_offsets(s)
        return 0
    if state != CUT_NONE or not inlet_has_uncommitted(s):
        return 0
    if now_ns < s.next_cut_ns:
        return s.next_cut_ns - now_ns
    s.next_cut_ns = now_ns + (COMMIT_SOON_NS if s.draining or s.closing or s.revoking != NULL or s.alone_until > 0
                              or s.careful_until > 0
                              or s.ledger.dead > 0 else COMMIT_INTERVAL_NS)
    if cut_move(cut, CUT_NONE, CUT_ANYWHERE if inlet_may_cut_anywhere(s) else CUT_ASKED):
        progress_wake_outlet(s.progress)
    return 0


cdef bint inlet_take_commit(inlet_t *s) noexcept nogil:
    """Let the records go whose offsets were committed with their lines. Returns whether a commit was done."""
    if cut_state(&s.progress.cut) != CUT_COMMITTED:
        return False
    inlet_release(s, s.ledger.committing)
    cut_move(&s.progress.cut, CUT_COMMITTED, CUT_NONE)
    progress_wake_outlet(s.progress)
    return True


cdef bint inlet_abort(inlet_t *s, int state, const char *why) noexcept nogil:
    """Returns whether the cut was still in this state, and the transaction is lost now."""
    s.progress.cut.why = why
    if not cut_move(&s.progress.cut, state, CUT_ABORT):
        return False
    progress_wake_outlet(s.progress)
    return True


cdef void inlet_hand_offsets(inlet_t *s) noexcept nogil:
    """Everything up to the cut is delivered: say which offsets are committed with it."""
    cdef void *group
    # librdkafka's main thread answers, so without the lock, and first: orders may come meanwhile.
    inlet_unlock(s)
    group = rdk.consumer_group_metadata(s.rk)
    inlet_lock(s)
    if cut_state(&s.progress.cut) == CUT_DELIVERED:
        inlet_hand_offsets_of(s, &group)
    if group != NULL:
        rdk.consumer_group_metadata_destroy(group)


cdef void inlet_hand_offsets_of(inlet_t *s, void **group) noexcept nogil:
    """``group``: this group's, NULL when it is handed over too."""
    cdef cut_t *cut = &s.progress.cut
    cdef rd_kafka_topic_partition_list_t *offsets
    cdef int64_t sequence
    cdef int64_t *below
    cdef int32_t i
    if s.ledger.count == LEDGER_COUNT_LINES:
        inlet_look_for_surplus(s, cut.mark)
        if s.rule_broken:
            inlet_abort(s, CUT_DELIVERED, b"the rule of ACK_MODE=line was broken")
            return
    sequence = ledger_buried_before(&s.ledger, ledger_settle_marks(&s.ledger, cut.mark), s.progress.letters.delivered)
    if sequence == s.ledger.head and not progress_transaction_open(s.progress):
        cut_move(cut, CUT_DELIVERED, CUT_NONE)
        progress_wake_outlet(s.progress)    # it takes no line before: else it could be asked again each time it looks
        return
    below = <int64_t *>malloc((s.ledger.partition_count + 1) * sizeof(int64_t))
    if below == NULL:
        return              # the next round tries again
    ledger_offsets_below(&s.ledger, sequence, below)
    offsets = rdk.topic_partition_list_new(s.ledger.partition_count + 1)
    for i in range(s.ledger.partition_count):
        if below[i] >= 0:
            rdk.topic_partition_list_add(offsets, s.topic, i).offset = below[i]
    free(below)
    s.ledger.committing = sequence
    if offsets.cnt > 0:
        cut.offsets = offsets
        cut.group = group[0]
        group[0] = NULL
    else:
        rdk.topic_partition_list_destroy(offsets)
    if not cut_move(cut, CUT_DELIVERED, CUT_OFFSETS):
        cut_drop_offsets(cut)   # it was given up meanwhile
    progress_wake_outlet(s.progress)


cdef bint inlet_rewind_void(inlet_t *s) noexcept nogil:
    """If the transaction was lost, everything since the last commit is to be written again, and lines count again."""
    if not s.transactional or cut_state(&s.progress.cut) != CUT_VOID:
        return False
    s.ledger.committing = 0
    s.abort_owed = False
    ledger_recall_letters(&s.ledger)
    return cut_move(&s.progress.cut, CUT_VOID, CUT_NONE)
