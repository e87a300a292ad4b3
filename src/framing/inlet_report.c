#include "inlet_report.h"

#include "inlet.h"
#include "minmax.h"

#define LAG_INTERVAL_NS (100 * MS) /* the lag is worked out this often at most */
#define COUNTERS (sizeof(inlet_counters_t) / sizeof(int64_t))

_Static_assert(COUNTERS <= COUNTERS_MAX, "there is room for all counters");

void inlet_lock(inlet_t *s) {
    turnstile_enter_loop(&s->gate);
    notices_hold(&s->client.notices);
}

void inlet_unlock(inlet_t *s) {
    report_publish(s);
    notices_show(&s->client.notices);
    turnstile_leave(&s->gate);
}

void inlet_enter(inlet_t *s) { turnstile_enter_caller(&s->gate); }

void inlet_leave(inlet_t *s) {
    report_publish(s);
    turnstile_leave(&s->gate);
    wake(s->wake_fd);
}

void report_publish(inlet_t *s) {
    const ledger_t *l = &s->ledger;
    const bool begun = l->cursor_bytes > 0;
    int unread = 0;
    if (s->writer.fd >= 0)
        sys.unread_bytes(s->writer.fd, &unread);
    const inlet_counters_t now = {
        .assigned_partitions = s->consumer.assigned,
        .unplaced_partitions = s->start.pending != NULL ? s->start.pending->cnt : 0,
        .readable_partitions = s->report.readable,
        .records_read = s->counts.records_read,
        .bytes_read = s->counts.bytes_read,
        .tombstones = s->counts.tombstones,
        .values_changed = l->values_changed,
        .lines_written = s->counts.lines_written,
        .bytes_written = s->counts.bytes_written,
        .acknowledged = s->counts.acknowledged,
        .replayed = s->counts.replayed,
        .in_flight_records = l->tail - l->head,
        .in_flight_bytes = l->bytes,
        .unacknowledged = max_i64(l->cursor + begun, max_i64(s->ahead.committed, s->ahead.target)) - l->head,
        .unanswered = l->cursor - l->answered + begun,
        .protocol_violations = s->counts.rules_broken,
        .markers_written = l->count == LEDGER_COUNT_MARKERS ? l->mark : 0,
        .echo_owed = s->marker.echo_owed,
        .rule_broken = s->run.rule_broken,
        .written_alone = s->alone.until > 0,
        .written_carefully = s->attempts.careful_until > 0,
        .dead_in_flight = l->dead,
        .lines_in_flight = ledger_lines_in_flight(l),
        .stdin_unread_bytes = unread,
        .stdin_full = s->writer.full_since_ns > 0,
        .stdin_full_ns = s->counts.full_ns,
        .stdin_broken = s->writer.broken,
        .rounds = s->counts.rounds,
        .probes = s->counts.probes + s->demand.looks,
        .watch_note = s->run.attached ? demand_note(&s->demand) : 0,
        .feed_bytes = s->writer.feed.allowed_bytes,
        .brokers_up = s->client.brokers_up,
        .group_steady = s->client.group_steady,
        .notices_dropped = (int64_t)s->client.notices.dropped,
        .throttles = s->client.throttle.count,
        .throttled_ms = s->client.throttle.asked_ms,
        .throttled_last_ms = s->client.throttle.last_ms,
        .throttled_broker = s->client.throttle.last_broker,
        .full_since_ns = s->writer.full_since_ns,
    };
    counters_publish(&s->report.published, (const int64_t *)&now, (int)COUNTERS);
}

void report_read(inlet_t *s, inlet_counters_t *counters) {
    counters_read(&s->report.published, (int64_t *)counters, (int)COUNTERS);
}

void report_lag(inlet_t *s, int64_t now_ns) {
    inlet_report_t *report = &s->report;
    int32_t count = 0;
    if (lag_reserve(&report->lag, s->ledger.partition_count) != 0)
        return;
    report->readable = 0;
    for (int32_t i = 0; i < s->ledger.partition_count; i++) {
        const ledger_partition_t *p = &s->ledger.partitions[i];
        if (p->state == PARTITION_LOST)
            continue;
        lag_entry_t *entry = &report->lag.next[count++];
        int64_t low = -1;
        *entry = (lag_entry_t){.partition = i, .acknowledged = p->next_offset, .high = -1};
        rdk.get_watermark_offsets(s->consumer.rk, s->config.topic, i, &low, &entry->high);
        report->readable += entry->high >= 0;
    }
    lag_show(&report->lag, count);
    report->next_lag_ns = now_ns + LAG_INTERVAL_NS;
    report->lag_acknowledged = s->counts.acknowledged;
}
