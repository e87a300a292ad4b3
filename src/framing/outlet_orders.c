#include "outlet_orders.h"

#include <string.h>

#include "outlet.h"

/* Returns -1 while lines for the last topic are not delivered. */
static int take_topic_away(outlet_t *s) {
    if (outlet_undelivered(s) > 0)
        return -1;
    if (s->producer.topic != NULL)
        rdk.topic_destroy(s->producer.topic);
    s->producer.topic = NULL;
    return 0;
}

int outlet_produce_to(outlet_t *s, const char *topic) {
    producer_t *p = &s->producer;
    int refused = 0;
    outlet_enter(s);
    if (p->topic == NULL || strcmp(topic, rdk.topic_name(p->topic)) != 0) {
        refused = take_topic_away(s);
        if (refused == 0) {
            splitter_end(&s->splitter);
            p->topic = partition_topic_new(p->rk, topic, s->config.propagate_key);
            partitions_forget(&p->partitions);
        }
    }
    if (refused == 0) {
        s->orders.flow = FLOW_PRODUCE;
        p->last_error = 0;
    }
    outlet_leave(s);
    return refused;
}

int outlet_bury_in(outlet_t *s, const char *topic) {
    outlet_enter(s);
    const int failed = sender_change_topic(s, topic);
    outlet_leave(s);
    return failed;
}

void outlet_forget_letters(outlet_t *s) {
    outlet_enter(s);
    if (s->config.transactional)
        sender_drop(s);
    outlet_leave(s);
}

int outlet_discard(outlet_t *s) {
    outlet_enter(s);
    const int refused = take_topic_away(s);
    if (refused == 0)
        s->orders.flow = FLOW_DISCARD;
    outlet_leave(s);
    return refused;
}

void outlet_hold(outlet_t *s) {
    outlet_enter(s);
    s->orders.flow = FLOW_HOLD;
    outlet_leave(s);
}

void outlet_attach(outlet_t *s, int stdout_fd) {
    outlet_enter(s);
    framer_begin_run(s);
    progress_attach(&s->progress, stdout_fd);
    outlet_leave(s);
}

void outlet_read_to_end(outlet_t *s) {
    outlet_enter(s);
    s->framer.to_the_end = true;
    outlet_leave(s);
}

size_t outlet_finish(outlet_t *s, bool keep_lines, bool keep_tail) {
    outlet_enter(s);
    progress_detach(&s->progress);
    const size_t tail = framer_end_run(s, keep_lines, keep_tail);
    outlet_leave(s);
    return tail;
}

void outlet_abandon(outlet_t *s) {
    outlet_enter(s);
    s->producer.abandoning = true;
    producer_drop_pending(s);
    producer_drop_returned(s);
    s->producer.retry_at_ns = 0;
    splitter_end(&s->splitter);
    framer_abandon_kept(s);
    rdk.purge(s->producer.rk, RDK_PURGE_QUEUE_AND_INFLIGHT | RDK_PURGE_NON_BLOCKING);
    outlet_leave(s);
}

void outlet_abort(outlet_t *s) {
    outlet_enter(s);
    transaction_give_up(s);
    outlet_leave(s);
}

int outlet_log_in_with(outlet_t *s, const char *user, const char *password) {
    outlet_enter(s);
    int failed = client_log_in_with(&s->client, s->producer.rk, user, password);
    outlet_leave(s);
    return failed;
}

bool outlet_voided(const outlet_t *s) { return cut_state(&s->progress.cut) == CUT_VOID; }

void outlet_stop(outlet_t *s, int64_t within_ns) {
    outlet_enter(s);
    s->orders.stop_deadline_ns = monotonic_ns() + within_ns;
    s->orders.stopping = true;
    outlet_leave(s);
}
