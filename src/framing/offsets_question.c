#include "offsets_question.h"

#include "latest.h"

static void *offsets_question_thread(void *opaque) {
    offsets_question_t *q = opaque;
    q->error = rdk.committed(q->consumer, q->offsets, OFFSETS_QUESTION_TIMEOUT_MS);
    if (q->error == RDK_ERR_NONE && q->latest_of != NULL)
        q->error = latest_resolve(q);
    __atomic_store_n(&q->answered, 1, __ATOMIC_RELEASE);
    wake(q->wake_fd);
    return NULL;
}

int offsets_question_ask(offsets_question_t *q, const rd_kafka_topic_partition_list_t *partitions) {
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

void offsets_question_drop(offsets_question_t *q) {
    if (q->offsets != NULL)
        rdk.topic_partition_list_destroy(q->offsets);
    q->offsets = NULL;
}

int offsets_question_take(offsets_question_t *q) {
    if (!q->asked || !__atomic_load_n(&q->answered, __ATOMIC_ACQUIRE))
        return 0;
    sys.thread_join(q->thread);
    q->asked = 0;
    return 1;
}

void offsets_question_end(offsets_question_t *q) {
    if (q->asked)
        sys.thread_join(q->thread);
    q->asked = 0;
    offsets_question_drop(q);
}
