# Which topic it is. A topic that is deleted and made again has its name, and is another one: offsets of the first mean
# nothing in it. librdkafka goes on at its old position all the same (rd_kafka_topic_metadata_update says so), and
# commits nothing until it is past what it had committed. So the brokers are asked for the topic's id now and then, and
# a new one ends this consumer: the group's offsets go back to the beginning, and the next consumer goes on from there.

cdef enum:
    QUESTION_INTERVAL_MS = 5000
    UNSURE_MS = 2000            # records wait so long for an answer after an assignment


cdef void inlet_ask_again(inlet_t *s) noexcept nogil:
    """Partitions are assigned, perhaps because the topic came back: ask at once, and take nothing of it before."""
    s.next_question_ns = 0
    if s.identity[0] != 0 or s.identity[1] != 0:
        s.unsure_until_ns = monotonic_ns() + UNSURE_MS * MS


cdef void inlet_identify(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Ask for the topic's id when it is time, and take the answer when it is there."""
    cdef void *answer
    cdef void *names
    if s.asked:
        answer = rdk.queue_poll(s.answers, 0)
        if answer != NULL:
            s.asked = False
            inlet_take_identity(s, answer)
            rdk.event_destroy(answer)
            if s.next_question_ns > 0:      # else it was asked before the partitions were assigned
                s.unsure_until_ns = 0
                s.more = True
    elif not s.replaced and now_ns >= s.next_question_ns:
        s.next_question_ns = now_ns + QUESTION_INTERVAL_MS * MS
        s.asked = True
        names = rdk.TopicCollection_of_topic_names(&s.topic, 1)
        rdk.DescribeTopics(s.rk, names, NULL, s.answers)
        rdk.TopicCollection_destroy(names)
    if s.unsure_until_ns > 0 and now_ns >= s.unsure_until_ns:
        s.unsure_until_ns = 0
        s.more = True


cdef void inlet_take_identity(inlet_t *s, void *answer) noexcept nogil:
    cdef const void *result = rdk.event_DescribeTopics_result(answer)
    cdef const void **topics
    cdef const void *uuid
    cdef size_t count = 0
    cdef int64_t identity[2]
    if result == NULL:
        return
    topics = rdk.DescribeTopics_result_topics(result, &count)
    if count != 1:
        return
    uuid = rdk.TopicDescription_topic_id(topics[0])
    if uuid == NULL:
        return
    identity[0] = rdk.Uuid_most_significant_bits(uuid)
    identity[1] = rdk.Uuid_least_significant_bits(uuid)
    if identity[0] == 0 and identity[1] == 0:       # it does not exist, or may not be described
        return
    if (s.identity[0] != 0 or s.identity[1] != 0) and \
            (s.identity[0] != identity[0] or s.identity[1] != identity[1]):
        inlet_replaced(s)
    s.identity[0] = identity[0]
    s.identity[1] = identity[1]


cdef void inlet_replaced(inlet_t *s) noexcept nogil:
    """It is another topic: what was read moves no offset any more, and its offsets begin anew."""
    cdef rd_kafka_topic_partition_list_t *offsets = rdk.topic_partition_list_new(s.ledger.partition_count + 1)
    cdef int32_t i
    for i in range(s.ledger.partition_count):
        if s.ledger.partitions[i].state == PARTITION_LOST:
            continue
        s.abort_owed = s.abort_owed or (s.transactional and s.ledger.partitions[i].in_flight > 0)
        ledger_revoke(&s.ledger, i, inlet_void_from(s))
        rdk.topic_partition_list_add(offsets, s.topic, i).offset = 0
    s.replaced = True
    inlet_forget_attempts(s)
    if offsets.cnt > 0:
        if not s.transactional:
            rdk.offsets_store(s.rk, offsets)    # or what is stored would be committed at the end, over this
        rdk.commit(s.rk, offsets, 1)
    rdk.topic_partition_list_destroy(offsets)
    notice_post(&s.client.notices, NOTICE_REPLACED, 0, s.topic)
