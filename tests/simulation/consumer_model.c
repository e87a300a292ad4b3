/* The consumer of the model of librdkafka: fetching, the group, commits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "pipes.h"

enum { AUTO_COMMIT_MS = 1000, FETCHED_AHEAD = 500 };

static const uint32_t NONE_OWNED = 0;

static uint32_t all_partitions(void) { return (1U << topic_in.partitions) - 1; }

/* ---- fetching */

static int64_t queued(const rd_kafka_queue_t *queue) {
    int64_t count = 0;
    while (queue->forward != NULL)
        queue = queue->forward;
    for (const op_t *op = queue->first; op != NULL && count < FETCHED_AHEAD; op = op->next)
        count++;
    return count;
}

static void fetch_partition(rd_kafka_t *client, int partition, int64_t count) {
    fetch_t *fetch = &client->fetches[partition];
    const log_t *log = &topic_in.logs[partition];
    for (; count > 0 && fetch->position < log->count; fetch->position++) {
        const record_t *record = &log->records[fetch->position];
        if (record->control)
            continue;
        message_t *message = model_calloc(1, sizeof *message + record->size + 1);
        message->version = fetch->version;
        message->client = client;
        message->m.partition = partition;
        message->m.offset = fetch->position;
        message->m.len = record->size;
        if (record->value != NULL) {
            message->m.payload = message + 1;
            memcpy(message->m.payload, record->value, record->size);
        }
        op_t *op = op_new(OP_RECORD);
        op->message = &message->m;
        op->version = fetch->version;
        queue_put(fetch->queue, op);
        count--;
    }
}

static void fetch_some(void *subject) {
    rd_kafka_t *client = client_numbered((int64_t)(uintptr_t)subject);
    if (client == NULL)
        return;
    for (int p = 0; p < topic_in.partitions; p++)
        if (client->fetches[p].assigned && queued(client->fetches[p].queue) < FETCHED_AHEAD && one_in(2))
            fetch_partition(client, p, spread(1, 200));
    world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), fetch_some, subject);
}

/* What a partition that was given up had ahead is thrown away when it is come upon. */
static bool is_outdated(rd_kafka_t *client, const op_t *op) {
    const fetch_t *fetch = &client->fetches[op->message->partition];
    return op->kind == OP_RECORD && (!fetch->assigned || fetch->version != op->version);
}

static void serve(rd_kafka_t *client, op_t *op) {
    rd_kafka_topic_partition_list_t *list = op->list;
    if (op->kind == OP_REBALANCE)
        client->conf.on_rebalance(client, op->error, list, client->conf.opaque);
    else if (op->kind == OP_COMMITTED && client->conf.on_commit != NULL)
        client->conf.on_commit(client, op->error, list, client->conf.opaque);
    op_free(op);
}

static ssize_t table_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms, rd_kafka_message_t **taken,
                                         size_t size) {
    size_t count = 0;
    (void)timeout_ms;
    world_switch();
    for (op_t *op; count < size && (op = queue_take(queue)) != NULL;) {
        if (op->kind == OP_RECORD || op->kind == OP_ERROR) {
            if (is_outdated(queue->client, op))
                message_free(op->message);
            else
                taken[count++] = op->message, queue->client->messages++;
            op_free(op);
        } else {
            serve(queue->client, op);
        }
        if (one_in(50))
            break; /* no more than it feels like */
    }
    return (ssize_t)count;
}

static rd_kafka_message_t *table_consumer_poll(rd_kafka_t *client, int timeout_ms) {
    (void)timeout_ms;
    world_switch();
    for (op_t *op; (op = queue_take(client->consumer_queue)) != NULL;) {
        if (op->kind != OP_RECORD && op->kind != OP_ERROR) {
            serve(client, op);
            continue;
        }
        rd_kafka_message_t *m = op->message;
        bool outdated = is_outdated(client, op);
        op_free(op);
        if (!outdated) {
            client->messages++;
            return m;
        }
        message_free(m);
    }
    return NULL;
}

/* ---- the group */

static void rebalance(rd_kafka_t *client, int event, uint32_t partitions) {
    group.generation++;
    op_t *op = op_new(OP_REBALANCE);
    op->error = event;
    op->list = list_new(PARTITIONS_MAX);
    for (int p = 0; p < topic_in.partitions; p++)
        if (partitions >> p & 1)
            list_add(op->list, client->topic, p);
    queue_put(client->consumer_queue, op);
}

static uint32_t owned_by(const rd_kafka_t *client) {
    return group.member != 0 && group.member == client->member ? group.owned : NONE_OWNED;
}

static void assign_target(rd_kafka_t *client) {
    uint32_t more = client->target & ~owned_by(client);
    client->group_state = GROUP_ASSIGNING;
    group.owned |= more;
    rebalance(client, RDK_ERR__ASSIGN_PARTITIONS, more);
}

/* The coordinator has decided that these are to be ours. */
static void move_to(rd_kafka_t *client, uint32_t target) {
    uint32_t less = owned_by(client) & ~target;
    client->target = target;
    if (less != 0) {
        client->group_state = GROUP_REVOKING;
        rebalance(client, RDK_ERR__REVOKE_PARTITIONS, less);
    } else {
        assign_target(client);
    }
}

static void join(void *subject) {
    rd_kafka_t *client = client_numbered((int64_t)(uintptr_t)subject);
    if (client == NULL || client->closing || client->closed)
        return;
    if (client->group_state != GROUP_IDLE || group.member != 0) { /* the one before it has not been missed yet */
        world_at(OF_SUPERVISOR, world_now_ns() + 100 * MILLISECOND, join, subject);
        return;
    }
    static int64_t joins;
    group.member = client->member = ++joins;
    group.owned = 0;
    client->lost = false;
    move_to(client,
            calm || broker.rebalances_s == 0 || one_in(2) ? all_partitions() : (uint32_t)chance(all_partitions() + 1));
}

/* The session of a member that is gone, or was not heard of, is over. */
static void lose(rd_kafka_t *client) {
    uint32_t had = owned_by(client);
    world_say("client %lld lost its membership", (long long)client->number);
    group.member = client->member = 0;
    group.owned = 0;
    client->lost = true;
    client->group_state = GROUP_REVOKING;
    client->target = 0;
    rebalance(client, RDK_ERR__REVOKE_PARTITIONS, had);
}

static void regroup(void *subject) {
    rd_kafka_t *client = client_numbered((int64_t)(uintptr_t)subject);
    if (client == NULL)
        return;
    int64_t every_s = broker.rebalances_s;
    world_at(OF_SUPERVISOR, world_now_ns() + (calm ? SECOND : spread(SECOND / 10, 2 * every_s * SECOND)), regroup,
             subject);
    if (client->closing || client->closed || client->member == 0 || group.member != client->member)
        return;
    if (!calm && one_in(8)) {
        lose(client);
        return;
    }
    if (client->group_state != GROUP_IDLE)
        return;
    uint32_t target = calm ? all_partitions() : (uint32_t)chance(all_partitions() + 1);
    if (calm && group.owned == target)
        return;
    world_say("rebalance: from %x to %x", group.owned, target);
    move_to(client, target);
}

static int table_subscribe(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *topics) {
    snprintf(client->topic, sizeof client->topic, "%s", topics->elems[0].topic);
    client->subscribed = true;
    world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), join, number_as_subject(client->number));
    if (broker.rebalances_s > 0)
        world_at(OF_SUPERVISOR, world_now_ns() + spread(SECOND / 10, broker.rebalances_s * SECOND), regroup,
                 number_as_subject(client->number));
    return 0;
}

/* The offsets that were stored go first. */
static void commit_stored(rd_kafka_t *client, uint32_t partitions) {
    if (!client->conf.auto_commit)
        return;
    for (int p = 0; p < topic_in.partitions; p++) {
        fetch_t *fetch = &client->fetches[p];
        if ((partitions >> p & 1) && fetch->assigned && fetch->stored >= 0 && fetch->stored != fetch->committed &&
            group_commit(client->member, p, fetch->stored, ""))
            fetch->committed = fetch->stored;
    }
}

static void auto_commit(void *subject) {
    rd_kafka_t *client = client_numbered((int64_t)(uintptr_t)subject);
    if (client == NULL)
        return;
    if (!trouble())
        commit_stored(client, all_partitions());
    world_at(OF_SUPERVISOR, world_now_ns() + AUTO_COMMIT_MS * MILLISECOND, auto_commit, subject);
}

static void answered(rd_kafka_t *client) {
    if (client->group_state == GROUP_IDLE)
        return;
    if (client->group_state == GROUP_ASSIGNING) {
        client->group_state = GROUP_IDLE;
        return;
    }
    if (client->closing) {
        if (client->member != 0 && group.member == client->member)
            group.member = 0, group.owned = 0;
        client->group_state = GROUP_IDLE;
        client->closed = true;
        return;
    }
    if (client->lost) {
        client->lost = false;
        client->group_state = GROUP_IDLE;
        world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), join, number_as_subject(client->number));
        return;
    }
    group.owned &= client->target;
    assign_target(client);
}

static void stop_fetching(rd_kafka_t *client, uint32_t partitions) {
    for (int p = 0; p < topic_in.partitions; p++)
        if (partitions >> p & 1) {
            client->fetches[p].assigned = false;
            client->fetches[p].version++;
        }
}

static int table_assign(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions) {
    must_hold_no_lock("assign");
    if (partitions != NULL)
        world_fail("an eager assignment");
    commit_stored(client, all_partitions());
    stop_fetching(client, all_partitions());
    answered(client);
    return 0;
}

static void *table_incremental_assign(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions) {
    must_hold_no_lock("incremental_assign");
    world_switch();
    for (int i = 0; i < partitions->cnt; i++) {
        const rd_kafka_topic_partition_t *one = &partitions->elems[i];
        fetch_t *fetch = &client->fetches[one->partition];
        if (fetch->assigned)
            world_fail("partition %d is assigned a second time", one->partition);
        if (one->offset == -1001)
            world_fail("partition %d is assigned without a place", one->partition);
        fetch->assigned = true;
        fetch->version++;
        fetch->position = one->offset == RDK_OFFSET_BEGINNING ? 0
                          : one->offset == RDK_OFFSET_END     ? topic_in.logs[one->partition].count
                                                              : one->offset;
        fetch->stored = fetch->committed = -1;
    }
    answered(client);
    return NULL;
}

static void *table_incremental_unassign(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions) {
    uint32_t set = 0;
    must_hold_no_lock("incremental_unassign");
    world_switch();
    for (int i = 0; i < partitions->cnt; i++)
        set |= 1U << partitions->elems[i].partition;
    if (!client->lost)
        commit_stored(client, set);
    stop_fetching(client, set);
    answered(client);
    return NULL;
}

static const char *table_rebalance_protocol(rd_kafka_t *client) {
    (void)client;
    must_hold_no_lock("rebalance_protocol");
    return "COOPERATIVE";
}

static int table_assignment_lost(rd_kafka_t *client) { return client->lost; }

static void *table_close_queue(rd_kafka_t *client, rd_kafka_queue_t *queue) {
    if (client->fatal != 0)
        return error_new(client->fatal, true, false, false);
    client->closing = true;
    client->consumer_queue->forward = queue;
    for (op_t *op; (op = queue_take(client->consumer_queue)) != NULL;)
        queue_put(queue, op);
    if (owned_by(client) == 0) {
        if (client->member != 0 && group.member == client->member)
            group.member = 0;
        client->closed = true;
    } else if (client->group_state != GROUP_REVOKING) {
        client->group_state = GROUP_REVOKING;
        rebalance(client, RDK_ERR__REVOKE_PARTITIONS, group.owned);
    }
    return NULL;
}

static int table_closed(rd_kafka_t *client) { return client->closed; }

/* A client that is destroyed without a goodbye, or killed: the group hears nothing of it. */
static void missed(void *subject) {
    if (group.member == (int64_t)(uintptr_t)subject)
        group.member = 0, group.owned = 0;
}

void group_misses(int64_t member) {
    if (member != 0 && group.member == member)
        world_at(OF_BROKERS, world_now_ns() + spread(SECOND, 10 * SECOND), missed, number_as_subject(member));
}

/* ---- offsets */

static int table_offsets_store(rd_kafka_t *client, rd_kafka_topic_partition_list_t *offsets) {
    world_switch();
    for (int i = 0; i < offsets->cnt; i++) {
        fetch_t *fetch = &client->fetches[offsets->elems[i].partition];
        if (fetch->assigned)
            fetch->stored = offsets->elems[i].offset;
        else
            offsets->elems[i].err = -172; /* ERR__STATE */
    }
    return 0;
}

typedef struct {
    int64_t number, member;
    rd_kafka_topic_partition_list_t *offsets;
    rd_kafka_queue_t *queue; /* NULL: the callback is told */
} commit_t;

static void commit_arrives(void *subject) {
    commit_t *commit = subject;
    rd_kafka_t *client = client_numbered(commit->number);
    int failed = trouble() ? (one_in(2) ? RDK_ERR__TIMED_OUT : RDK_ERR_NOT_COORDINATOR) : 0;
    bool applied = failed == 0 || (failed == RDK_ERR__TIMED_OUT && one_in(2));
    for (int i = 0; i < commit->offsets->cnt; i++) {
        rd_kafka_topic_partition_t *one = &commit->offsets->elems[i];
        char metadata[METADATA_BYTES] = "";
        if (one->metadata_size > 0)
            snprintf(metadata, sizeof metadata, "%.*s", (int)one->metadata_size, (const char *)one->metadata);
        if (applied && !group_commit(commit->member, one->partition, one->offset, metadata))
            failed = 22; /* ILLEGAL_GENERATION */
        else if (applied && client != NULL)
            client->fetches[one->partition].committed = one->offset;
        one->err = failed;
    }
    if (client == NULL) {
        list_destroy(commit->offsets);
    } else {
        op_t *op = op_new(commit->queue ? OP_EVENT : OP_COMMITTED);
        op->error = failed;
        op->list = commit->offsets;
        queue_put(commit->queue ? commit->queue : client->consumer_queue, op);
    }
    if (commit->queue != NULL)
        queue_let_go(commit->queue);
    sim_free(commit);
}

static void send_commit(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets, rd_kafka_queue_t *queue) {
    commit_t *commit = model_malloc(sizeof *commit);
    *commit = (commit_t){client->number, client->member, list_copy(offsets), queue};
    if (queue != NULL)
        queue->references++;
    world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), commit_arrives, commit);
}

static int table_commit(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets, int asynchronous) {
    if (!asynchronous)
        world_fail("a commit that waits");
    world_switch();
    send_commit(client, offsets, NULL);
    return 0;
}

static int table_commit_queue(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets,
                              rd_kafka_queue_t *queue, void *callback, void *opaque) {
    (void)callback;
    (void)opaque;
    world_switch();
    send_commit(client, offsets, queue);
    return 0;
}

static int table_committed(rd_kafka_t *client, rd_kafka_topic_partition_list_t *partitions, int timeout_ms) {
    (void)client;
    must_hold_no_lock("committed");
    int64_t until_ns = world_now_ns() + timeout_ms * MILLISECOND;
    world_sleep(latency_ns());
    for (int i = 0; i < partitions->cnt; i++) {
        rd_kafka_topic_partition_t *one = &partitions->elems[i];
        while (group.undecided[one->partition] != 0 && world_now_ns() < until_ns)
            world_sleep(100 * MILLISECOND);
        if (group.undecided[one->partition] != 0 || world_now_ns() >= until_ns || trouble())
            return RDK_ERR__TIMED_OUT;
        const committed_t *committed = &group.committed[one->partition];
        one->offset = committed->offset < 0 ? RDK_OFFSET_INVALID : committed->offset;
        if (committed->offset >= 0 && committed->metadata[0] != 0) {
            one->metadata = model_strdup(committed->metadata);
            one->metadata_size = strlen(committed->metadata);
        }
    }
    return 0;
}

static int table_watermarks(rd_kafka_t *client, const char *topic, int32_t partition, int64_t *low, int64_t *high) {
    (void)topic;
    *low = 0;
    *high = client->fetches[partition].assigned ? topic_in.logs[partition].count : -1001;
    return 0;
}

static void *table_group_metadata(rd_kafka_t *client) {
    group_metadata_t *metadata = model_malloc(sizeof *metadata);
    must_hold_no_lock("consumer_group_metadata");
    world_switch();
    *metadata = (group_metadata_t){client->member, group.generation};
    return metadata;
}

static void table_group_metadata_destroy(void *metadata) { sim_free(metadata); }

/* ---- what is asked of a topic */

static void described(void *subject) {
    rd_kafka_queue_t *queue = subject;
    op_t *op = op_new(OP_EVENT);
    op->error = trouble() ? RDK_ERR__TIMED_OUT : 0;
    op->identity = op->error ? 0 : 7;
    queue_put(queue, op);
    queue_let_go(queue);
}

static void table_describe(rd_kafka_t *client, const void *names, const void *options, rd_kafka_queue_t *queue) {
    (void)client;
    (void)names;
    (void)options;
    queue->references++;
    world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), described, queue);
}

static void *table_names(const char **names, size_t count) {
    (void)count;
    return model_strdup(names[0]);
}
static void table_names_destroy(void *names) { sim_free(names); }

static void *table_queue_poll(rd_kafka_queue_t *queue, int timeout_ms) {
    (void)timeout_ms;
    world_switch();
    return queue_take(queue);
}
static int table_event_error(void *event) { return ((op_t *)event)->error; }
static rd_kafka_topic_partition_list_t *table_event_list(void *event) { return ((op_t *)event)->list; }
static const void *table_event_description(void *event) { return ((op_t *)event)->identity ? event : NULL; }
static const void **table_described_topics(const void *result, size_t *count) {
    static const void *one[1];
    one[0] = result;
    *count = 1;
    return one;
}
static const void *table_topic_id(const void *description) { return description; }
static int64_t table_uuid_least(const void *uuid) { return ((const op_t *)uuid)->identity; }
static int64_t table_uuid_most(const void *uuid) {
    (void)uuid;
    return 1;
}
static void table_event_destroy(void *event) { op_free(event); }

static int table_message_headers(const rd_kafka_message_t *m, rd_kafka_headers_t **headers) {
    (void)m;
    (void)headers;
    return -156; /* NOENT */
}

static int table_detach_headers(rd_kafka_message_t *m, rd_kafka_headers_t **headers) {
    return table_message_headers(m, headers);
}

static int table_poll_set_consumer(rd_kafka_t *client) {
    (void)client;
    return 0;
}

static rd_kafka_queue_t *table_get_consumer(rd_kafka_t *client) {
    client->consumer_queue->references++;
    return client->consumer_queue;
}

static rd_kafka_queue_t *table_get_partition(rd_kafka_t *client, const char *topic, int32_t partition) {
    (void)topic;
    client->fetches[partition].queue->references++;
    return client->fetches[partition].queue;
}

void consumer_begin(rd_kafka_t *client) {
    client->consumer_queue = queue_make(client);
    for (int p = 0; p < PARTITIONS_MAX; p++)
        client->fetches[p] = (fetch_t){.queue = queue_make(client), .stored = -1, .committed = -1};
    for (int p = 0; p < PARTITIONS_MAX; p++)
        client->fetches[p].queue->forward = client->consumer_queue;
    world_at(OF_SUPERVISOR, world_now_ns() + latency_ns(), fetch_some, number_as_subject(client->number));
    world_at(OF_SUPERVISOR, world_now_ns() + AUTO_COMMIT_MS * MILLISECOND, auto_commit,
             number_as_subject(client->number));
}

void consumer_end(rd_kafka_t *client) {
    if (client->messages != 0)
        world_fail("a consumer is destroyed with %lld messages not given back", (long long)client->messages);
    group_misses(client->member);
    for (int p = 0; p < PARTITIONS_MAX; p++)
        queue_let_go(client->fetches[p].queue);
    queue_let_go(client->consumer_queue);
}

void consumer_table(rdk_api_t *api) {
    api->poll_set_consumer = table_poll_set_consumer;
    api->queue_get_consumer = table_get_consumer;
    api->queue_get_partition = table_get_partition;
    api->consume_batch_queue = table_consume_batch_queue;
    api->consumer_poll = table_consumer_poll;
    api->subscribe = table_subscribe;
    api->assign = table_assign;
    api->incremental_assign = table_incremental_assign;
    api->incremental_unassign = table_incremental_unassign;
    api->rebalance_protocol = table_rebalance_protocol;
    api->assignment_lost = table_assignment_lost;
    api->consumer_close_queue = table_close_queue;
    api->consumer_closed = table_closed;
    api->offsets_store = table_offsets_store;
    api->commit = table_commit;
    api->commit_queue = table_commit_queue;
    api->committed = table_committed;
    api->get_watermark_offsets = table_watermarks;
    api->consumer_group_metadata = table_group_metadata;
    api->consumer_group_metadata_destroy = table_group_metadata_destroy;
    api->TopicCollection_of_topic_names = table_names;
    api->TopicCollection_destroy = table_names_destroy;
    api->DescribeTopics = table_describe;
    api->queue_poll = table_queue_poll;
    api->event_error = table_event_error;
    api->event_topic_partition_list = table_event_list;
    api->event_DescribeTopics_result = table_event_description;
    api->DescribeTopics_result_topics = table_described_topics;
    api->TopicDescription_topic_id = table_topic_id;
    api->Uuid_least_significant_bits = table_uuid_least;
    api->Uuid_most_significant_bits = table_uuid_most;
    api->event_destroy = table_event_destroy;
    api->message_headers = table_message_headers;
    api->message_detach_headers = table_detach_headers;
}
