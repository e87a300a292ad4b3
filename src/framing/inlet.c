#include "inlet.h"

#include <errno.h>
#include <stdlib.h>

#include "client_disposal.h"
#include "inlet_letters.h"
#include "live.h"
#include "minmax.h"

#define WRITES_A_ROUND 16            /* before anything else is looked at */
#define IDLE_TIMEOUT_MS 500          /* consumer_poll at least twice a second, well inside max.poll.interval.ms */
#define STORE_INTERVAL_NS (100 * MS) /* acknowledged offsets are handed to librdkafka, which commits them */

/* Take, look and write by turns, as long as more can be written at once. Returns whether more could be after all of it. */
static bool take_and_write(inlet_t *s, int64_t now_ns) {
    const ack_policy_t *ack = s->config.ack;
    const commit_policy_t *commit = s->config.commit;
    for (int i = 0; i < WRITES_A_ROUND; i++) {
        consumer_acknowledge(s);
        consumer_take(s);
        if (commit->before_write != NULL)
            commit->before_write(s, now_ns);
        stdin_look(s);
        if (ack->sample != NULL)
            ack->sample(s);
        if (!stdin_write(s, now_ns))
            return false;
    }
    return true;
}

/* What is due by now, after the writing. */
static void settle(inlet_t *s, int64_t now_ns) {
    stdin_note_full(s, now_ns);
    if (ack_is_urgent(s)) /* else what is delivered is looked at every STORE_INTERVAL_NS: each wake-up costs */
        progress_inlet_waits(s->progress);
    consumer_acknowledge(s);
    progress_set_window_full(s->progress, s->ledger.cursor == s->ledger.tail && ledger_room(&s->ledger) <= 0);
    consumer_revoke_due(s, now_ns);
    if (now_ns >= s->consumer.next_store_ns && s->attempts.careful_until == 0) {
        consumer_store(s);
        s->consumer.next_store_ns = now_ns + STORE_INTERVAL_NS;
        attempts_stored(s);
    }
    if (now_ns >= s->report.next_lag_ns)
        report_lag(s, now_ns);
    if (s->run.closing && s->ledger.cursor_bytes == 0 && !commit_owes_lines(s) && !marker_is_missing(s))
        stdin_close(s);
}

/* The earlier of two times from now, of which 0 is none. */
static int64_t sooner(int64_t wait_ns, int64_t in_ns) { return in_ns > 0 ? min_i64(wait_ns, in_ns) : wait_ns; }

/* How long nothing is due, if no event comes before. */
static int64_t idle_ns(const inlet_t *s, int64_t now_ns) {
    int64_t wait_ns = IDLE_TIMEOUT_MS * MS;
    wait_ns = sooner(wait_ns, stdin_again_ns(s));
    wait_ns = sooner(wait_ns, attempts_due_ns(s, now_ns));
    if (s->ledger.head < s->ledger.cursor)
        wait_ns = min_i64(wait_ns, STORE_INTERVAL_NS);
    if (s->counts.acknowledged != s->report.lag_acknowledged)
        wait_ns = min_i64(wait_ns, max_i64(0, s->report.next_lag_ns - now_ns));
    if (s->consumer.revoking != NULL)
        wait_ns = min_i64(wait_ns, max_i64(0, s->consumer.revoke_deadline_ns - now_ns));
    return start_offsets_due_ns(s, now_ns, wait_ns);
}

/* Everything that can be done without waiting. Returns the milliseconds to wait for events, -1 to end. */
static int round_of(inlet_t *s) {
    const commit_policy_t *commit = s->config.commit;
    const int64_t now_ns = monotonic_ns();
    s->counts.rounds++;
    consumer_serve(s);
    if (s->orders.stopping)
        return -1;
    start_offsets_look(s, now_ns);
    identity_look(s, now_ns);
    attempts_look(s, now_ns);
    inlet_post_letters(s);
    const bool used_up = take_and_write(s, now_ns);
    inlet_post_letters(s); /* again: of those that were just passed over */
    const int64_t watch_ns = s->config.ack->watch(s, now_ns);
    const int64_t commit_ns = commit->after_write != NULL ? commit->after_write(s, now_ns) : 0;
    settle(s, now_ns);
    if (used_up || consumer_takes_more(s))
        return 0;
    const int64_t wait_ns = sooner(sooner(idle_ns(s, now_ns), watch_ns), commit_ns);
    return (int)((wait_ns + MS - 1) / MS);
}

/* The Calculator closed its STDIN, if it is still the one of this run. */
static void stdin_reported_broken(inlet_t *s, unsigned run) {
    inlet_lock(s);
    if (s->run.number == run && inlet_may_write(s))
        stdin_broke(s, 0);
    inlet_unlock(s);
}

void inlet_run(inlet_t *s) {
    struct pollfd waits[2] = {{.fd = s->wake_fd, .events = POLLIN}};
    sys.thread_name("inlet");
    progress_set_inlet(s->progress, s->wake_fd); /* not before: until then another one may be at work */
    bool joined = false;
    for (;;) {
        inlet_lock(s);
        if (!joined && !s->orders.join_later && !s->orders.stopping) {
            joined = true;
            inlet_unlock(s);
            consumer_subscribe(s);
            inlet_lock(s);
        }
        const int timeout_ms = round_of(s);
        /* Without POLLOUT the second one still reports POLLERR: the Calculator closed its STDIN. */
        waits[1] =
            (struct pollfd){.fd = inlet_may_write(s) ? s->writer.fd : -1, .events = s->writer.blocked ? POLLOUT : 0};
        const unsigned run = s->run.number;
        inlet_unlock(s);
        if (timeout_ms < 0)
            break;
        if (timeout_ms == 0)
            continue;
        sys.poll(waits, 2, timeout_ms);
        if (waits[0].revents & POLLIN)
            drain_wakes(s->wake_fd);
        if (waits[1].revents & POLLERR)
            stdin_reported_broken(s, run);
    }
    consumer_close(s);
    inlet_notice(s, NOTICE_CLOSED, 0, "");
}

inlet_t *inlet_new(void) {
    inlet_t *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    live_add(LIVE_objects, 1);
    s->writer.fd = s->writer.leftover_fd = s->wake_fd = -1;
    client_init(&s->client);
    return s;
}

int inlet_open(inlet_t *s, int64_t max_records, int64_t max_bytes) {
    s->demand.idle_ns = s->config.idle_ns;
    s->ahead.target = -1;
    s->attempts.max_attempts = 1000000; /* until it is told */
    if (notices_open(&s->client.notices) != 0)
        return -1;
    turnstile_open(&s->gate);
    lag_open(&s->report.lag);
    s->consumer.taken = malloc(TAKE_BATCH * sizeof *s->consumer.taken);
    s->writer.iov = malloc(IOV_BATCH * sizeof *s->writer.iov);
    if (s->consumer.taken == NULL || s->writer.iov == NULL ||
        ledger_open(&s->ledger, max_records, max_bytes, s->config.ack->count) != 0) {
        errno = ENOMEM;
        return -1;
    }
    ledger_keep_from(&s->ledger, s->progress->marker.prefix, s->progress->marker.size);
    s->wake_fd = wake_open();
    return s->wake_fd < 0 ? -1 : 0;
}

void inlet_free(inlet_t *s) {
    if (s->start.pending != NULL)
        rdk.topic_partition_list_destroy(s->start.pending);
    ledger_close(&s->ledger);
    lag_close(&s->report.lag);
    free(s->attempts.partitions);
    free(s->consumer.taken);
    free(s->writer.iov);
    close_if_open(s->writer.fd);
    close_if_open(s->writer.leftover_fd);
    close_if_open(s->wake_fd);
    client_free(&s->client);
    free(s);
    live_add(LIVE_objects, -1);
}

/* The client's threads may use what is freed until it is destroyed. */
static void *dispose(void *opaque) {
    inlet_t *s = opaque;
    consumer_dispose(s);
    inlet_free(s);
    return NULL;
}

void inlet_dispose(inlet_t *s) {
    if (s->consumer.rk == NULL)
        inlet_free(s);
    else /* it never ran */
        dispose_in_background(dispose, s);
}
