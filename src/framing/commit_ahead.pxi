# `at-most-once`: a record is written only after the commit of its offset was confirmed, so it is never written twice.

cdef int64_t COMMIT_RETRY_NS = 100 * MS


cdef rd_kafka_topic_partition_list_t *inlet_new_offsets(inlet_t *s) noexcept nogil:
    """The offsets that moved since they were last asked for, or NULL if none did."""
    cdef int32_t i
    cdef ledger_partition_t *p
    cdef rd_kafka_topic_partition_list_t *offsets = NULL
    for i in range(s.ledger.partition_count):
        p = &s.ledger.partitions[i]
        if not p.dirty or p.state == PARTITION_LOST:
            continue
        if offsets == NULL:
            offsets = rdk.topic_partition_list_new(s.ledger.partition_count)
        rdk.topic_partition_list_add(offsets, s.topic, i).offset = p.next_offset
        p.dirty = 0
    return offsets


cdef void inlet_commit_ahead(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Commit what was taken and is not committed, one commit at a time."""
    cdef rd_kafka_topic_partition_list_t *offsets
    cdef int error
    cdef int64_t i
    if s.paused or s.draining or s.closing:     # what is not committed by now is left to who reads it next
        return
    if s.revoking != NULL:      # the last commit's answer is waited for
        return
    if s.commit_target >= 0 or s.committed >= s.ledger.tail or now_ns < s.next_commit_ns:
        return
    for i in range(s.committed, s.ledger.tail):
        ledger_note_offset(&s.ledger, ledger_at(&s.ledger, i))
    offsets = inlet_new_offsets(s)
    if offsets == NULL:         # all void: their partitions were lost in between
        s.committed = s.ledger.tail
        return
    s.commit_target = s.ledger.tail
    error = rdk.commit(s.rk, offsets, 1)
    rdk.topic_partition_list_destroy(offsets)
    if error != RDK_ERR_NONE:
        inlet_commit_failed(s, error)


cdef bint inlet_owes_lines(const inlet_t *s) noexcept nogil:
    """Are there records that were committed, or are about to be, and not written yet? Nobody else will read them."""
    return s.ledger.cursor < max(s.committed, s.commit_target)


cdef void inlet_commit_failed(inlet_t *s, int error) noexcept nogil:
    cdef int32_t i
    for i in range(s.ledger.partition_count):   # asked for again, whether newer records come or not
        s.ledger.partitions[i].dirty = s.ledger.partitions[i].next_offset >= 0
    s.commit_target = -1
    ledger_leave(&s.ledger, inlet_void_from(s))     # their offsets are not asked for again: who gets them reads them
    s.next_commit_ns = monotonic_ns() + COMMIT_RETRY_NS
    notice_post(&s.client.notices, NOTICE_ERROR, error, rdk.err2str(error))


cdef void on_commit(rd_kafka_t *rk, int error, rd_kafka_topic_partition_list_t *offsets, void *opaque) noexcept nogil:
    """Called out of consumer_poll, on the inlet's thread."""
    cdef inlet_t *s = <inlet_t *>opaque
    cdef int i
    if s.commit_target < 0:
        return
    for i in range(offsets.cnt if offsets != NULL else 0):
        if error == RDK_ERR_NONE:
            error = offsets.elems[i].err
    if error != RDK_ERR_NONE:
        inlet_commit_failed(s, error)
        return
    s.committed = s.commit_target
    s.commit_target = -1
