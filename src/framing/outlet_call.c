#include "outlet_call.h"

#include <string.h>

#include "outlet.h"

#define OFFSETS_TIMEOUT_MS 5000 /* a coordinator that moves needs its time, or costs a run */

static bool new_client(outlet_t *s, rd_kafka_t **rk, rd_kafka_queue_t **main_queue, char *why, size_t why_size) {
    const client_callbacks_t callbacks = {.on_delivery = producer_on_delivery, .on_throttle = producer_on_throttle};
    *rk = client_new(RDK_PRODUCER, &s->config.properties, &s->client, &callbacks, why, why_size);
    if (*rk == NULL)
        return false;
    *main_queue = rdk.queue_get_main(*rk);
    client_wakes(*main_queue, s->sleep.reports_fd);
    return true;
}

bool outlet_make_client(outlet_t *s, char *why, size_t why_size) {
    if (!new_client(s, &s->producer.rk, &s->producer.main_queue, why, why_size))
        return false;
    s->client.brokers_up = -1;
    outlet_publish(s);
    return true;
}

void outlet_look_for_fatal(outlet_t *s, int64_t now_ns) {
    producer_t *p = &s->producer;
    char why[8];
    s->call.next = CALL_NONE;
    p->fatal = p->fatal || rdk.fatal_error(p->rk, why, sizeof why) != RDK_ERR_NONE;
    if (p->fatal && p->in_flight + s->sender.flying > 0)
        rdk.purge(p->rk, RDK_PURGE_QUEUE_AND_INFLIGHT | RDK_PURGE_NON_BLOCKING);
    else if (p->fatal && now_ns >= s->call.again_ns && !client_disposal_under_way(&p->disposal))
        s->call.next = CALL_RENEW;
}

/* The new client takes the place of the one that is of no use any more. */
static void change_client(outlet_t *s, rd_kafka_t *rk, rd_kafka_queue_t *main_queue) {
    producer_t *p = &s->producer;
    transaction_t *t = &s->transaction;
    client_disposal_end(&p->disposal); /* it is over */
    p->disposal.client = p->rk;
    p->disposal.topic = p->topic;
    p->disposal.letters_topic = s->sender.topic;
    p->disposal.main_queue = p->main_queue;
    p->rk = rk;
    p->main_queue = main_queue;
    if (p->topic != NULL)
        p->topic = partition_topic_new(rk, rdk.topic_name(p->topic), s->config.propagate_key);
    if (s->sender.topic != NULL)
        s->sender.topic = rdk.topic_new(rk, rdk.topic_name(s->sender.topic), NULL);
    partitions_forget(&p->partitions);
    s->client.brokers_up = -1;
    p->renewals++;
    if (s->config.transactional) {
        t->aborts += t->open;
        progress_open_transaction(&s->progress, false);
    } else {
        splitter_end(&s->splitter);
        p->retry_at_ns = monotonic_ns() + PRODUCER_RETRY_MS * MS; /* should every client end like this one */
    }
    p->fatal = t->ready = t->open = t->aborting = false;
}

/* Replace the client after a fatal error: nothing of it is under way. The lock is held for the change alone. */
static void renew(outlet_t *s) {
    rd_kafka_t *rk = NULL;
    rd_kafka_queue_t *main_queue = NULL;
    char why[512];
    const bool made = new_client(s, &rk, &main_queue, why, sizeof why);
    outlet_lock(s);
    if (!made) {
        outlet_notice(s, NOTICE_ERROR, RDK_ERR__FATAL, why);
        s->call.again_ns = monotonic_ns() + CALL_RETRY_MS * MS;
        outlet_unlock(s);
        return;
    }
    change_client(s, rk, main_queue);
    outlet_unlock(s);
    client_disposal_begin(&s->producer.disposal, s->wake_fd);
}

/* Without the lock. Returns librdkafka's error, or NULL. */
static void *make(outlet_t *s, call_kind_t call) {
    rd_kafka_t *rk = s->producer.rk;
    cut_t *cut = &s->progress.cut;
    void *error = NULL;
    if (call == CALL_INIT)
        return rdk.init_transactions(rk, CALL_TIMEOUT_MS);
    if (call == CALL_BEGIN || call == CALL_EXPLAIN)
        return rdk.begin_transaction(rk);
    if (call == CALL_ABORT)
        return rdk.abort_transaction(rk, CALL_TIMEOUT_MS);
    if (cut->offsets != NULL && !s->transaction.offsets_sent) {
        /* Unlike the others it does not go on where it stopped. */
        error = rdk.send_offsets_to_transaction(rk, cut->offsets, cut->group, OFFSETS_TIMEOUT_MS);
        s->transaction.offsets_sent = error == NULL;
    }
    return error == NULL ? rdk.commit_transaction(rk, CALL_TIMEOUT_MS) : error;
}

/* Holding the lock: it was answered without an error. */
static void made(outlet_t *s, call_kind_t call) {
    transaction_t *t = &s->transaction;
    if (call == CALL_INIT) {
        t->ready = true;
        s->producer.last_error = 0;
        return;
    }
    if (call == CALL_BEGIN) {
        t->open = true;
        t->refusal_noted = false;
        progress_open_transaction(&s->progress, true);
        return;
    }
    t->open = false;
    progress_open_transaction(&s->progress, false);
    if (call == CALL_ABORT) {
        t->aborting = false;
        t->aborts++;
        return;
    }
    t->commits++;
    s->call.renew_ms = 0;
    s->producer.last_error = 0;
    transaction_drop_offsets(s);
    cut_move(&s->progress.cut, CUT_OFFSETS, CUT_COMMITTED);
    progress_wake_inlet(&s->progress);
}

void outlet_make_call(outlet_t *s) {
    const call_kind_t call = s->call.next;
    if (call == CALL_RENEW) {
        renew(s);
        return;
    }
    outlet_lock(s);
    s->call.since_ns = monotonic_ns();
    outlet_unlock(s);
    void *error = make(s, call);
    outlet_lock(s);
    s->call.since_ns = 0;
    if (call == CALL_EXPLAIN)
        transaction_lose(s, error);
    else if (error != NULL)
        transaction_call_failed(s, error);
    else
        made(s, call);
    outlet_unlock(s);
}
