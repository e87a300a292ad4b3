#include "live.h"

const char *const live_names[LIVE_COUNT] = {
#define X(kind) #kind,
    LIVE_KINDS(X)
#undef X
};

live_t live;

/* clang-format off */
#define LIVE_MAKERS(X)                                                                                                 \
    X(clients, rd_kafka_t *, new, (int a, rd_kafka_conf_t *b, char *c, size_t d), (a, b, c, d))                        \
    X(queues, rd_kafka_queue_t *, queue_new, (rd_kafka_t *a), (a))                                                     \
    X(queues, rd_kafka_queue_t *, queue_get_main, (rd_kafka_t *a), (a))                                                \
    X(queues, rd_kafka_queue_t *, queue_get_consumer, (rd_kafka_t *a), (a))                                            \
    X(queues, rd_kafka_queue_t *, queue_get_partition, (rd_kafka_t *a, const char *b, int32_t c), (a, b, c))           \
    X(topics, rd_kafka_topic_t *, topic_new, (rd_kafka_t *a, const char *b, rd_kafka_topic_conf_t *c), (a, b, c))      \
    X(lists, rd_kafka_topic_partition_list_t *, topic_partition_list_new, (int a), (a))                                \
    X(lists, rd_kafka_topic_partition_list_t *, topic_partition_list_copy,                                             \
      (const rd_kafka_topic_partition_list_t *a), (a))                                                                 \
    X(lists, void *, consumer_group_metadata, (rd_kafka_t *a), (a))                                                    \
    X(errors, void *, incremental_assign, (rd_kafka_t *a, const rd_kafka_topic_partition_list_t *b), (a, b))           \
    X(errors, void *, incremental_unassign, (rd_kafka_t *a, const rd_kafka_topic_partition_list_t *b), (a, b))         \
    X(errors, void *, consumer_close_queue, (rd_kafka_t *a, rd_kafka_queue_t *b), (a, b))                              \
    X(errors, void *, init_transactions, (rd_kafka_t *a, int b), (a, b))                                               \
    X(errors, void *, begin_transaction, (rd_kafka_t *a), (a))                                                         \
    X(errors, void *, send_offsets_to_transaction,                                                                     \
      (rd_kafka_t *a, const rd_kafka_topic_partition_list_t *b, const void *c, int d), (a, b, c, d))                   \
    X(errors, void *, commit_transaction, (rd_kafka_t *a, int b), (a, b))                                              \
    X(errors, void *, abort_transaction, (rd_kafka_t *a, int b), (a, b))                                               \
    X(headers, rd_kafka_headers_t *, headers_new, (size_t a), (a))                                                     \
    X(headers, rd_kafka_headers_t *, headers_copy, (const rd_kafka_headers_t *a), (a))                                 \
    X(messages, rd_kafka_message_t *, consumer_poll, (rd_kafka_t *a, int b), (a, b))

#define LIVE_DESTROYERS(X)                                                                 \
    X(queues, queue_destroy, (rd_kafka_queue_t *a), (a), 1)                                \
    X(topics, topic_destroy, (rd_kafka_topic_t *a), (a), 1)                                \
    X(lists, topic_partition_list_destroy, (rd_kafka_topic_partition_list_t *a), (a), 1)   \
    X(lists, consumer_group_metadata_destroy, (void *a), (a), 1)                           \
    X(errors, error_destroy, (void *a), (a), a != NULL)                                    \
    X(headers, headers_destroy, (rd_kafka_headers_t *a), (a), 1)                           \
    X(messages, message_destroy, (rd_kafka_message_t *a), (a), 1)                          \
    X(clients, destroy_flags, (rd_kafka_t *a, int b), (a, b), 1)

#define X(kind, type, name, args, passed)           \
    static type live_##name args {                  \
        type made = live.made_by.name passed;       \
        if (made != NULL)                           \
            live_add(LIVE_##kind, 1);               \
        return made;                                \
    }
LIVE_MAKERS(X)
#undef X

#define X(kind, name, args, passed, n)   \
    static void live_##name args {       \
        const int64_t gone = (n);        \
        live.made_by.name passed;        \
        live_add(LIVE_##kind, -gone);    \
    }
LIVE_DESTROYERS(X)
#undef X
/* clang-format on */

static int live_message_detach_headers(rd_kafka_message_t *message, rd_kafka_headers_t **headers) {
    int error = live.made_by.message_detach_headers(message, headers);
    live_add(LIVE_headers, error == RDK_ERR_NONE);
    return error;
}

static ssize_t live_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms, rd_kafka_message_t **messages,
                                        size_t count) {
    ssize_t taken = live.made_by.consume_batch_queue(queue, timeout_ms, messages, count);
    if (taken > 0)
        live_add(LIVE_messages, taken);
    return taken;
}

void live_watch(void) {
    live.made_by = rdk;
#define X(kind, type, name, args, passed) rdk.name = live_##name;
    LIVE_MAKERS(X)
#undef X
#define X(kind, name, args, passed, n) rdk.name = live_##name;
    LIVE_DESTROYERS(X)
#undef X
    rdk.consume_batch_queue = live_consume_batch_queue;
    rdk.message_detach_headers = live_message_detach_headers;
}
