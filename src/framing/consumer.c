#include "consumer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commit_policy.h"
#include "header_bytes.h"
#include "inlet.h"
#include "minmax.h"

#define CLOSE_STEP_MS 10
#define EVENTS_A_ROUND 16 /* of consumer_poll, before anything else is looked at */

/* Calls that librdkafka's main thread answers, which may wait for a broker's thread that looks a name up. Made without
 * the lock, so orders may come meanwhile: the caller keeps nothing over the call that they could change. */

static void assign_none(inlet_t *s) {
    inlet_unlock(s);
    rdk.assign(s->consumer.rk, NULL);
    inlet_lock(s);
}

static bool is_cooperative(inlet_t *s) {
    inlet_unlock(s);
    const char *protocol = rdk.rebalance_protocol(s->consumer.rk);
    inlet_lock(s);
    return protocol != NULL && protocol[0] == 'C'; /* COOPERATIVE */
}

void consumer_assign_more(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    inlet_unlock(s);
    rdk.error_destroy(rdk.incremental_assign(s->consumer.rk, partitions));
    inlet_lock(s);
}

static void assign_less(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    inlet_unlock(s);
    rdk.error_destroy(rdk.incremental_unassign(s->consumer.rk, partitions));
    inlet_lock(s);
}

void consumer_store(inlet_t *s) {
    if (!s->config.commit->stores)
        return;
    rd_kafka_topic_partition_list_t *offsets = commit_new_offsets(s);
    if (offsets == NULL)
        return;
    /* An error here is ERR__STATE: the partition was lost in between, and its next owner reads the records again. */
    rdk.offsets_store(s->consumer.rk, offsets);
    rdk.topic_partition_list_destroy(offsets);
}

void consumer_acknowledge(inlet_t *s) {
    if (s->config.commit->settles)
        consumer_release(s, s->config.ack->settle(s));
}

/* Whether a record that is released was acknowledged: one of a partition that was lost is its next owner's. Where it was
 * committed before it was written, it is ours for good. */
static inline bool counts(const inlet_t *s, const ledger_entry_t *entry) {
    return ledger_owns(&s->ledger, entry) || (s->config.commit->never_twice && !(entry->flags & LEDGER_VOID));
}

void consumer_release(inlet_t *s, int64_t sequence) {
    ledger_acknowledge(&s->ledger, sequence);
    while (ledger_may_pop(&s->ledger, s->progress->letters.delivered)) {
        s->counts.acknowledged += counts(s, ledger_at(&s->ledger, s->ledger.head));
        rdk.message_destroy(ledger_pop(&s->ledger)->record);
    }
}

int64_t consumer_void_from(const inlet_t *s) { return max_i64(s->ledger.cursor, s->ahead.committed); }

/* Likewise of one that is to go: a commit that is under way decides about the records that it covers. */
static int64_t drain_from(const inlet_t *s) { return max_i64(consumer_void_from(s), s->ahead.target); }

void consumer_lose(inlet_t *s, int32_t partition) {
    if (s->config.commit->partition_lost != NULL && s->ledger.partitions[partition].in_flight > 0)
        s->config.commit->partition_lost(s);
    ledger_revoke(&s->ledger, partition, consumer_void_from(s));
}

/* Answer the group: the partitions asked back are given up, with what was acknowledged of them stored. */
static void give_up(inlet_t *s) {
    rd_kafka_topic_partition_list_t *partitions = s->consumer.revoking;
    rd_kafka_topic_partition_list_t *given = start_offsets_unexpect(s, partitions);
    s->consumer.revoking = NULL;
    transaction_take_commit(s);
    if (!rdk.assignment_lost(s->consumer.rk))
        consumer_store(s);
    attempts_end(s, partitions);
    for (int i = 0; i < partitions->cnt; i++)
        consumer_lose(s, partitions->elems[i].partition);
    s->keys.until = 0;
    s->consumer.assigned -= partitions->cnt;
    s->report.next_lag_ns = 0;
    if (is_cooperative(s))
        assign_less(s, given);
    else
        assign_none(s);
    rdk.topic_partition_list_destroy(given);
    inlet_notice(s, NOTICE_REVOKED, partitions->cnt, s->config.topic);
    rdk.topic_partition_list_destroy(partitions);
}

static bool drained(const inlet_t *s) {
    const rd_kafka_topic_partition_list_t *revoking = s->consumer.revoking;
    if (s->config.commit->drained != NULL)
        return s->config.commit->drained(s);
    for (int i = 0; i < revoking->cnt; i++)
        if (s->ledger.partitions[revoking->elems[i].partition].in_flight > 0)
            return false;
    return true;
}

void consumer_revoke_due(inlet_t *s, int64_t now_ns) {
    if (s->consumer.revoking != NULL && (now_ns >= s->consumer.revoke_deadline_ns || drained(s)))
        give_up(s);
}

static void assigned(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    for (int i = 0; i < partitions->cnt; i++) {
        ledger_assign(&s->ledger, partitions->elems[i].partition);
        attempts_begin(s, partitions->elems[i].partition);
    }
    s->consumer.assigned += partitions->cnt;
    s->report.next_lag_ns = 0;
    start_offsets_expect(s, partitions);
    if (partitions->cnt > 0)
        identity_ask_again(s);
    else
        start_offsets_answer_without(s);
    inlet_notice(s, NOTICE_ASSIGNED, partitions->cnt, s->config.topic);
}

static void revoked(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    s->consumer.revoking = rdk.topic_partition_list_copy(partitions);
    for (int i = 0; i < partitions->cnt; i++)
        ledger_drain(&s->ledger, partitions->elems[i].partition, drain_from(s));
    s->keys.until = 0;
    s->consumer.revoke_deadline_ns = monotonic_ns() + s->config.revoke_grace_ns;
    if (s->orders.stopping || rdk.assignment_lost(s->consumer.rk) || drained(s))
        give_up(s);
}

/* Called out of consumer_poll, on the inlet's thread. */
static void on_rebalance(rd_kafka_t *rk, int event, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
    inlet_t *s = opaque;
    (void)rk;
    if (s->consumer.revoking != NULL)
        give_up(s); /* a new rebalance overtakes the drain of the last one */
    start_offsets_answer_without(s);
    if (event == RDK_ERR__ASSIGN_PARTITIONS) {
        assigned(s, partitions);
    } else if (event == RDK_ERR__REVOKE_PARTITIONS) {
        revoked(s, partitions);
    } else {
        inlet_notice(s, NOTICE_ERROR, event, rdk.err2str(event));
        assign_none(s);
    }
}

/* How many records may be taken at once. A few always may where only reading on shows what is done: the first one known to
 * be done when the third is read. */
static int64_t room(const inlet_t *s) {
    const int64_t fits = ledger_batch(&s->ledger, TAKE_BATCH);
    return fits <= 0 && ack_sees_no_rest(s) ? LEDGER_LEAST_RECORDS - (s->ledger.tail - s->ledger.head) : fits;
}

static bool has_room(const inlet_t *s) {
    return s->ledger.tail - s->ledger.cursor < s->config.commit->take_ahead && room(s) > 0;
}

static bool may_take(const inlet_t *s) {
    return !inlet_holds(s) && !s->identity.replaced && s->identity.unsure_until_ns == 0 && s->alone.until == 0 &&
           inlet_may_write(s);
}

bool consumer_takes_more(const inlet_t *s) {
    return s->consumer.more && !s->writer.blocked && has_room(s) && may_take(s);
}

/* Of one batch, whose partition stops at it while the others go on? librdkafka asks for it again and again. */
static bool is_unreadable(const rd_kafka_message_t *m) {
    return m->offset >= 0 && m->partition >= 0 &&
           (m->err == RDK_ERR__BAD_COMPRESSION || m->err == RDK_ERR__BAD_MSG || m->err == RDK_ERR__NOT_IMPLEMENTED);
}

static void report_unreadable(inlet_t *s, const rd_kafka_message_t *m) {
    char text[NOTICE_TEXT_BYTES];
    const char *why = m->payload != NULL ? m->payload : rdk.err2str(m->err);
    const size_t size = m->payload != NULL ? m->len : strlen(why);
    snprintf(text, sizeof text, "%" PRId32 " %" PRId64 " %.*s", m->partition, m->offset,
             (int)min_i64((int64_t)size, 400), why);
    inlet_notice(s, NOTICE_UNREADABLE, m->err, text);
}

static void report_error(inlet_t *s, const rd_kafka_message_t *m) {
    if (is_unreadable(m)) {
        report_unreadable(s, m);
        return;
    }
    inlet_notice(s, NOTICE_ERROR, m->err, rdk.err2str(m->err));
    s->report.next_lag_ns = 0; /* what can be read is counted before it is told that something cannot */
}

static void take_one(inlet_t *s, rd_kafka_message_t *m, const rd_kafka_message_t *next) {
    if (m->err != RDK_ERR_NONE) {
        report_error(s, m);
        rdk.message_destroy(m);
        return;
    }
    if (m->partition >= s->ledger.partition_count) { /* cannot be: it was never assigned */
        rdk.message_destroy(m);
        return;
    }
    s->counts.records_read++;
    s->counts.bytes_read += (int64_t)m->len;
    s->counts.tombstones += m->payload == NULL;
    size_t others = m->key_len * (s->config.propagate_key ? 2 : 1); /* one that is carried is copied */
    others += header_bytes(m, next);
    ledger_append(&s->ledger, m, m->payload, m->len, others, m->partition, m->offset, s->config.newlines);
    if (s->attempts.fresh > 0)
        attempts_taken(s, s->ledger.tail - 1);
}

void consumer_take(inlet_t *s) {
    if (!may_take(s))
        return;
    if (!has_room(s)) {
        s->consumer.more = true; /* as far as we know: the queue tells of a record only once */
        return;
    }
    const int64_t want = room(s);
    rd_kafka_message_t **taken = s->consumer.taken;
    const ssize_t n = rdk.consume_batch_queue(s->consumer.records, 0, taken, (size_t)want);
    s->consumer.more = n == want;
    for (ssize_t i = 0; i < n; i++)
        take_one(s, taken[i], i + 1 < n ? taken[i + 1] : NULL);
}

void consumer_serve(inlet_t *s) {
    for (int i = 0; i < EVENTS_A_ROUND; i++) {
        rd_kafka_message_t *m = rdk.consumer_poll(s->consumer.rk, 0);
        if (m == NULL)
            break;
        if (m->err == RDK_ERR__FATAL)
            client_post_fatal(s->consumer.rk, &s->client);
        else
            report_error(s, m);
        rdk.message_destroy(m);
    }
}

static rd_kafka_queue_t *queue_new(inlet_t *s) {
    rd_kafka_queue_t *queue = rdk.queue_new(s->consumer.rk);
    client_wakes(queue, s->wake_fd);
    return queue;
}

int consumer_open(inlet_t *s, const properties_t *properties, char *why, size_t why_size) {
    const client_callbacks_t callbacks = {.on_rebalance = on_rebalance, .on_commit = commit_reported};
    consumer_t *c = &s->consumer;
    c->rk = client_new(RDK_CONSUMER, properties, &s->client, &callbacks, why, why_size);
    if (c->rk == NULL)
        return -1;
    s->client.brokers_up = -1;
    s->start.question.consumer = c->rk;
    s->start.question.latest_of = s->config.first_offset == RDK_OFFSET_END ? s->config.topic : NULL;
    s->start.question.wake_fd = s->wake_fd;
    rdk.poll_set_consumer(c->rk);
    c->records = queue_new(s);
    s->identity.answers = queue_new(s);
    s->attempts.answers = queue_new(s);
    s->start.pending = rdk.topic_partition_list_new(16);
    c->events = rdk.queue_get_consumer(c->rk);
    client_wakes(c->events, s->wake_fd);
    report_publish(s);
    return 0;
}

void consumer_subscribe(inlet_t *s) {
    rd_kafka_topic_partition_list_t *topics = rdk.topic_partition_list_new(1);
    rdk.topic_partition_list_add(topics, s->config.topic, RDK_PARTITION_UA);
    rdk.subscribe(s->consumer.rk, topics);
    rdk.topic_partition_list_destroy(topics);
}

static void queue_end(rd_kafka_queue_t *queue) {
    client_wakes(queue, -1);
    rdk.queue_destroy(queue);
}

static void destroy_client(inlet_t *s, rd_kafka_t *rk) {
    queue_end(s->attempts.answers);
    queue_end(s->identity.answers);
    client_wakes(s->consumer.records, -1);
    queue_end(s->consumer.events);
    rdk.queue_destroy(s->consumer.records);
    rdk.destroy_flags(rk, RDK_DESTROY_NO_CONSUMER_CLOSE);
}

/* Drop what is not acknowledged: voided first, so that no offset moves. librdkafka wants its messages back. */
static void drop_records(inlet_t *s) {
    for (int32_t i = 0; i < s->ledger.partition_count; i++)
        if (s->ledger.partitions[i].state != PARTITION_LOST)
            s->ledger.partitions[i].epoch++;
    while (s->ledger.head < s->ledger.tail)
        rdk.message_destroy(ledger_pop(&s->ledger)->record);
}

/* Holding the lock, but not while it waits. Returns librdkafka's error if it refuses. */
static void *leave_group(inlet_t *s, rd_kafka_queue_t *queue) {
    rd_kafka_t *rk = s->consumer.rk;
    rd_kafka_message_t *m;
    void *error = rdk.consumer_close_queue(rk, queue);
    while (error == NULL && !rdk.consumer_closed(rk) && monotonic_ns() < s->orders.stop_deadline_ns) {
        if (rdk.consume_batch_queue(queue, 0, &m, 1) == 1) /* serves the last rebalance */
            rdk.message_destroy(m);
        inlet_unlock(s);
        wait_wake(s->wake_fd, CLOSE_STEP_MS);
        inlet_lock(s);
    }
    return error;
}

void consumer_close(inlet_t *s) {
    rd_kafka_t *rk = s->consumer.rk;
    inlet_lock(s);
    consumer_acknowledge(s);
    consumer_store(s);
    if (s->consumer.revoking != NULL)
        give_up(s);
    start_offsets_answer_without(s);
    drop_records(s);
    rd_kafka_queue_t *queue = queue_new(s);
    void *error = leave_group(s, queue);
    lag_show(&s->report.lag, 0);
    s->report.readable = 0;
    s->consumer.rk = NULL;
    rdk.topic_partition_list_destroy(s->start.pending);
    s->start.pending = NULL;
    inlet_unlock(s);
    /* After a fatal error librdkafka refuses to close, and there is no membership left to end. */
    if (error != NULL)
        rdk.error_destroy(error);
    else if (!rdk.consumer_closed(rk))
        inlet_notice(s, NOTICE_ERROR, 0, "the group did not answer in time: left without a goodbye");
    progress_unset_inlet(s->progress, s->wake_fd);
    offsets_question_end(&s->start.question);
    queue_end(queue);
    destroy_client(s, rk);
}

void consumer_dispose(inlet_t *s) { destroy_client(s, s->consumer.rk); }
