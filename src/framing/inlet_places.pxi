# From where a partition is read: from the offset that the group has committed, or by auto.offset.reset if it has none.
#
# librdkafka would ask for it by itself. But if the offset is still in a transaction, and the group rebalances again
# while that is waited for, it goes on as if there were no offset (rd_kafka_assignment_apply_offsets of 2.16): the
# partition is read again from its beginning, or what is in it is passed over. So the inlet asks, and librdkafka is
# given a partition when its offset is known: until then the partition is ours, and not read.
#
# The partitions with their offsets are the answer to the rebalance that brought them, because a partition that is given
# while librdkafka handles another rebalance can be taken for the answer to that, before it has paused the others for
# it: they stay paused then. The group does not wait for long, though: after ANSWER_MS it is told that we go on without.

cdef enum:
    PLACES_AGAIN_MS = 200           # while no coordinator answers, or an offset is still in a transaction
    PLACES_FAILED_MS = 1000         # while there is an error
    ANSWER_MS = 500


cdef void inlet_expect(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) noexcept nogil:
    """They are ours now: ask where they are to be read from, at once. An answer is owed to the group."""
    cdef int i
    s.answer_by_ns = monotonic_ns() + ANSWER_MS * MS
    for i in range(partitions.cnt):
        rdk.topic_partition_list_add(s.unplaced, s.topic, partitions.elems[i].partition)
    s.next_places_ns = 0


cdef rd_kafka_topic_partition_list_t *inlet_unexpect(
        inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) noexcept nogil:
    """They are not ours any more. Returns those of them that librdkafka was given; for the caller to destroy."""
    cdef rd_kafka_topic_partition_list_t *given = rdk.topic_partition_list_new(partitions.cnt + 1)
    cdef int i
    for i in range(partitions.cnt):
        if rdk.topic_partition_list_del(s.unplaced, s.topic, partitions.elems[i].partition):
            s.places_stale = True       # somebody else may commit before it is ours again
        else:
            rdk.topic_partition_list_add(given, s.topic, partitions.elems[i].partition)
    return given


cdef void inlet_answer_without(inlet_t *s) noexcept nogil:
    """If the group waits for an answer, give it without any partition."""
    cdef rd_kafka_topic_partition_list_t *none
    if s.answer_by_ns == 0:
        return
    none = rdk.topic_partition_list_new(1)
    inlet_answer(s, none)
    rdk.topic_partition_list_destroy(none)


cdef void inlet_answer(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) noexcept nogil:
    """Give librdkafka these partitions; the answer to a rebalance if one is owed."""
    s.answer_by_ns = 0
    inlet_assign_more(s, partitions)


cdef void inlet_find_places(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Take the answer when it is there; ask when it is time."""
    if offsets_question_take(&s.question):
        inlet_take_places(s, now_ns)
    if s.answer_by_ns > 0 and now_ns >= s.answer_by_ns:
        inlet_answer_without(s)
    if s.unplaced.cnt == 0 or s.question.asked or now_ns < s.next_places_ns:
        return
    s.places_stale = False
    if offsets_question_ask(&s.question, s.unplaced) != 0:
        inlet_places_failed(s, now_ns, 0, b"no thread to be had for the question about committed offsets")


cdef void inlet_take_places(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Give librdkafka the partitions whose offsets are known now."""
    cdef rd_kafka_topic_partition_list_t *offsets = s.question.offsets
    cdef rd_kafka_topic_partition_list_t *known = rdk.topic_partition_list_new(offsets.cnt + 1)
    cdef int error = s.question.error
    cdef int i
    if error == RDK_ERR_NONE and not s.places_stale:
        for i in range(offsets.cnt):
            if offsets.elems[i].err != RDK_ERR_NONE:
                error = offsets.elems[i].err
            else:
                inlet_place(s, known, &offsets.elems[i])
    offsets_question_drop(&s.question)
    if known.cnt > 0:
        inlet_answer(s, known)
        if s.places_failed:
            notice_post(&s.client.notices, NOTICE_PLACED, known.cnt, s.topic)
        s.places_failed = False
    rdk.topic_partition_list_destroy(known)
    if error == RDK_ERR__TIMED_OUT or error == RDK_ERR_NOT_COORDINATOR or error == RDK_ERR_COORDINATOR_NOT_AVAILABLE:
        s.next_places_ns = now_ns + PLACES_AGAIN_MS * MS
    elif error != RDK_ERR_NONE and s.unplaced.cnt > 0:
        inlet_places_failed(s, now_ns, error, rdk.err2str(error))


cdef void inlet_places_failed(inlet_t *s, int64_t now_ns, int error, const char *why) noexcept nogil:
    s.next_places_ns = now_ns + PLACES_FAILED_MS * MS
    s.places_failed = True
    notice_post(&s.client.notices, NOTICE_ERROR, error, why)


cdef void inlet_place(inlet_t *s, rd_kafka_topic_partition_list_t *known,
                      const rd_kafka_topic_partition_t *committed) noexcept nogil:
    cdef rd_kafka_topic_partition_t *place = rdk.topic_partition_list_add(known, s.topic, committed.partition)
    cdef rd_kafka_queue_t *queue = rdk.queue_get_partition(s.rk, s.topic, committed.partition)
    # Forwarded before the fetch starts: records never mix with the events of consumer_poll, so back-pressure stops the
    # records alone.
    if queue != NULL:
        rdk.queue_forward(queue, s.records)
        rdk.queue_destroy(queue)
    if committed.offset >= 0:
        place.offset = committed.offset
        # By which librdkafka finds out that the log was cut off behind what the group has seen of it.
        rdk.topic_partition_set_leader_epoch(place, rdk.topic_partition_get_leader_epoch(committed))
    else:
        place.offset = s.first_offset
    inlet_know_attempt(s, committed)
    rdk.topic_partition_list_del(s.unplaced, s.topic, committed.partition)
