#include "outlet.h"

#include <errno.h>
#include <stdlib.h>

#define FULL_WAIT_MS 100
#define IDLE_WAIT_MS 500
#define CLOSING_WAIT_MS 10
#define CLOSING_STEPS 100
#define READS_A_ROUND 8

/* Take the delivery reports, and pass on how far everything is delivered. */
static void serve(outlet_t *s) {
    rdk.poll(s->producer.rk, 0);
    sender_file(s);
    delivery_advance(&s->delivery);
    progress_deliver(&s->progress, s->delivery.done_end, s->delivery.done_mark);
    if (s->producer.abandoning && s->producer.in_flight == 0)
        s->producer.abandoning = false;
}

static void tell_end(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    if (!f->ended || f->ended_told)
        return;
    f->ended_told = true;
    outlet_notice(s, NOTICE_STDOUT_ENDED, (int)(f->end - f->begin), "");
}

/* Lines stay in the pipe: what is there already is sent, and a run that is over is read to its end. Returns whether there is
 * room for more. */
static bool round_held(outlet_t *s, int64_t now_ns) {
    stdout_framer_t *f = &s->framer;
    const bool flushed = producer_flush(s, now_ns);
    while (f->to_the_end && !f->ended && f->end - f->begin < f->capacity && framer_read(s))
        ;
    tell_end(s);
    return flushed && f->end - f->begin < f->capacity;
}

/* Read and frame. Returns likewise. */
static bool round_read(outlet_t *s, int64_t now_ns) {
    bool room = framer_take(s, now_ns);
    for (int i = 0; i < READS_A_ROUND && room && !s->framer.ended && s->progress.fd >= 0 && framer_read(s); i++) {
        room = framer_take(s, now_ns);
        serve(s);
    }
    room = room && !s->sender.full;
    if (room)
        tell_end(s);
    return room;
}

/* How long to wait for events. */
static int wait_ms(const outlet_t *s, int64_t now_ns) {
    if (s->call.next != CALL_NONE)
        return 0;
    if (s->orders.stopping || s->producer.abandoning)
        return CLOSING_WAIT_MS;
    int wait = FULL_WAIT_MS;
    int64_t due_ns = s->producer.throttle.until_ns; /* a commit waits for it, too */
    if (s->producer.pending_count > 0 || s->producer.returned.count > 0)
        due_ns = producer_gathers_until(s, now_ns);
    else if (!s->full)
        wait = IDLE_WAIT_MS;
    return now_ns < due_ns && due_ns - now_ns < wait * MS ? (int)((due_ns - now_ns) / MS) + 1 : wait;
}

/* Everything that can be done without waiting. Returns the milliseconds to wait for events, -1 to end. */
static int do_round(outlet_t *s) {
    const int64_t now_ns = monotonic_ns();
    s->transaction.begin_owed = false;
    framer_seal_empty(s);
    serve(s);
    producer_look_at_quota(s, now_ns);
    sender_send(s, now_ns);
    s->sender.full = false;
    if (s->config.transactional) {
        transaction_move(s, now_ns);
        if (s->call.next == CALL_EXPLAIN)
            return 0; /* nothing can be sent in this transaction any more */
    }
    const bool room = transaction_holds(s) ? round_held(s, now_ns) : round_read(s, now_ns);
    if (room && s->full)
        s->counts.full_ns += now_ns - s->full_since_ns;
    else if (!room && !s->full)
        s->full_since_ns = now_ns;
    s->full = !room;
    progress_hold(&s->progress, s->full || transaction_holds(s));
    const bool done = outlet_undelivered(s) == 0 && !sender_has_letters(s);
    if (s->orders.stopping && (done || now_ns >= s->orders.stop_deadline_ns))
        return -1;
    if (s->config.transactional)
        transaction_move(s, now_ns); /* again: this round may have come to the cut */
    else
        outlet_look_for_fatal(s, now_ns);
    return wait_ms(s, now_ns);
}

/* Purge what could not be delivered, serve its reports, destroy the client: in that order.
 *
 * Nobody who gives an order waits for librdkafka: the lock is not held while it works. */
static void close_client(outlet_t *s) {
    producer_t *p = &s->producer;
    rd_kafka_t *rk = p->rk;
    rd_kafka_topic_t *topic = p->topic, *letters_topic = s->sender.topic;
    rdk.purge(rk, RDK_PURGE_QUEUE_AND_INFLIGHT);
    for (int i = 0; i < CLOSING_STEPS; i++) {
        outlet_lock(s);
        rdk.poll(rk, 0);
        outlet_unlock(s);
        if (rdk.outq_len(rk) == 0)
            break;
        wait_wake(s->sleep.reports_fd, CLOSING_WAIT_MS);
    }
    outlet_lock(s);
    s->counts.lines_abandoned += p->pending_count + (int64_t)p->returned.count;
    p->pending_count = 0;
    returned_clear(&p->returned);
    sender_drop(s);
    p->rk = NULL;
    p->topic = s->sender.topic = NULL;
    outlet_unlock(s);
    if (s->transaction.open) { /* readers need not wait for its timeout */
        void *error = rdk.abort_transaction(rk, CALL_TIMEOUT_MS);
        if (error != NULL)
            rdk.error_destroy(error);
    }
    transaction_drop_offsets(s);
    live_add(LIVE_lines, p->in_flight + s->sender.flying);
    producer_destroy(rk, topic, letters_topic, p->main_queue);
    client_disposal_end(&p->disposal);
}

void outlet_run(outlet_t *s) {
    sys.thread_name("outlet");
    for (;;) {
        outlet_lock(s);
        const int timeout_ms = do_round(s);
        const bool reads = !transaction_holds(s) && !s->full && !s->framer.ended;
        const outlet_wait_t wait = outlet_sleep_begin(s, timeout_ms, reads);
        outlet_unlock(s);
        if (timeout_ms < 0)
            break;
        if (s->call.next != CALL_NONE) {
            outlet_make_call(s);
            continue;
        }
        outlet_sleep(s, &wait);
    }
    close_client(s);
    outlet_notice(s, NOTICE_CLOSED, 0, "");
}

outlet_t *outlet_new(void) {
    outlet_t *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    live_add(LIVE_objects, 1);
    s->wake_fd = s->sleep.reports_fd = -1;
    client_init(&s->client);
    progress_open(&s->progress);
    s->producer.partitions.throttle = &s->producer.throttle;
    return s;
}

int outlet_open(outlet_t *s, const outlet_stream_t *stream) {
    producer_t *p = &s->producer;
    s->progress.workspace = stream->workspace;
    if (notices_open(&s->client.notices) != 0)
        return errno;
    turnstile_open(&s->gate);
    throttle_open(&p->throttle, s->config.at_most_once);
    producer_look_at_quota(s, monotonic_ns());
    kernels_select(cpu_best_isa());
    if (marker_open(&s->progress.marker, stream->marker_prefix, stream->marker_prefix_bytes) != 0)
        return EINVAL;
    if (s->config.propagate_key)
        keys_open(&s->progress.keys);
    p->pending = malloc((size_t)s->config.burst.max_lines * sizeof *p->pending);
    if (p->pending == NULL || delivery_open(&s->delivery, stream->max_slab_bytes) != 0 ||
        framer_open(&s->framer, s->config.max_line_bytes, (const uint8_t *)stream->workspace,
                    stream->workspace_bytes) != 0)
        return ENOMEM;
    s->wake_fd = wake_open();
    s->sleep.reports_fd = wake_open();
    if (s->wake_fd < 0 || s->sleep.reports_fd < 0)
        return errno;
    s->progress.outlet_wake_fd = s->wake_fd;
    return 0;
}

static void free_outlet(outlet_t *s) {
    producer_t *p = &s->producer;
    if (s->delivery.ring != NULL)
        delivery_close(&s->delivery);
    framer_close(&s->framer);
    properties_free(&s->config.properties);
    free(p->pending);
    returned_clear(&p->returned);
    keys_close(&s->progress.keys);
    free(p->partitions.loads);
    throttle_close(&p->throttle);
    free(s->sender.topic_name);
    progress_detach(&s->progress);
    close_if_open(s->wake_fd);
    close_if_open(s->sleep.reports_fd);
    client_free(&s->client);
    free(s);
    live_add(LIVE_objects, -1);
}

/* Of one that never ran. The client's threads may use what is freed until it is destroyed. */
static void *dispose(void *opaque) {
    outlet_t *s = opaque;
    sender_drop(s);
    producer_destroy(s->producer.rk, s->producer.topic, s->sender.topic, s->producer.main_queue);
    free_outlet(s);
    return NULL;
}

void outlet_dispose(outlet_t *s) {
    if (s->producer.rk == NULL)
        free_outlet(s);
    else
        dispose_in_background(dispose, s);
}
