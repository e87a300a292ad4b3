/* The question for a group's committed offsets. librdkafka has only a call for it that waits, so each question has a thread
 * of its own: records of other partitions go on meanwhile.
 */
#pragma once

#include <pthread.h>

#include "rdkafka.h"
#include "wake.h"

#define OFFSETS_QUESTION_TIMEOUT_MS 1000

typedef struct {
    rd_kafka_t *consumer;
    int wake_fd;                              /* written when the answer is there */
    int asked;                                /* from the question until its answer was taken */
    int answered;                             /* atomic */
    int error;                                /* of the answer */
    rd_kafka_topic_partition_list_t *offsets; /* NULL, or asked for and then answered; the asker's again when taken */
    pthread_t thread;
} offsets_question_t;

static void *offsets_question_thread(void *opaque) {
    offsets_question_t *q = opaque;
    q->error = rdk.committed(q->consumer, q->offsets, OFFSETS_QUESTION_TIMEOUT_MS);
    __atomic_store_n(&q->answered, 1, __ATOMIC_RELEASE);
    wake(q->wake_fd);
    return NULL;
}

/* Returns 0, or an errno when there is no thread for it. */
static int offsets_question_ask(offsets_question_t *q, const rd_kafka_topic_partition_list_t *partitions) {
    q->offsets = rdk.topic_partition_list_copy(partitions);
    q->answered = 0;
    int error = sys.thread_begin(&q->thread, offsets_question_thread, q);
    q->asked = error == 0;
    if (error != 0) {
        rdk.topic_partition_list_destroy(q->offsets);
        q->offsets = NULL;
    }
    return error;
}

static void offsets_question_drop(offsets_question_t *q) {
    if (q->offsets != NULL)
        rdk.topic_partition_list_destroy(q->offsets);
    q->offsets = NULL;
}

/* Returns whether there is an answer: `error` and `offsets`, to be dropped. */
static int offsets_question_take(offsets_question_t *q) {
    if (!q->asked || !__atomic_load_n(&q->answered, __ATOMIC_ACQUIRE))
        return 0;
    sys.thread_join(q->thread);
    q->asked = 0;
    return 1;
}

/* Before the consumer is destroyed: wait for an answer that nobody wants any more. */
static void offsets_question_end(offsets_question_t *q) {
    if (q->asked)
        sys.thread_join(q->thread);
    q->asked = 0;
    offsets_question_drop(q);
}
