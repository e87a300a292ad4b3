#include "relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calculator.h"
#include "model.h"
#include "consumer.h"
#include "inlet.h"
#include "inlet_orders.h"
#include "librdkafka.h"
#include "outlet.h"
#include "outlet_orders.h"
#include "pipes.h"

relay_settings_t relay_settings;

static inlet_t *inlet;
static outlet_t *outlet;
static bool over, stop_asked, run_attached, run_exited, stdout_ended, eof_given, fault_is_ours, paused;
static fiber_t *inlet_fiber, *outlet_fiber;
static int64_t next_order_ns;
/* poison_watch.py: the record that runs ended with */
static int suspect_partition, attempts;
static int64_t suspect_offset;

static bool exactly_once(void) { return promised.guarantee == EXACTLY_ONCE; }

static inlet_counters_t inlet_now(void) {
    inlet_counters_t counters;
    report_read(inlet, &counters);
    return counters;
}

static outlet_counters_t outlet_now(void) {
    outlet_counters_t counters;
    outlet_read_counters(outlet, (int64_t *)&counters);
    return counters;
}

/* ---- notices */

static bool has_notice(const notices_t *notices) { return notices->shown > 0; }

static void fail_run(const char *why) {
    world_say("the Calculator is killed: %s", why);
    calculator_kill(-9);
}

static void on_inlet_notice(const notice_t *notice) {
    if (notice->kind == NOTICE_PROTOCOL && run_attached && !run_exited)
        fail_run(notice->text);
    else if (notice->kind == NOTICE_FATAL || notice->kind == NOTICE_REPLACED)
        world_fail("the consumer gave up: %s", notice->text);
}

static void on_outlet_notice(const notice_t *notice) {
    if (notice->kind == NOTICE_STDOUT_ENDED) {
        stdout_ended = true;
    } else if (notice->kind == NOTICE_ABORTED) {
        world_say("aborted: %s", notice->text);
        if (!run_attached) {
            inlet_forget(inlet);
        } else if (outlet_voided(outlet) && !run_exited && !inlet_recall(inlet)) {
            fault_is_ours = true;
            fail_run("the transaction was aborted");
        }
    }
}

static void take_notices(void) {
    notice_t notice;
    while (notice_take(&inlet->client.notices, &notice))
        on_inlet_notice(&notice);
    while (notice_take(&outlet->client.notices, &notice))
        on_outlet_notice(&notice);
}

/* The loop's wait: until something is told, the Calculator has ended, or it is time. */
static bool something(void *subject) {
    (void)subject;
    return has_notice(&inlet->client.notices) || has_notice(&outlet->client.notices) ||
           (run_attached && !run_exited && !calculator.running);
}

static void go_on(bool on) {
    paused = !on;
    world_say("order: %s", paused ? "pause" : "go on");
    inlet_pause(inlet, paused);
    if (paused)
        outlet_hold(outlet);
    else
        outlet_produce_to(outlet, "out");
}

static void look_around(int64_t ns) {
    world_wait(something, NULL, world_now_ns() + ns);
    take_notices();
    if (paused && (calm || one_in(20)))
        go_on(true);
}

/* ---- runs */

static void start_run(void) {
    int stdin_fd, stdout_fd;
    calculator_start(relay_settings.pipe_bytes, &stdin_fd, &stdout_fd);
    take_notices(); /* a late one of the last run's end must not count for this one */
    run_attached = true;
    run_exited = stdout_ended = eof_given = false;
    outlet_attach(outlet, stdout_fd);
    inlet_attach(inlet, stdin_fd, calculator.pid);
}

static void take_stdout(void) {
    int64_t before = -1, end_ns = world_now_ns() + 20 * SECOND;
    outlet_read_to_end(outlet);
    while (!stdout_ended) {
        outlet_counters_t now = outlet_now();
        bool stuck = now.bytes_read == before && !now.output_full;
        before = now.bytes_read;
        int64_t until_ns = world_now_ns() + SECOND;
        while (!stdout_ended && world_now_ns() < until_ns)
            look_around(until_ns - world_now_ns());
        if (!stdout_ended && stop_asked && world_now_ns() > end_ns)
            return;
        if (!stdout_ended && stuck && !outlet_now().output_full && !paused && world_now_ns() > end_ns)
            world_fail("the end of STDOUT is not told");
    }
}

static void judge_failure(void) {
    int32_t partition;
    int64_t offset;
    if (!inlet_suspect(inlet, &partition, &offset))
        return;
    attempts = partition == suspect_partition && offset == suspect_offset ? attempts + 1 : 1;
    suspect_partition = partition;
    suspect_offset = offset;
    if (attempts == 2)
        inlet_isolate(inlet);
    else if (attempts > 3 && promised.dead_letters)
        inlet_bury(inlet, partition, offset, "it ends the Calculator each time");
    else if (attempts > 2)
        inlet_isolate(inlet);
}

static void end_run(void) {
    run_exited = true;
    inlet_exited(inlet);
    take_stdout();
    int status = calculator.status;
    bool in_time = stdout_ended;
    outlet_finish(outlet, in_time && !exactly_once(), status == 0 && stdout_ended);
    bool broke_rule = inlet_broke_rule(inlet);
    take_notices();
    if (exactly_once()) {
        inlet_counters_t in = inlet_now();
        if (in.rule_broken ||
            (promised.mode == BY_MARKER && in.unacknowledged > 0 && outlet_now().lines_since_marker > 0))
            outlet_abort(outlet);
    }
    int64_t again = inlet_detach(inlet, status == 0 && eof_given);
    world_say("run over, status %d, %lld records again", status, (long long)again);
    if (status != 0 && !fault_is_ours && !broke_rule)
        judge_failure();
    fault_is_ours = false;
    run_attached = false;
}

static bool delivered(void) {
    outlet_counters_t now = outlet_now();
    return now.undelivered == 0 && !now.transaction_open && now.kept_bytes == 0;
}

static bool drained(void) { return inlet_now().unacknowledged == 0 && delivered(); }

static void until(bool (*condition)(void), int64_t within_ns) {
    int64_t end_ns = world_now_ns() + within_ns;
    while (!condition() && world_now_ns() < end_ns) {
        look_around(5 * MILLISECOND);
        if (run_attached && !run_exited && !calculator.running) {
            end_run();
            if (!stop_asked)
                start_run();
        }
    }
}

/* Close STDIN, and wait for the Calculator's end. */
static void end_calculator(void) {
    if (!run_attached)
        return;
    eof_given = true;
    inlet_close_stdin(inlet);
    int64_t end_ns = world_now_ns() + relay_settings.grace_ns;
    while (calculator.running && world_now_ns() < end_ns)
        look_around(end_ns - world_now_ns());
    if (calculator.running)
        calculator_kill(-9);
    bool judged = fault_is_ours;
    fault_is_ours = true; /* it was asked to end */
    end_run();
    fault_is_ours = judged;
}

static void restart(void) {
    world_say("order: restart");
    inlet_drain(inlet, true);
    until(drained, relay_settings.grace_ns);
    end_calculator();
    if (!run_attached)
        start_run();
    inlet_drain(inlet, false);
}

static void order(void) {
    switch (chance(4)) {
    case 0:
        restart();
        break;
    case 1:
        world_say("order: kill the Calculator");
        calculator_kill(-11);
        break;
    default:
        go_on(paused);
    }
}

/* ---- the ends */

static void run_inlet(void *subject) { inlet_run(subject); }
static void run_outlet(void *subject) { outlet_run(subject); }

static void property(properties_t *properties, const char *name, const char *value) {
    properties_add(properties, name, value);
}

static void make_outlet(void) {
    static int number;
    char why[256], id[32];
    outlet_stream_t stream = {
        .workspace = "w", .workspace_bytes = 1, .marker_prefix = (const uint8_t *)"", .max_slab_bytes = 4 << 20};
    if (promised.mode == BY_MARKER) {
        stream.marker_prefix = (const uint8_t *)"#mark ";
        stream.marker_prefix_bytes = 6;
    }
    outlet = outlet_new();
    outlet->config.transactional = exactly_once();
    outlet->config.at_most_once = promised.guarantee == AT_MOST_ONCE;
    outlet->config.max_line_bytes = 4096;
    outlet->config.max_message_bytes = 1000000;
    outlet->config.burst = burst_limits(10000, 1000000, 5);
    if (promised.guarantee != AT_MOST_ONCE)
        property(&outlet->config.properties, "enable.idempotence", "true");
    snprintf(id, sizeof id, "t%d", ++number);
    if (exactly_once())
        property(&outlet->config.properties, "transactional.id", id);
    if (outlet_open(outlet, &stream) != 0)
        world_fail("no outlet");
    if (!outlet_make_client(outlet, why, sizeof why))
        world_fail("no producer: %s", why);
    if (promised.dead_letters)
        outlet_bury_in(outlet, "dead");
    outlet_produce_to(outlet, "out");
    outlet_fiber = fiber_begin(OF_SUPERVISOR, "outlet", run_outlet, outlet);
    fiber_keep(outlet_fiber, true);
}

static void make_inlet(void) {
    char why[256];
    properties_t properties = {0};
    inlet = inlet_new();
    inlet->progress = &outlet->progress;
    inlet->config = (inlet_config_t){
        .topic = "in",
        .first_offset = RDK_OFFSET_BEGINNING,
        .idle_ns = SECOND,
        .feed_ahead_ns = 200 * MILLISECOND,
        .revoke_grace_ns = relay_settings.grace_ns,
        .newlines = NEWLINES_SPACE,
        .propagate_key = false,
        .ack = promised.mode == BY_DEMAND ? &ack_demand
               : promised.mode == BY_LINE ? &ack_line
                                          : &ack_marker,
        .commit = promised.guarantee == AT_MOST_ONCE ? &commit_at_most_once
                  : exactly_once()                   ? &commit_exactly_once
                                                     : &commit_at_least_once,
    };
    if (inlet_open(inlet, relay_settings.max_records, relay_settings.max_bytes) != 0)
        world_fail("no inlet");
    if (promised.guarantee == AT_LEAST_ONCE)
        property(&properties, "enable.auto.commit", "true");
    if (consumer_open(inlet, &properties, why, sizeof why) != 0)
        world_fail("no consumer: %s", why);
    properties_free(&properties);
    inlet_judge_by(inlet, 3, promised.dead_letters);
    inlet_fiber = fiber_begin(OF_SUPERVISOR, "inlet", run_inlet, inlet);
    fiber_keep(inlet_fiber, true);
}

static bool both_over(void *subject) {
    (void)subject;
    return fiber_is_over(inlet_fiber) && fiber_is_over(outlet_fiber);
}

static bool settled(void) {
    inlet_counters_t now = inlet_now();
    return now.unacknowledged == now.unanswered && outlet_now().dead_letters_waiting == 0 && delivered();
}

static void stop(void) {
    world_say("stop");
    inlet_drain(inlet, true);
    end_calculator();
    until(settled, 10 * SECOND);
    inlet_stop(inlet, world_now_ns() + 5 * SECOND);
    int64_t end_ns = world_now_ns() + 5 * SECOND;
    while (!fiber_is_over(inlet_fiber) && world_now_ns() < end_ns)
        look_around(10 * MILLISECOND);
    outlet_forget_letters(outlet);
    outlet_stop(outlet, SECOND);
    if (!world_wait(both_over, NULL, world_now_ns() + 600 * SECOND))
        world_fail("a thread does not end");
    inlet_dispose(inlet);
    outlet_dispose(outlet);
    if (memory_held() > 0)
        world_fail("%zu bytes are left", memory_held());
    over = true;
    world_say("stopped");
}

static void main_loop(void *subject) {
    (void)subject;
    make_outlet();
    make_inlet();
    start_run();
    while (!stop_asked) {
        look_around(relay_settings.orders_s > 0 && next_order_ns > world_now_ns() ? next_order_ns - world_now_ns()
                                                                                  : SECOND);
        if (run_attached && !calculator.running) {
            end_run();
            if (one_in(2))
                look_around(spread(0, 2 * SECOND));
            start_run();
        }
        if (relay_settings.orders_s > 0 && world_now_ns() >= next_order_ns && !calm) {
            order();
            next_order_ns = world_now_ns() + spread(0, 2 * relay_settings.orders_s * SECOND);
        }
    }
    stop();
}

void relay_start(void) {
    over = stop_asked = run_attached = run_exited = paused = fault_is_ours = false;
    suspect_partition = -1;
    attempts = 0;
    next_order_ns = world_now_ns() + spread(0, relay_settings.orders_s * SECOND);
    calculator_begin();
    fiber_begin(OF_SUPERVISOR, "relay", main_loop, NULL);
}

bool relay_is_over(void) { return over; }
void relay_stop(void) { stop_asked = true; }

void relay_kill(void) {
    world_say("SIGKILL");
    librdkafka_killed();
    world_kill(OF_SUPERVISOR);
    calculator_kill(-9);
    world_kill(OF_CALCULATOR);
    pipes_killed(OF_SUPERVISOR);
    pipes_killed(OF_CALCULATOR);
    memory_drop();
    over = true;
}

void relay_say(void) {
    inlet_counters_t in = inlet_now();
    outlet_counters_t out = outlet_now();
    world_say(
        "inlet: assigned %lld, unplaced %lld, in flight %lld, unacknowledged %lld, unanswered %lld, carefully %lld, "
        "dead %lld",
        (long long)in.assigned_partitions, (long long)in.unplaced_partitions, (long long)in.in_flight_records,
        (long long)in.unacknowledged, (long long)in.unanswered, (long long)in.written_carefully,
        (long long)in.dead_in_flight);
    world_say("inlet: alone %lld, rule broken %lld, echo owed %lld, stdin full %lld, %s", (long long)in.written_alone,
              (long long)in.rule_broken, (long long)in.echo_owed, (long long)in.stdin_full,
              paused ? "paused" : "flows");
    world_say("outlet: undelivered %lld, open %lld, cut state %d, letters %lld, full %lld, error %lld",
              (long long)out.undelivered, (long long)out.transaction_open, cut_state(&outlet->progress.cut),
              (long long)out.dead_letters_waiting, (long long)out.output_full, (long long)out.last_error);
    world_say("run: attached %d, exited %d, running %d", run_attached, run_exited, calculator.running);
}
