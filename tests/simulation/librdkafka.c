#include "librdkafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "pipes.h"

rdk_api_t rdk;

enum { CLIENTS_MAX = 16 };

static rd_kafka_t *clients[CLIENTS_MAX];
static int64_t client_number;
bool calm;

rd_kafka_t *client_numbered(int64_t number) {
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (clients[i] != NULL && clients[i]->number == number)
            return clients[i];
    return NULL;
}

void *number_as_subject(int64_t number) { return (void *)(uintptr_t)number; }

int64_t latency_ns(void) { return spread(200 * MICROSECOND, one_in(50) ? 2 * SECOND : 20 * MILLISECOND); }

void must_hold_no_lock(const char *call) {
    if (fiber_now() != NULL && *fiber_locks(fiber_now()) > 0)
        world_fail("a lock is held over %s, which waits", call);
}

/* ---- queues */

op_t *op_new(op_kind_t kind) {
    op_t *op = model_calloc(1, sizeof *op);
    op->kind = kind;
    return op;
}

void op_free(op_t *op) {
    if (op->list != NULL)
        list_destroy(op->list);
    sim_free(op);
}

rd_kafka_queue_t *queue_make(rd_kafka_t *client) {
    rd_kafka_queue_t *queue = model_calloc(1, sizeof *queue);
    queue->client = client;
    queue->references = 1;
    queue->wake_fd = -1;
    return queue;
}

void message_free(rd_kafka_message_t *m) {
    headers_free(((message_t *)m)->headers);
    sim_free(m);
}

void queue_let_go(rd_kafka_queue_t *queue) {
    if (--queue->references > 0)
        return;
    for (op_t *op = queue->first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->message != NULL)
            message_free(op->message);
        op_free(op);
    }
    sim_free(queue);
}

void queue_put(rd_kafka_queue_t *queue, op_t *op) {
    while (queue->forward != NULL)
        queue = queue->forward;
    bool was_empty = queue->first == NULL;
    op->next = NULL;
    if (was_empty)
        queue->first = op;
    else
        queue->last->next = op;
    queue->last = op;
    if (was_empty && queue->wake_fd >= 0)
        event_signal(queue->wake_fd);
}

op_t *queue_take(rd_kafka_queue_t *queue) {
    op_t *op = queue->first;
    if (op != NULL)
        queue->first = op->next;
    return op;
}

static void table_queue_io_event_enable(rd_kafka_queue_t *queue, int fd, const void *payload, size_t size) {
    (void)payload;
    (void)size;
    queue->wake_fd = fd;
    if (fd >= 0 && queue->first != NULL)
        event_signal(fd);
}

static void table_queue_forward(rd_kafka_queue_t *from, rd_kafka_queue_t *to) {
    from->forward = to;
    for (op_t *op; to != NULL && (op = queue_take(from)) != NULL;)
        queue_put(to, op);
}

static rd_kafka_queue_t *table_queue_new(rd_kafka_t *client) { return queue_make(client); }

static rd_kafka_queue_t *table_queue_get_main(rd_kafka_t *client) {
    client->main_queue->references++;
    return client->main_queue;
}

/* ---- lists of partitions */

rd_kafka_topic_partition_list_t *list_new(int size) {
    rd_kafka_topic_partition_list_t *list = model_calloc(1, sizeof *list);
    list->size = size > PARTITIONS_MAX ? size : PARTITIONS_MAX;
    list->elems = model_calloc((size_t)list->size, sizeof *list->elems);
    return list;
}

rd_kafka_topic_partition_t *list_add(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t partition) {
    if (list->cnt == list->size) {
        rd_kafka_topic_partition_t *grown = model_calloc((size_t)list->size * 2, sizeof *grown);
        memcpy(grown, list->elems, (size_t)list->cnt * sizeof *grown);
        sim_free(list->elems);
        list->elems = grown;
        list->size *= 2;
    }
    rd_kafka_topic_partition_t *added = &list->elems[list->cnt++];
    *added = (rd_kafka_topic_partition_t){.topic = model_strdup(topic), .partition = partition, .offset = -1001};
    return added;
}

rd_kafka_topic_partition_list_t *list_copy(const rd_kafka_topic_partition_list_t *list) {
    rd_kafka_topic_partition_list_t *copy = list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *from = &list->elems[i];
        rd_kafka_topic_partition_t *to = list_add(copy, from->topic, from->partition);
        to->offset = from->offset;
        to->err = from->err;
        if (from->metadata != NULL) {
            to->metadata = model_malloc(from->metadata_size);
            memcpy(to->metadata, from->metadata, from->metadata_size);
            to->metadata_size = from->metadata_size;
        }
    }
    return copy;
}

static void element_free(rd_kafka_topic_partition_t *element) {
    sim_free(element->topic);
    sim_free(element->metadata);
}

void list_destroy(rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++)
        element_free(&list->elems[i]);
    sim_free(list->elems);
    sim_free(list);
}

static int table_list_del(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t partition) {
    (void)topic;
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].partition == partition) {
            element_free(&list->elems[i]);
            memmove(&list->elems[i], &list->elems[i + 1], (size_t)(--list->cnt - i) * sizeof *list->elems);
            return 1;
        }
    return 0;
}

static int32_t table_get_leader_epoch(const rd_kafka_topic_partition_t *partition) {
    (void)partition;
    return -1;
}

static void table_set_leader_epoch(rd_kafka_topic_partition_t *partition, int32_t epoch) {
    (void)partition;
    (void)epoch;
}

/* ---- errors */

typedef struct {
    int code;
    bool fatal, retriable, abort;
} error_t;

void *error_new(int code, bool fatal, bool retriable, bool abort) {
    error_t *error = model_malloc(sizeof *error);
    *error = (error_t){code, fatal, retriable, abort};
    return error;
}

static void table_error_destroy(void *error) { sim_free(error); }
static const char *table_error_string(const void *error) {
    (void)error;
    return "an error of the model";
}
static int table_error_code(const void *error) { return ((const error_t *)error)->code; }
static int table_error_is_fatal(const void *error) { return error != NULL && ((const error_t *)error)->fatal; }
static int table_error_is_retriable(const void *error) { return error != NULL && ((const error_t *)error)->retriable; }
static int table_error_abort(const void *error) { return error != NULL && ((const error_t *)error)->abort; }

static const char *table_err2str(int code) {
    static char text[40];
    snprintf(text, sizeof text, "error %d", code);
    return text;
}

static int table_fatal_error(rd_kafka_t *client, char *why, size_t size) {
    if (client->fatal != 0)
        snprintf(why, size, "fatal");
    return client->fatal;
}

/* ---- configuration and clients */

static rd_kafka_conf_t *table_conf_new(void) { return model_calloc(1, sizeof(rd_kafka_conf_t)); }
static void table_conf_destroy(rd_kafka_conf_t *conf) { sim_free(conf); }

static int table_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *why, size_t size) {
    (void)why;
    (void)size;
    if (strcmp(name, "transactional.id") == 0)
        snprintf(conf->transactional_id, sizeof conf->transactional_id, "%s", value);
    conf->idempotent |= strcmp(name, "enable.idempotence") == 0 && strcmp(value, "true") == 0;
    conf->auto_commit |= strcmp(name, "enable.auto.commit") == 0 && strcmp(value, "true") == 0;
    return 0;
}

static void table_conf_set_opaque(rd_kafka_conf_t *conf, void *opaque) { conf->opaque = opaque; }
static void table_conf_on_delivery(rd_kafka_conf_t *conf, rdk_dr_msg_cb call) { conf->on_delivery = call; }
static void table_conf_on_rebalance(rd_kafka_conf_t *conf, rdk_rebalance_cb call) { conf->on_rebalance = call; }
static void table_conf_on_commit(rd_kafka_conf_t *conf, rdk_offset_commit_cb call) { conf->on_commit = call; }
static void table_conf_on_error(rd_kafka_conf_t *conf, rdk_error_cb call) { conf->on_error = call; }
static void table_conf_on_stats(rd_kafka_conf_t *conf, rdk_stats_cb call) { (void)conf, (void)call; }
static void table_conf_on_throttle(rd_kafka_conf_t *conf, rdk_throttle_cb call) { conf->on_throttle = call; }
static void table_conf_on_log(rd_kafka_conf_t *conf, rdk_log_cb call) { (void)conf, (void)call; }

static rd_kafka_t *table_new(int kind, rd_kafka_conf_t *conf, char *why, size_t size) {
    (void)why;
    (void)size;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (clients[i] == NULL) {
            rd_kafka_t *client = clients[i] = model_calloc(1, sizeof *client);
            client->kind = kind;
            client->number = ++client_number;
            client->conf = *conf;
            sim_free(conf);
            client->main_queue = queue_make(client);
            (kind == RDK_CONSUMER ? consumer_begin : producer_begin)(client);
            return client;
        }
    world_fail("too many clients");
}

static void table_destroy_flags(rd_kafka_t *client, int flags) {
    (void)flags;
    must_hold_no_lock("destroy");
    if (one_in(2))
        world_sleep(spread(0, 200 * MILLISECOND)); /* its threads */
    (client->kind == RDK_CONSUMER ? consumer_end : producer_end)(client);
    queue_let_go(client->main_queue);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (clients[i] == client)
            clients[i] = NULL;
    sim_free(client);
}

static void *table_opaque(const rd_kafka_t *client) { return client->conf.opaque; }
static const char *table_version_str(void) { return "model"; }
static int table_version(void) { return 0x02100000; }

static void table_message_destroy(rd_kafka_message_t *m) {
    world_switch();
    ((message_t *)m)->client->messages--;
    message_free(m);
}

void librdkafka_begin(void) {
    memset(clients, 0, sizeof clients);
    calm = false;
    rdk = (rdk_api_t){
        .version_str = table_version_str,
        .version = table_version,
        .err2str = table_err2str,
        .err2name = table_err2str,
        .conf_new = table_conf_new,
        .conf_destroy = table_conf_destroy,
        .conf_set = table_conf_set,
        .conf_set_opaque = table_conf_set_opaque,
        .conf_set_dr_msg_cb = table_conf_on_delivery,
        .conf_set_rebalance_cb = table_conf_on_rebalance,
        .conf_set_offset_commit_cb = table_conf_on_commit,
        .conf_set_error_cb = table_conf_on_error,
        .conf_set_throttle_cb = table_conf_on_throttle,
        .conf_set_stats_cb = table_conf_on_stats,
        .conf_set_log_cb = table_conf_on_log,
        .new = table_new,
        .destroy_flags = table_destroy_flags,
        .opaque = table_opaque,
        .fatal_error = table_fatal_error,
        .queue_new = table_queue_new,
        .queue_get_main = table_queue_get_main,
        .queue_forward = table_queue_forward,
        .queue_destroy = queue_let_go,
        .queue_io_event_enable = table_queue_io_event_enable,
        .message_destroy = table_message_destroy,
        .error_destroy = table_error_destroy,
        .error_string = table_error_string,
        .error_code = table_error_code,
        .error_is_fatal = table_error_is_fatal,
        .error_is_retriable = table_error_is_retriable,
        .error_txn_requires_abort = table_error_abort,
        .topic_partition_list_new = list_new,
        .topic_partition_list_copy = list_copy,
        .topic_partition_list_destroy = list_destroy,
        .topic_partition_list_add = list_add,
        .topic_partition_list_del = table_list_del,
        .topic_partition_get_leader_epoch = table_get_leader_epoch,
        .topic_partition_set_leader_epoch = table_set_leader_epoch,
    };
    consumer_table(&rdk);
    producer_table(&rdk);
}

void librdkafka_killed(void) {
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (clients[i] != NULL && clients[i]->kind == RDK_PRODUCER)
            producer_killed(clients[i]);
        else if (clients[i] != NULL)
            group_misses(clients[i]->member);
    memset(clients, 0, sizeof clients);
}

void librdkafka_calm(void) { calm = true; }
