#include "start_offsets.h"

#include "inlet.h"
#include "minmax.h"

#define AGAIN_MS 200   /* while no coordinator answers, or an offset is still in a transaction */
#define FAILED_MS 1000 /* while there is an error */
#define ANSWER_MS 500

void start_offsets_expect(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    s->start.answer_by_ns = monotonic_ns() + ANSWER_MS * MS;
    for (int i = 0; i < partitions->cnt; i++)
        rdk.topic_partition_list_add(s->start.pending, s->config.topic, partitions->elems[i].partition);
    s->start.next_question_ns = 0;
}

rd_kafka_topic_partition_list_t *start_offsets_unexpect(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    rd_kafka_topic_partition_list_t *given = rdk.topic_partition_list_new(partitions->cnt + 1);
    for (int i = 0; i < partitions->cnt; i++) {
        const int32_t partition = partitions->elems[i].partition;
        if (rdk.topic_partition_list_del(s->start.pending, s->config.topic, partition))
            s->start.stale = true; /* somebody else may commit before it is ours again */
        else
            rdk.topic_partition_list_add(given, s->config.topic, partition);
    }
    return given;
}

/* Give librdkafka these partitions; the answer to a rebalance if one is owed. */
static void answer(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    s->start.answer_by_ns = 0;
    consumer_assign_more(s, partitions);
}

void start_offsets_answer_without(inlet_t *s) {
    if (s->start.answer_by_ns == 0)
        return;
    rd_kafka_topic_partition_list_t *none = rdk.topic_partition_list_new(1);
    answer(s, none);
    rdk.topic_partition_list_destroy(none);
}

static void failed(inlet_t *s, int64_t now_ns, int error, const char *why) {
    s->start.next_question_ns = now_ns + FAILED_MS * MS;
    s->start.failed = true;
    inlet_notice(s, NOTICE_ERROR, error, why);
}

/* The partition is read from where `committed` says: one more in `known`. */
static void place(inlet_t *s, rd_kafka_topic_partition_list_t *known, const rd_kafka_topic_partition_t *committed) {
    rd_kafka_topic_partition_t *start = rdk.topic_partition_list_add(known, s->config.topic, committed->partition);
    rd_kafka_queue_t *queue = rdk.queue_get_partition(s->consumer.rk, s->config.topic, committed->partition);
    /* Forwarded before the fetch starts: records never mix with the events of consumer_poll, so back-pressure stops the
     * records alone. */
    if (queue != NULL) {
        rdk.queue_forward(queue, s->consumer.records);
        rdk.queue_destroy(queue);
    }
    if (committed->offset >= 0) {
        start->offset = committed->offset;
        /* By which librdkafka finds out that the log was cut off behind what the group has seen of it. */
        rdk.topic_partition_set_leader_epoch(start, rdk.topic_partition_get_leader_epoch(committed));
    } else {
        start->offset = s->config.first_offset;
    }
    attempts_know(s, committed);
    rdk.topic_partition_list_del(s->start.pending, s->config.topic, committed->partition);
}

static bool passes_soon(int error) {
    return error == RDK_ERR__TIMED_OUT || error == RDK_ERR_NOT_COORDINATOR ||
           error == RDK_ERR_COORDINATOR_NOT_AVAILABLE;
}

/* Give librdkafka the partitions whose offsets are known now. */
static void take(inlet_t *s, int64_t now_ns) {
    const rd_kafka_topic_partition_list_t *offsets = s->start.question.offsets;
    rd_kafka_topic_partition_list_t *known = rdk.topic_partition_list_new(offsets->cnt + 1);
    int error = s->start.question.error;
    if (error == RDK_ERR_NONE && !s->start.stale)
        for (int i = 0; i < offsets->cnt; i++) {
            if (offsets->elems[i].err != RDK_ERR_NONE)
                error = offsets->elems[i].err;
            else
                place(s, known, &offsets->elems[i]);
        }
    offsets_question_drop(&s->start.question);
    if (known->cnt > 0) {
        answer(s, known);
        if (s->start.failed)
            inlet_notice(s, NOTICE_PLACED, known->cnt, s->config.topic);
        s->start.failed = false;
    }
    rdk.topic_partition_list_destroy(known);
    if (passes_soon(error))
        s->start.next_question_ns = now_ns + AGAIN_MS * MS;
    else if (error != RDK_ERR_NONE && s->start.pending->cnt > 0)
        failed(s, now_ns, error, rdk.err2str(error));
}

void start_offsets_look(inlet_t *s, int64_t now_ns) {
    start_offsets_t *start = &s->start;
    if (offsets_question_take(&start->question))
        take(s, now_ns);
    if (start->answer_by_ns > 0 && now_ns >= start->answer_by_ns)
        start_offsets_answer_without(s);
    if (start->pending->cnt == 0 || start->question.asked || now_ns < start->next_question_ns)
        return;
    start->stale = false;
    if (offsets_question_ask(&start->question, start->pending) != 0)
        failed(s, now_ns, 0, "no thread to be had for the question about committed offsets");
}

int64_t start_offsets_due_ns(const inlet_t *s, int64_t now_ns, int64_t wait_ns) {
    if (s->start.pending->cnt > 0 && !s->start.question.asked)
        wait_ns = min_i64(wait_ns, max_i64(0, s->start.next_question_ns - now_ns));
    if (s->start.answer_by_ns > 0)
        wait_ns = min_i64(wait_ns, max_i64(0, s->start.answer_by_ns - now_ns));
    return wait_ns;
}
