#include "latest.h"

/* How many partitions the topic has; 0: it does not exist, or no broker says so. */
static int32_t count_partitions(const offsets_question_t *q, int *error) {
    const rdk_metadata_t *metadata = NULL;
    rd_kafka_topic_t *topic = rdk.topic_new(q->consumer, q->latest_of, NULL);
    int32_t count = 0;
    if (topic == NULL) {
        *error = RDK_ERR__CRIT_SYS_RESOURCE;
        return 0;
    }
    *error = rdk.metadata(q->consumer, 0, topic, &metadata, OFFSETS_QUESTION_TIMEOUT_MS);
    if (*error == RDK_ERR_NONE) {
        if (metadata->topic_count == 1 && metadata->topics[0].err == RDK_ERR_NONE)
            count = metadata->topics[0].partition_count;
        else
            *error = metadata->topic_count == 1 ? metadata->topics[0].err : RDK_ERR__UNKNOWN_PARTITION;
        rdk.metadata_destroy(metadata);
    }
    rdk.topic_destroy(topic);
    return count;
}

/* The beginning or the end of each partition's log, whichever stands there in the place of a time, as in Kafka's protocol; the
 * end is that of what read_committed sees where that is asked for. One request to each broker. */
static int find_offsets(const offsets_question_t *q, rd_kafka_topic_partition_list_t *partitions) {
    int error = rdk.offsets_for_times(q->consumer, partitions, OFFSETS_QUESTION_TIMEOUT_MS);
    for (int i = 0; i < partitions->cnt && error == RDK_ERR_NONE; i++)
        error = partitions->elems[i].err;
    return error;
}

/* Waited for: a commit under way could come after one of a transaction, and take the offset back. */
static int commit(const offsets_question_t *q, const rd_kafka_topic_partition_list_t *offsets) {
    rd_kafka_queue_t *answers = rdk.queue_new(q->consumer);
    int error = rdk.commit_queue(q->consumer, offsets, answers, NULL, NULL);
    if (error == RDK_ERR_NONE) {
        void *event = rdk.queue_poll(answers, OFFSETS_QUESTION_TIMEOUT_MS);
        error = event != NULL ? rdk.event_error(event) : RDK_ERR__TIMED_OUT;
        const rd_kafka_topic_partition_list_t *each = event != NULL ? rdk.event_topic_partition_list(event) : NULL;
        for (int i = 0; each != NULL && i < each->cnt && error == RDK_ERR_NONE; i++)
            error = each->elems[i].err;
        if (event != NULL)
            rdk.event_destroy(event);
    }
    rdk.queue_destroy(answers);
    return error;
}

/* Put the offsets that were found into the answer. */
static void answer_with(offsets_question_t *q, const rd_kafka_topic_partition_list_t *found) {
    for (int i = 0, next = 0; i < q->offsets->cnt && next < found->cnt; i++)
        if (q->offsets->elems[i].partition == found->elems[next].partition)
            q->offsets->elems[i].offset = found->elems[next++].offset;
}

/* `unknown`: room for those without an offset. */
static int resolve(offsets_question_t *q, rd_kafka_topic_partition_list_t *unknown) {
    for (int i = 0; i < q->offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &q->offsets->elems[i];
        if (p->err == RDK_ERR_NONE && p->offset < 0)
            rdk.topic_partition_list_add(unknown, q->latest_of, p->partition)->offset =
                p->partition < q->known_count ? RDK_OFFSET_END : RDK_OFFSET_BEGINNING;
    }
    if (unknown->cnt == 0)
        return RDK_ERR_NONE;
    int error = find_offsets(q, unknown);
    if (error == RDK_ERR_NONE)
        error = commit(q, unknown);
    if (error == RDK_ERR_NONE)
        answer_with(q, unknown);
    return error;
}

int latest_resolve(offsets_question_t *q) {
    int error = RDK_ERR_NONE;
    if (q->known_count == 0)
        q->known_count = count_partitions(q, &error);
    if (error != RDK_ERR_NONE)
        return error;
    rd_kafka_topic_partition_list_t *unknown = rdk.topic_partition_list_new(q->offsets->cnt + 1);
    error = resolve(q, unknown);
    rdk.topic_partition_list_destroy(unknown);
    return error;
}
