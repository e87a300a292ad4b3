/* The producer of the model of librdkafka: requests of one partition after another, refusals, transactions. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "pipes.h"

enum {
    REQUEST_RECORDS = 10000,
    QUEUE_RECORDS = 3000,
    TRANSACTION_TIMEOUT_S = 10,
    ERR_STATE = -172,
    ERR_TIMED_OUT = -192
};

struct rd_kafka_topic_s {
    rd_kafka_t *client;
    topic_t *topic;
    rdk_partitioner_cb partitioner;
    rd_kafka_topic_t *next;
    bool asked[PARTITIONS_MAX]; /* a request is under way, or about to be */
    int references;
};

struct rd_kafka_topic_conf_s {
    rdk_partitioner_cb partitioner;
};

typedef struct {
    const char *name;
    char value[120];
} header_t;

struct rd_kafka_headers_s {
    size_t count;
    header_t headers[16];
};

/* A record that was handed over and whose report was not served. */
struct flight_s {
    flight_t *next;
    message_t message;
    rd_kafka_topic_t *topic;
    int32_t partition;
    int64_t since_ns;
    bool sent; /* in the request under way */
    bool reported;
    bool applied; /* it is in the log, and its answer was lost: it is not written again */
};

/* ---- topics */

static rd_kafka_topic_t *table_topic_new(rd_kafka_t *client, const char *name, rd_kafka_topic_conf_t *conf) {
    rd_kafka_topic_t *topic = model_calloc(1, sizeof *topic);
    topic->client = client;
    topic->topic = topic_named(name);
    topic->partitioner = conf != NULL ? conf->partitioner : NULL;
    topic->references = 1;
    sim_free(conf);
    return topic;
}

static void topic_let_go(rd_kafka_topic_t *topic) {
    if (--topic->references == 0)
        sim_free(topic);
}

static rd_kafka_topic_conf_t *table_topic_conf(rd_kafka_t *client) {
    (void)client;
    return model_calloc(1, sizeof(rd_kafka_topic_conf_t));
}

static void table_topic_conf_partitioner(rd_kafka_topic_conf_t *conf, rdk_partitioner_cb partitioner) {
    conf->partitioner = partitioner;
}

static const char *table_topic_name(const rd_kafka_topic_t *topic) { return topic->topic->name; }

static int table_partition_available(const rd_kafka_topic_t *topic, int32_t partition) {
    return partition < topic->topic->partitions && !one_in(20);
}

static int32_t table_partitioner(const rd_kafka_topic_t *topic, const void *key, size_t size, int32_t count,
                                 void *opaque, void *message_opaque) {
    (void)topic, (void)key, (void)size, (void)opaque, (void)message_opaque;
    return (int32_t)chance((uint64_t)count);
}

/* ---- headers */

static rd_kafka_headers_t *table_headers_new(size_t count) {
    (void)count;
    return model_calloc(1, sizeof(rd_kafka_headers_t));
}

static rd_kafka_headers_t *table_headers_copy(const rd_kafka_headers_t *headers) {
    rd_kafka_headers_t *copy = model_malloc(sizeof *copy);
    *copy = *headers;
    return copy;
}

void headers_free(rd_kafka_headers_t *headers) { sim_free(headers); }

static int table_header_add(rd_kafka_headers_t *headers, const char *name, ssize_t name_size, const void *value,
                            ssize_t size) {
    header_t *header = &headers->headers[headers->count++];
    (void)name_size;
    header->name = name;
    snprintf(header->value, sizeof header->value, "%.*s", size < 0 ? 119 : (int)size, (const char *)value);
    return 0;
}

/* ---- reports */

#define THE_BROKER 1

static void report(rd_kafka_t *client, flight_t *flight, int error, int status) {
    op_t *op = op_new(OP_DELIVERED);
    flight->reported = true;
    flight->message.m.err = error;
    flight->message.m.partition = flight->partition;
    flight->message.status = status;
    op->list = NULL;
    op->identity = (int64_t)(uintptr_t)flight;
    queue_put(client->main_queue, op);
}

/* A quota: told before the reports of the request that it is an answer to. */
static void throttle(rd_kafka_t *client) {
    op_t *op = op_new(OP_THROTTLE);
    op->list = NULL;
    op->identity = spread(1, 1500);
    queue_put(client->main_queue, op);
}

static void flight_end(rd_kafka_t *client, flight_t *flight) {
    flight_t **at = &client->first, *before = NULL;
    while (*at != flight) {
        before = *at;
        at = &(*at)->next;
    }
    *at = flight->next;
    if (client->last == flight)
        client->last = before;
    client->outstanding--;
    topic_let_go(flight->topic);
    headers_free(flight->message.headers);
    sim_free(flight->message.m.key);
    sim_free(flight);
}

static int table_poll(rd_kafka_t *client, int timeout_ms) {
    int served = 0;
    (void)timeout_ms;
    world_switch();
    for (op_t *op; (op = queue_take(client->main_queue)) != NULL; served++) {
        if (op->kind == OP_THROTTLE) {
            const int ms = (int)op->identity;
            op_free(op);
            client->silent_until_ns = world_now_ns() + ms * MILLISECOND;
            client->conf.on_throttle(client, "model", THE_BROKER, ms, client->conf.opaque);
            continue;
        }
        flight_t *flight = (flight_t *)(uintptr_t)op->identity;
        op_free(op);
        client->conf.on_delivery(client, &flight->message.m, client->conf.opaque);
        flight_end(client, flight);
    }
    return served;
}

static int32_t table_message_broker_id(const rd_kafka_message_t *m) {
    (void)m;
    return THE_BROKER;
}

static int table_outq_len(rd_kafka_t *client) { return (int)client->outstanding; }

/* ---- requests */

static bool transactional(const rd_kafka_t *client) { return client->conf.transactional_id[0] != 0; }

static void answer(void *subject);

typedef struct {
    int64_t number;
    rd_kafka_topic_t *topic;
    int32_t partition;
} request_t;

static void fail_transaction(rd_kafka_t *client, int code) {
    if (client->transaction == TXN_OPEN) {
        client->transaction = TXN_FAILED;
        client->transaction_error = code;
    }
}

static void request_end(request_t *request) {
    topic_let_go(request->topic);
    sim_free(request);
}

/* What waits for a partition goes, when the request before it is answered. */
static void send(void *subject) {
    request_t *request = subject;
    rd_kafka_t *client = client_numbered(request->number);
    int count = 0;
    if (client == NULL || client->fatal != 0) {
        request_end(request);
        return;
    }
    for (flight_t *f = client->first; f != NULL && count < REQUEST_RECORDS; f = f->next)
        if (f->topic == request->topic && f->partition == request->partition && !f->reported) {
            if (transactional(client) && world_now_ns() > f->since_ns + TRANSACTION_TIMEOUT_S * SECOND) {
                fail_transaction(client, ERR_TIMED_OUT); /* message.timeout.ms is the transaction's */
                report(client, f, ERR_TIMED_OUT, f->applied);
                continue;
            }
            f->sent = true;
            count++;
        }
    if (count == 0) {
        request->topic->asked[request->partition] = false;
        request_end(request);
        return;
    }
    world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), answer, request);
}

static void ask(rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition) {
    if (topic->asked[partition])
        return;
    topic->asked[partition] = true;
    topic->references++;
    request_t *request = model_malloc(sizeof *request);
    *request = (request_t){client->number, topic, partition};
    world_at(OF_SUPERVISOR, world_now_ns() + spread(MILLISECOND / 2, 2 * MILLISECOND), send, request);
}

static void apply(rd_kafka_t *client, flight_t *f) {
    if (!f->applied)
        log_append(f->topic->topic, f->partition, f->message.m.payload, f->message.m.len,
                   transactional(client) ? client->producer : 0);
    f->applied = true;
}

static void answer(void *subject) {
    request_t *request = subject;
    rd_kafka_t *client = client_numbered(request->number);
    if (client == NULL) {
        request_end(request);
        return;
    }
    enum { WELL, AGAIN, ANSWER_LOST, REFUSED, TOO_LARGE, FATAL } outcome = WELL;
    if (trouble())
        outcome = one_in(20) ? FATAL : one_in(3) ? ANSWER_LOST : AGAIN;
    if (client->fatal != 0) { /* what it has is purged */
        request_end(request);
        return;
    }
    if (transactional(client) && client->transaction != TXN_OPEN)
        outcome = AGAIN; /* it is not sent any more, and is purged by the abort */
    if (outcome == FATAL && !client->conf.idempotent)
        outcome = AGAIN;
    if (outcome == FATAL && transactional(client)) {
        fail_transaction(client, 47);
        outcome = REFUSED;
    }
    if (outcome == FATAL) {
        client->fatal = 45;
        world_say("the producer meets a fatal error");
        request_end(request);
        return;
    }
    if (outcome == WELL && trouble())
        throttle(client);
    bool retries = client->conf.idempotent;
    int status = outcome == ANSWER_LOST ? 1 : (int)chance(2); /* possibly persisted; of a request as a whole */
    for (const flight_t *f = client->first; f != NULL && outcome == WELL; f = f->next)
        if (f->topic == request->topic && f->partition == request->partition && f->sent && !f->reported &&
            !f->applied && broker.max_record_bytes > 0 && f->message.m.len > broker.max_record_bytes)
            outcome = TOO_LARGE; /* all of it, for one of them */
    if (outcome == TOO_LARGE)
        fail_transaction(client, RDK_ERR_MSG_SIZE_TOO_LARGE);
    for (flight_t *f = client->first; f != NULL; f = f->next) {
        if (f->topic != request->topic || f->partition != request->partition || !f->sent || f->reported)
            continue;
        f->sent = false;
        if (outcome == WELL || outcome == ANSWER_LOST)
            apply(client, f);
        if (outcome == WELL)
            report(client, f, 0, 2);
        else if (outcome == REFUSED)
            report(client, f, 47, 0);
        else if (outcome == TOO_LARGE)
            report(client, f, RDK_ERR_MSG_SIZE_TOO_LARGE, 0);
        else if (!retries)
            report(client, f, RDK_ERR__TIMED_OUT, status);
    }
    world_at(OF_SUPERVISOR, world_now_ns() + (outcome == WELL ? 0 : 100 * MILLISECOND), send, request);
}

static int refuses(rd_kafka_t *client) {
    if (client->fatal != 0)
        return RDK_ERR__FATAL;
    if (transactional(client) && client->transaction != TXN_OPEN)
        return ERR_STATE;
    return client->outstanding >= QUEUE_RECORDS || one_in(500) ? RDK_ERR__QUEUE_FULL : 0;
}

static void take_over(rd_kafka_topic_t *topic, int32_t partition, const rd_kafka_message_t *m,
                      rd_kafka_headers_t *headers) {
    rd_kafka_t *client = topic->client;
    flight_t *flight = model_calloc(1, sizeof *flight);
    flight->message.m = *m;
    flight->message.headers = headers;
    flight->message.m.key = NULL;
    if (m->key != NULL) {
        flight->message.m.key = model_malloc(m->key_len + 1);
        memcpy(flight->message.m.key, m->key, m->key_len);
    }
    flight->since_ns = world_now_ns();
    flight->topic = topic;
    flight->partition = partition;
    topic->references++;
    if (client->last != NULL)
        client->last->next = flight;
    else
        client->first = flight;
    client->last = flight;
    client->outstanding++;
    ask(client, topic, partition);
}

static int32_t choose(rd_kafka_topic_t *topic, const void *key, size_t size) {
    int32_t count = topic->topic->partitions;
    return (topic->partitioner ? topic->partitioner : table_partitioner)(topic, key, size, count, NULL, NULL);
}

static int table_produce_batch(rd_kafka_topic_t *topic, int32_t partition, int flags, rd_kafka_message_t *messages,
                               int count) {
    int taken = 0;
    (void)flags;
    world_switch();
    if (world_now_ns() < topic->client->silent_until_ns)
        world_fail("lines are handed to a broker that asked for silence");
    for (int i = 0; i < count; i++) {
        messages[i].err = refuses(topic->client);
        if (messages[i].err == RDK_ERR__QUEUE_FULL && i > 0 && messages[i - 1].err == 0 && !one_in(2))
            messages[i].err = 0;
        if (messages[i].err != 0) {
            for (int next = i + 1; next < count; next++) /* none overtakes it */
                messages[next].err = messages[i].err;
            break;
        }
        int32_t to = partition >= 0 ? partition : choose(topic, messages[i].key, messages[i].key_len);
        messages[i].partition = to;
        take_over(topic, to, &messages[i], NULL);
        taken++;
    }
    return taken;
}

static int table_producev(rd_kafka_t *client, ...) {
    rd_kafka_topic_t *topic = NULL;
    rd_kafka_message_t m = {0};
    rd_kafka_headers_t *headers = NULL;
    va_list arguments;
    world_switch();
    va_start(arguments, client);
    for (int tag; (tag = va_arg(arguments, int)) != RDK_V_END;)
        switch (tag) {
        case RDK_V_RKT:
            topic = va_arg(arguments, rd_kafka_topic_t *);
            break;
        case RDK_V_PARTITION:
            (void)va_arg(arguments, int);
            break;
        case RDK_V_VALUE:
            m.payload = va_arg(arguments, void *);
            m.len = va_arg(arguments, size_t);
            break;
        case RDK_V_KEY:
            m.key = va_arg(arguments, void *);
            m.key_len = va_arg(arguments, size_t);
            break;
        case RDK_V_OPAQUE:
            m._private = va_arg(arguments, void *);
            break;
        case RDK_V_HEADERS:
            headers = va_arg(arguments, rd_kafka_headers_t *);
            break;
        default:
            world_fail("producev with tag %d", tag);
        }
    va_end(arguments);
    int error = refuses(client);
    if (error == 0)
        take_over(topic, 0, &m, headers);
    return error;
}

static int table_purge(rd_kafka_t *client, int flags) {
    world_switch();
    if (!(flags & RDK_PURGE_NON_BLOCKING))
        must_hold_no_lock("purge");
    for (flight_t *f = client->first; f != NULL; f = f->next)
        if (!f->reported && (!f->sent || (flags & 2)))
            report(client, f, f->sent ? RDK_ERR__PURGE_INFLIGHT : RDK_ERR__PURGE_QUEUE, f->sent ? 1 : 0);
    return 0;
}

/* ---- transactions */

static int64_t producers;

static void timed_out(void *subject) {
    if (transaction_end((int64_t)(uintptr_t)subject, false))
        world_say("the transaction of producer %lld timed out", (long long)(uintptr_t)subject);
}

/* Its number is another one with each transaction, so that what timed out does not come into the next one. */
static void open_transaction(rd_kafka_t *client) {
    client->producer = ++producers;
    client->began_ns = world_now_ns();
    world_at(OF_BROKERS, world_now_ns() + TRANSACTION_TIMEOUT_S * SECOND, timed_out,
             number_as_subject(client->producer));
}

static void *table_init(rd_kafka_t *client, int timeout_ms) {
    must_hold_no_lock("init_transactions");
    world_sleep(trouble() ? timeout_ms * MILLISECOND : latency_ns());
    if (trouble())
        return error_new(RDK_ERR__TIMED_OUT, false, true, false);
    client->transaction = TXN_READY;
    return NULL;
}

static void *abortable(rd_kafka_t *client) { return error_new(client->transaction_error, false, false, true); }

static void *table_begin(rd_kafka_t *client) {
    must_hold_no_lock("begin_transaction");
    world_switch();
    if (client->fatal != 0)
        return error_new(client->fatal, true, false, false);
    if (client->transaction == TXN_FAILED)
        return abortable(client);
    if (client->transaction != TXN_READY)
        return error_new(ERR_STATE, false, false, false);
    client->transaction = TXN_OPEN;
    open_transaction(client);
    return NULL;
}

static bool is_over_time(const rd_kafka_t *client) {
    return world_now_ns() >= client->began_ns + TRANSACTION_TIMEOUT_S * SECOND;
}

static void *table_send_offsets(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets,
                                const void *metadata, int timeout_ms) {
    const group_metadata_t *of = metadata;
    must_hold_no_lock("send_offsets_to_transaction");
    world_sleep(trouble() ? timeout_ms * MILLISECOND : latency_ns());
    if (client->transaction != TXN_OPEN)
        return client->transaction == TXN_FAILED ? abortable(client) : error_new(ERR_STATE, false, false, false);
    if (trouble())
        return error_new(RDK_ERR__TIMED_OUT, false, true, false);
    if (is_over_time(client) || trouble()) {
        fail_transaction(client, 47);
        return abortable(client);
    }
    for (int i = 0; i < offsets->cnt; i++)
        if (!group_commit_in_transaction(of->member, of->generation, client->producer, offsets->elems[i].partition,
                                         offsets->elems[i].offset)) {
            fail_transaction(client, 22);
            return abortable(client);
        }
    return NULL;
}

static void *table_commit_transaction(rd_kafka_t *client, int timeout_ms) {
    must_hold_no_lock("commit_transaction");
    if (client->outstanding > 0)
        world_fail("a transaction is committed with %lld records under way", (long long)client->outstanding);
    if (client->transaction != TXN_OPEN)
        return client->transaction == TXN_FAILED ? abortable(client) : error_new(ERR_STATE, false, false, false);
    world_sleep(trouble() ? timeout_ms * MILLISECOND : latency_ns());
    /* Out of time it was aborted by the brokers; a commit that got there first is one, whether that is known or not. */
    bool decided = client->producer < 0;
    if (!decided && is_over_time(client)) {
        fail_transaction(client, 47);
        return abortable(client);
    }
    if (!decided && trouble() && one_in(2))
        return error_new(RDK_ERR__TIMED_OUT, false, true, false);
    if (!decided && trouble()) {
        fail_transaction(client, 48);
        return abortable(client);
    }
    if (!decided) {
        transaction_end(client->producer, true);
        client->producer = -client->producer;
    }
    if (trouble())
        return error_new(RDK_ERR__TIMED_OUT, false, true, false); /* and asked again the answer is the same */
    client->producer = 0;
    client->transaction = TXN_READY;
    return NULL;
}

static void *table_abort(rd_kafka_t *client, int timeout_ms) {
    must_hold_no_lock("abort_transaction");
    if (client->transaction == TXN_READY)
        return NULL;
    for (flight_t *f = client->first; f != NULL; f = f->next)
        if (!f->reported)
            report(client, f, RDK_ERR__PURGE_QUEUE, 0);
    table_poll(client, 0);
    world_sleep(trouble() ? timeout_ms * MILLISECOND : latency_ns());
    if (trouble())
        return error_new(RDK_ERR__TIMED_OUT, false, true, false);
    transaction_end(client->producer, false);
    client->producer = 0;
    client->transaction = TXN_READY;
    return NULL;
}

static int table_message_status(const rd_kafka_message_t *m) { return ((const message_t *)m)->status; }

/* What is sent gets there or not, a request as a whole; its memory goes with the Supervisor. */
void producer_killed(rd_kafka_t *client) {
    uint64_t arrives = chance(256); /* of each topic and partition */
    for (flight_t *f = client->first; f != NULL; f = f->next) {
        unsigned request = (unsigned)f->partition + (f->topic->topic == &topic_out ? 0 : PARTITIONS_MAX);
        if (f->sent && !f->reported && (arrives >> request & 1) &&
            (!transactional(client) || client->transaction == TXN_OPEN))
            apply(client, f);
    }
}

void producer_begin(rd_kafka_t *client) { client->consumer_queue = NULL; }

void producer_end(rd_kafka_t *client) {
    while (client->first != NULL)
        flight_end(client, client->first);
}

void producer_table(rdk_api_t *api) {

    api->topic_new = table_topic_new;
    api->topic_destroy = topic_let_go;
    api->topic_name = table_topic_name;
    api->default_topic_conf_dup = table_topic_conf;
    api->topic_conf_set_partitioner_cb = table_topic_conf_partitioner;
    api->topic_partition_available = table_partition_available;
    api->msg_partitioner_random = table_partitioner;
    api->msg_partitioner_murmur2_random = table_partitioner;
    api->headers_new = table_headers_new;
    api->headers_copy = table_headers_copy;
    api->headers_destroy = headers_free;
    api->header_add = table_header_add;
    api->poll = table_poll;
    api->outq_len = table_outq_len;
    api->purge = table_purge;
    api->produce_batch = table_produce_batch;
    api->producev = table_producev;
    api->message_status = table_message_status;
    api->message_broker_id = table_message_broker_id;
    api->init_transactions = table_init;
    api->begin_transaction = table_begin;
    api->send_offsets_to_transaction = table_send_offsets;
    api->commit_transaction = table_commit_transaction;
    api->abort_transaction = table_abort;
}
