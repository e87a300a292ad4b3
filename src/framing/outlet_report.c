#include "outlet_report.h"

#include "outlet.h"

const char *const outlet_counter_names[] = {
#define X(name) #name,
    OUTLET_COUNTERS(X)
#undef X
};

void outlet_publish(outlet_t *s) {
    const outlet_counts_t *c = &s->counts;
    const outlet_counters_t now = {
        .lines_read = c->lines_read,
        .markers_echoed = c->markers_echoed,
        .bytes_read = c->bytes_read,
        .lines_delivered = c->lines_delivered,
        .bytes_produced = c->bytes_produced,
        .lines_discarded = c->lines_discarded,
        .lines_oversize = c->lines_oversize,
        .lines_unproducible = c->lines_unproducible,
        .lines_abandoned = c->lines_abandoned,
        .lines_lost = c->lines_lost,
        .lines_not_json = c->lines_not_json,
        .lines_repaired = c->lines_repaired,
        .lines_with_nul = c->lines_with_nul,
        .retries = c->retries,
        .undelivered = outlet_undelivered(s),
        .kept_bytes = framer_kept(s),
        .last_error = s->producer.last_error,
        .dead_letters_delivered = s->sender.delivered,
        .dead_letter_error = s->sender.error,
        .dead_letters_waiting = sender_waiting(s),
        .dead_letters_in_flight = s->sender.flying,
        .clients_renewed = s->producer.renewals,
        .transaction_open = s->transaction.open,
        .transactions_committed = s->transaction.commits,
        .transactions_aborted = s->transaction.aborts,
        .lines_since_marker = s->framer.unmarked,
        .output_full = s->full,
        .output_full_ns = c->full_ns,
        .slabs_live = s->delivery.slabs_live,
        .slab_bytes = (int64_t)s->delivery.slab_bytes,
        .returned_bytes = (int64_t)(s->producer.returned.capacity * sizeof(rd_kafka_message_t)),
        .key_bytes = keys_held(&s->progress.keys),
        .reads = c->reads,
        .brokers_up = s->client.brokers_up,
        .notices_dropped = (int64_t)s->client.notices.dropped,
        .throttles = s->client.throttle.count,
        .throttled_ms = s->client.throttle.asked_ms,
        .throttled_last_ms = s->client.throttle.last_ms,
        .throttled_broker = s->client.throttle.last_broker,
        .window_bytes = s->producer.throttle.limits ? s->producer.throttle.window_bytes : 0,
        .full_since_ns = s->full ? s->full_since_ns : 0,
        .call_since_ns = s->call.since_ns,
    };
    counters_publish(&s->published, (const int64_t *)&now, OUTLET_COUNTER_COUNT);
}

void outlet_read_counters(outlet_t *s, int64_t *counters) {
    counters_read(&s->published, counters, OUTLET_COUNTER_COUNT);
}

void outlet_lock(outlet_t *s) {
    turnstile_enter_loop(&s->gate);
    notices_hold(&s->client.notices);
}

void outlet_unlock(outlet_t *s) {
    outlet_publish(s);
    notices_show(&s->client.notices);
    turnstile_leave(&s->gate);
}

void outlet_enter(outlet_t *s) { turnstile_enter_caller(&s->gate); }

void outlet_leave(outlet_t *s) {
    outlet_publish(s);
    turnstile_leave(&s->gate);
    wake(s->wake_fd);
}
