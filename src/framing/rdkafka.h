/* The librdkafka that the confluent-kafka wheel carries, bound at run time.
 *
 * No librdkafka header at build time and no second copy in the process: the extension module confluent_kafka.cimpl is
 * already loaded, and the public functions of the library it links are looked up by name (DESIGN: binding). Only the
 * public, ABI-stable structs are declared here; their sizes are asserted, and the version is checked at load.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_topic_conf_s rd_kafka_topic_conf_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct rd_kafka_headers_s rd_kafka_headers_t;

typedef struct rd_kafka_message_s {
    int err;
    rd_kafka_topic_t *rkt;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *_private;
} rd_kafka_message_t;

typedef struct rd_kafka_topic_partition_s {
    char *topic;
    int32_t partition;
    int64_t offset;
    void *metadata;
    size_t metadata_size;
    void *opaque;
    int err;
    void *_private;
} rd_kafka_topic_partition_t;

typedef struct rd_kafka_topic_partition_list_s {
    int cnt;
    int size;
    rd_kafka_topic_partition_t *elems;
} rd_kafka_topic_partition_list_t;

typedef struct {
    char *topic;
    int partition_count;
    void *partitions;
    int err;
} rdk_metadata_topic_t;

typedef struct {
    int broker_count;
    void *brokers;
    int topic_count;
    rdk_metadata_topic_t *topics;
    int32_t origin;
    char *origin_name;
} rdk_metadata_t;

_Static_assert(sizeof(void *) != 8 || sizeof(rdk_metadata_topic_t) == 32, "rd_kafka_metadata_topic is 32 bytes");
_Static_assert(sizeof(void *) != 8 || sizeof(rdk_metadata_t) == 48, "rd_kafka_metadata is 48 bytes");
_Static_assert(sizeof(void *) != 8 || sizeof(rd_kafka_message_t) == 72, "rd_kafka_message_t is 72 bytes");
_Static_assert(sizeof(void *) != 8 || sizeof(rd_kafka_topic_partition_t) == 64,
               "rd_kafka_topic_partition_t is 64 bytes");
_Static_assert(sizeof(void *) != 8 || sizeof(rd_kafka_topic_partition_list_t) == 16, "the list is 16 bytes");

/* Values of rd_kafka_resp_err_t, rd_kafka_type_t and flags that the data path names. */
enum {
    RDK_PRODUCER = 0,
    RDK_CONSUMER = 1,
    RDK_PARTITION_UA = -1,
    RDK_OFFSET_BEGINNING = -2,
    RDK_OFFSET_END = -1,
    RDK_OFFSET_INVALID = -1001,
    RDK_PURGE_QUEUE_AND_INFLIGHT = 3,
    RDK_PURGE_NON_BLOCKING = 4,
    RDK_DESTROY_NO_CONSUMER_CLOSE = 0x8,
    RDK_MSG_STATUS_NOT_PERSISTED = 0,
    RDK_ERR_NONE = 0,
    RDK_ERR__BAD_MSG = -199,
    RDK_ERR__BAD_COMPRESSION = -198,
    RDK_ERR__CRIT_SYS_RESOURCE = -194,
    RDK_ERR__UNKNOWN_PARTITION = -190,
    RDK_ERR__TIMED_OUT = -185,
    RDK_ERR__QUEUE_FULL = -184,
    RDK_ERR__ASSIGN_PARTITIONS = -175,
    RDK_ERR__REVOKE_PARTITIONS = -174,
    RDK_ERR__NOT_IMPLEMENTED = -170,
    RDK_ERR__PURGE_QUEUE = -152,
    RDK_ERR__PURGE_INFLIGHT = -151,
    RDK_ERR__FATAL = -150,
    RDK_ERR_MSG_SIZE_TOO_LARGE = 10,
    RDK_ERR_COORDINATOR_NOT_AVAILABLE = 15,
    RDK_ERR_NOT_COORDINATOR = 16,
    RDK_ERR_RECORD_LIST_TOO_LARGE = 18,
    RDK_ERR_INVALID_RECORD = 87,
};

/* Tags of the arguments of rd_kafka_producev. */
enum { RDK_V_END, RDK_V_TOPIC, RDK_V_RKT, RDK_V_PARTITION, RDK_V_VALUE, RDK_V_KEY, RDK_V_OPAQUE, RDK_V_HEADERS = 10 };

typedef void (*rdk_dr_msg_cb)(rd_kafka_t *, const rd_kafka_message_t *, void *);
typedef void (*rdk_rebalance_cb)(rd_kafka_t *, int, rd_kafka_topic_partition_list_t *, void *);
typedef void (*rdk_offset_commit_cb)(rd_kafka_t *, int, rd_kafka_topic_partition_list_t *, void *);
typedef void (*rdk_throttle_cb)(rd_kafka_t *, const char *, int32_t, int, void *);
typedef void (*rdk_error_cb)(rd_kafka_t *, int, const char *, void *);
typedef int (*rdk_stats_cb)(rd_kafka_t *, char *, size_t, void *);
typedef void (*rdk_log_cb)(const rd_kafka_t *, int, const char *, const char *);
typedef int32_t (*rdk_partitioner_cb)(const rd_kafka_topic_t *, const void *, size_t, int32_t, void *, void *);

/* clang-format off */
#define RDK_FUNCTIONS(X)                                                                                               \
    X(const char *, version_str, (void))                                                                               \
    X(int, version, (void))                                                                                            \
    X(const char *, err2str, (int))                                                                                    \
    X(const char *, err2name, (int))                                                                                   \
    X(rd_kafka_conf_t *, conf_new, (void))                                                                             \
    X(void, conf_destroy, (rd_kafka_conf_t *))                                                                         \
    X(int, conf_set, (rd_kafka_conf_t *, const char *, const char *, char *, size_t))                                  \
    X(void, conf_set_opaque, (rd_kafka_conf_t *, void *))                                                              \
    X(void, conf_set_dr_msg_cb, (rd_kafka_conf_t *, rdk_dr_msg_cb))                                                    \
    X(void, conf_set_rebalance_cb, (rd_kafka_conf_t *, rdk_rebalance_cb))                                              \
    X(void, conf_set_offset_commit_cb, (rd_kafka_conf_t *, rdk_offset_commit_cb))                                      \
    X(void, conf_set_error_cb, (rd_kafka_conf_t *, rdk_error_cb))                                                      \
    X(void, conf_set_throttle_cb, (rd_kafka_conf_t *, rdk_throttle_cb))                                                \
    X(void, conf_set_stats_cb, (rd_kafka_conf_t *, rdk_stats_cb))                                                      \
    X(void, conf_set_log_cb, (rd_kafka_conf_t *, rdk_log_cb))                                                          \
    X(rd_kafka_t *, new, (int, rd_kafka_conf_t *, char *, size_t))                                                     \
    X(void, destroy_flags, (rd_kafka_t *, int))                                                                        \
    X(int, brokers_add, (rd_kafka_t *, const char *))                                                                  \
    X(void *, sasl_set_credentials, (rd_kafka_t *, const char *, const char *))                                        \
    X(void *, opaque, (const rd_kafka_t *))                                                                            \
    X(int, poll, (rd_kafka_t *, int))                                                                                  \
    X(int, outq_len, (rd_kafka_t *))                                                                                   \
    X(int, purge, (rd_kafka_t *, int))                                                                                 \
    X(int, fatal_error, (rd_kafka_t *, char *, size_t))                                                                \
    X(rd_kafka_queue_t *, queue_new, (rd_kafka_t *))                                                                   \
    X(rd_kafka_queue_t *, queue_get_main, (rd_kafka_t *))                                                              \
    X(rd_kafka_queue_t *, queue_get_consumer, (rd_kafka_t *))                                                          \
    X(rd_kafka_queue_t *, queue_get_partition, (rd_kafka_t *, const char *, int32_t))                                  \
    X(void, queue_forward, (rd_kafka_queue_t *, rd_kafka_queue_t *))                                                   \
    X(void, queue_destroy, (rd_kafka_queue_t *))                                                                       \
    X(void, queue_io_event_enable, (rd_kafka_queue_t *, int, const void *, size_t))                                    \
    X(int, poll_set_consumer, (rd_kafka_t *))                                                                          \
    X(int, subscribe, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *))                                         \
    X(rd_kafka_message_t *, consumer_poll, (rd_kafka_t *, int))                                                        \
    X(ssize_t, consume_batch_queue, (rd_kafka_queue_t *, int, rd_kafka_message_t **, size_t))                          \
    X(void, message_destroy, (rd_kafka_message_t *))                                                                   \
    X(const char *, rebalance_protocol, (rd_kafka_t *))                                                                \
    X(int, assignment_lost, (rd_kafka_t *))                                                                            \
    X(int, assign, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *))                                            \
    X(void *, incremental_assign, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *))                             \
    X(void *, incremental_unassign, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *))                           \
    X(void *, consumer_close_queue, (rd_kafka_t *, rd_kafka_queue_t *))                                                \
    X(int, consumer_closed, (rd_kafka_t *))                                                                            \
    X(void, error_destroy, (void *))                                                                                   \
    X(const char *, error_string, (const void *))                                                                      \
    X(int, offsets_store, (rd_kafka_t *, rd_kafka_topic_partition_list_t *))                                           \
    X(int, commit, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *, int))                                       \
    X(int, commit_queue, (rd_kafka_t *, const rd_kafka_topic_partition_list_t *, rd_kafka_queue_t *, void *, void *))   \
    X(int, committed, (rd_kafka_t *, rd_kafka_topic_partition_list_t *, int))                                          \
    X(int, offsets_for_times, (rd_kafka_t *, rd_kafka_topic_partition_list_t *, int))                                  \
    X(int, metadata, (rd_kafka_t *, int, rd_kafka_topic_t *, const rdk_metadata_t **, int))                            \
    X(void, metadata_destroy, (const rdk_metadata_t *))                                                                \
    X(int, get_watermark_offsets, (rd_kafka_t *, const char *, int32_t, int64_t *, int64_t *))                         \
    X(rd_kafka_topic_partition_list_t *, topic_partition_list_new, (int))                                              \
    X(rd_kafka_topic_partition_list_t *, topic_partition_list_copy, (const rd_kafka_topic_partition_list_t *))         \
    X(void, topic_partition_list_destroy, (rd_kafka_topic_partition_list_t *))                                         \
    X(rd_kafka_topic_partition_t *, topic_partition_list_add,                                                          \
      (rd_kafka_topic_partition_list_t *, const char *, int32_t))                                                      \
    X(int, topic_partition_list_del, (rd_kafka_topic_partition_list_t *, const char *, int32_t))                       \
    X(int32_t, topic_partition_get_leader_epoch, (const rd_kafka_topic_partition_t *))                                 \
    X(void, topic_partition_set_leader_epoch, (rd_kafka_topic_partition_t *, int32_t))                                 \
    X(rd_kafka_topic_t *, topic_new, (rd_kafka_t *, const char *, rd_kafka_topic_conf_t *))                            \
    X(rd_kafka_topic_conf_t *, default_topic_conf_dup, (rd_kafka_t *))                                                 \
    X(void, topic_conf_set_partitioner_cb, (rd_kafka_topic_conf_t *, rdk_partitioner_cb))                              \
    X(int, topic_partition_available, (const rd_kafka_topic_t *, int32_t))                                             \
    X(int32_t, msg_partitioner_random, (const rd_kafka_topic_t *, const void *, size_t, int32_t, void *, void *))      \
    X(void, topic_destroy, (rd_kafka_topic_t *))                                                                       \
    X(void *, init_transactions, (rd_kafka_t *, int))                                                                  \
    X(void *, begin_transaction, (rd_kafka_t *))                                                                       \
    X(void *, send_offsets_to_transaction,                                                                             \
      (rd_kafka_t *, const rd_kafka_topic_partition_list_t *, const void *, int))                                      \
    X(void *, commit_transaction, (rd_kafka_t *, int))                                                                 \
    X(void *, abort_transaction, (rd_kafka_t *, int))                                                                  \
    X(void *, consumer_group_metadata, (rd_kafka_t *))                                                                 \
    X(void, consumer_group_metadata_destroy, (void *))                                                                 \
    X(int, message_status, (const rd_kafka_message_t *))                                                               \
    X(int32_t, message_broker_id, (const rd_kafka_message_t *))                                                        \
    X(int, error_code, (const void *))                                                                                 \
    X(int, error_is_fatal, (const void *))                                                                             \
    X(int, error_is_retriable, (const void *))                                                                         \
    X(int, error_txn_requires_abort, (const void *))                                                                   \
    X(int, produce_batch, (rd_kafka_topic_t *, int32_t, int, rd_kafka_message_t *, int))                               \
    X(int, producev, (rd_kafka_t *, ...))                                                                              \
    X(const char *, topic_name, (const rd_kafka_topic_t *))                                                            \
    X(int32_t, msg_partitioner_murmur2_random,                                                                         \
      (const rd_kafka_topic_t *, const void *, size_t, int32_t, void *, void *))                                       \
    X(rd_kafka_headers_t *, headers_new, (size_t))                                                                     \
    X(rd_kafka_headers_t *, headers_copy, (const rd_kafka_headers_t *))                                                \
    X(void, headers_destroy, (rd_kafka_headers_t *))                                                                   \
    X(int, header_add, (rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t))                           \
    X(int, message_headers, (const rd_kafka_message_t *, rd_kafka_headers_t **))                                       \
    X(int, message_detach_headers, (rd_kafka_message_t *, rd_kafka_headers_t **))                                      \
    X(int, header_get_all, (const rd_kafka_headers_t *, size_t, const char **, const void **, size_t *))               \
    X(void *, TopicCollection_of_topic_names, (const char **, size_t))                                                 \
    X(void, TopicCollection_destroy, (void *))                                                                         \
    X(void, DescribeTopics, (rd_kafka_t *, const void *, const void *, rd_kafka_queue_t *))                            \
    X(void *, queue_poll, (rd_kafka_queue_t *, int))                                                                   \
    X(int, event_error, (void *))                                                                                      \
    X(rd_kafka_topic_partition_list_t *, event_topic_partition_list, (void *))                                         \
    X(const void *, event_DescribeTopics_result, (void *))                                                             \
    X(const void **, DescribeTopics_result_topics, (const void *, size_t *))                                           \
    X(const void *, TopicDescription_topic_id, (const void *))                                                         \
    X(int64_t, Uuid_least_significant_bits, (const void *))                                                            \
    X(int64_t, Uuid_most_significant_bits, (const void *))                                                             \
    X(void, event_destroy, (void *))
/* clang-format on */

typedef struct {
#define X(ret, name, args) ret(*name) args;
    RDK_FUNCTIONS(X)
#undef X
} rdk_api_t;

/* What every call to librdkafka goes through: a test may put functions of its own into it. */
extern rdk_api_t rdk;

/* Bind every function out of the shared object at `path`, which must be loaded already.
 * Returns 0, or -1 with a sentence in `why`. */
int rdk_load(const char *path, char *why, size_t why_size);
