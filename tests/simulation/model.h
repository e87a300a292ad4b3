/* What both kinds of the model's clients have. */
#pragma once

#include "broker.h"
#include "rdkafka.h"
#include "world.h"

/* Memory of librdkafka, which goes with the Supervisor too. */
void *model_malloc(size_t size);
void *model_calloc(size_t count, size_t size);
char *model_strdup(const char *text);
void sim_free(void *memory);

typedef enum { OP_RECORD, OP_ERROR, OP_REBALANCE, OP_COMMITTED, OP_DELIVERED, OP_THROTTLE, OP_EVENT } op_kind_t;

typedef struct op_s {
    struct op_s *next;
    op_kind_t kind;
    rd_kafka_message_t *message; /* OP_RECORD, OP_ERROR, OP_DELIVERED (a list through `_private` of its holder) */
    int64_t version;             /* OP_RECORD: of the partition's assignment */
    int error;
    rd_kafka_topic_partition_list_t *list;
    int64_t identity; /* OP_EVENT: of a description; OP_THROTTLE: milliseconds */
} op_t;

struct rd_kafka_queue_s {
    rd_kafka_t *client;
    op_t *first, *last;
    rd_kafka_queue_t *forward;
    int references;
    int wake_fd; /* -1: nobody is told */
};

typedef struct {
    bool assigned;
    int64_t version, position, stored, committed;
    rd_kafka_queue_t *queue;
} fetch_t;

typedef struct {
    rd_kafka_message_t m;
    rd_kafka_headers_t *headers;
    int64_t version;
    int status;
    rd_kafka_t *client; /* that has to get it back */
} message_t;

void message_free(rd_kafka_message_t *m);

struct rd_kafka_conf_s {
    void *opaque;
    rdk_dr_msg_cb on_delivery;
    rdk_rebalance_cb on_rebalance;
    rdk_offset_commit_cb on_commit;
    rdk_error_cb on_error;
    rdk_throttle_cb on_throttle;
    char transactional_id[64];
    bool idempotent, auto_commit;
};

typedef struct flight_s flight_t;

struct rd_kafka_s {
    int kind;
    int64_t number; /* of all clients there ever were */
    struct rd_kafka_conf_s conf;
    rd_kafka_queue_t *main_queue, *consumer_queue;
    rd_kafka_topic_t *topics;
    int fatal;
    /* a consumer */
    char topic[32];
    fetch_t fetches[PARTITIONS_MAX];
    bool subscribed, lost, closing, closed;
    int64_t member; /* another one with each join; 0: of no group */
    enum { GROUP_IDLE, GROUP_REVOKING, GROUP_ASSIGNING } group_state;
    uint32_t target;
    /* a producer */
    flight_t *first, *last; /* what is not reported, in order */
    int64_t outstanding;    /* likewise, and what was reported and not served yet */
    enum { TXN_NONE, TXN_READY, TXN_OPEN, TXN_FAILED } transaction;
    int transaction_error;
    int64_t producer; /* its number in transactions; 0: none */
    int64_t began_ns;
    int64_t silent_until_ns; /* a quota's, as far as the client was told */
    int64_t messages;        /* a consumer's, that were taken and not given back */
};

/* What a consumer knows of its group, handed over with the offsets of a transaction. */
typedef struct {
    int64_t member, generation;
} group_metadata_t;

/* The client of this number, NULL if it is gone. */
rd_kafka_t *client_numbered(int64_t number);
void *number_as_subject(int64_t number);

void queue_put(rd_kafka_queue_t *queue, op_t *op);
op_t *queue_take(rd_kafka_queue_t *queue);
op_t *op_new(op_kind_t kind);
void op_free(op_t *op);
rd_kafka_queue_t *queue_make(rd_kafka_t *client);
void queue_let_go(rd_kafka_queue_t *queue);

void *error_new(int code, bool fatal, bool retriable, bool abort);
void must_hold_no_lock(const char *call);
/* How long an answer of a broker takes. */
int64_t latency_ns(void);

void consumer_begin(rd_kafka_t *client);
void consumer_end(rd_kafka_t *client);
void producer_begin(rd_kafka_t *client);
void producer_end(rd_kafka_t *client);
void consumer_table(rdk_api_t *api);
void producer_table(rdk_api_t *api);
void producer_killed(rd_kafka_t *client);
/* A member that went without a goodbye: the group misses it after a while. */
void group_misses(int64_t member);

rd_kafka_topic_partition_list_t *list_new(int size);
rd_kafka_topic_partition_t *list_add(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t partition);
rd_kafka_topic_partition_list_t *list_copy(const rd_kafka_topic_partition_list_t *list);
void list_destroy(rd_kafka_topic_partition_list_t *list);
void headers_free(rd_kafka_headers_t *headers);

extern bool calm;
