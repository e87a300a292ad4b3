/* simulate SEEDS [--from N] [--loud] [--steps N]: so many runs, each of its own seed: a mode, a Calculator and a trouble by
 * chance. Prints what was counted, or the run that broke a promise, and exits 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "calculator.h"
#include "kernels.h"
#include "librdkafka.h"
#include "live.h"
#include "model.h"
#include "pipes.h"
#include "relay.h"

static int64_t total_events, kills, stops;
static bool kill_asked, stop_wanted;
static int64_t records_wanted, kill_every_s;
static int64_t longest_ns; /* from the last trouble to the end */

enum { CALM_S = 1500 };

static void produce(void *subject) {
    int64_t left = records_wanted;
    for (int64_t n = spread(1, 300); n > 0 && left > 0; n--, left--) {
        int partition = (int)chance((uint64_t)topic_in.partitions);
        log_t *log = &topic_in.logs[partition];
        char value[2100];
        if (one_in(60)) {
            log_append(&topic_in, partition, NULL, 0, 0);
            if (one_in(2))
                log->records[log->count - 1].control = true;
            continue;
        }
        size_t padding = one_in(20) ? chance(2000) : chance(40);
        int size = snprintf(value, sizeof value, "%d-%lld:", partition, (long long)log->count);
        memset(value + size, 'x', padding);
        if (padding > 0 && one_in(30))
            value[size + (int)chance(padding)] = '\n';
        log_append(&topic_in, partition, value, (size_t)size + padding, 0);
    }
    records_wanted = left;
    if (left > 0)
        world_at(OF_BROKERS, world_now_ns() + spread(0, 2 * SECOND), produce, subject);
}

static void others(void *subject) {
    if (!calm)
        others_handle();
    world_at(OF_BROKERS, world_now_ns() + spread(0, 5 * SECOND), others, subject);
}

static void ask_kill(void *subject) {
    (void)subject;
    if (one_in(3))
        stop_wanted = true;
    else
        kill_asked = true;
}

static bool phase_over(void) { return kill_asked || stop_wanted || relay_is_over(); }
static bool all_done(void) { return records_wanted == 0 && promises_at_end(); }

static void settings_by_chance(void) {
    static const struct {
        guarantee_t guarantee;
        ack_mode_t mode;
    } modes[] = {{AT_LEAST_ONCE, BY_DEMAND}, {AT_LEAST_ONCE, BY_LINE}, {AT_LEAST_ONCE, BY_MARKER},
                 {AT_MOST_ONCE, BY_LINE},    {EXACTLY_ONCE, BY_LINE},  {EXACTLY_ONCE, BY_MARKER},
                 {AT_MOST_ONCE, BY_DEMAND}};
    size_t mode = chance(sizeof modes / sizeof *modes);
    bool dead_letters = one_in(2);
    promises_begin(&(promise_settings_t){modes[mode].guarantee, modes[mode].mode, dead_letters});
    broker_begin(&(broker_settings_t){
        .in_partitions = 1 + (int)chance(PARTITIONS_MAX),
        .out_partitions = 1 + (int)chance(PARTITIONS_MAX),
        .trouble = one_in(3) ? 0 : 5 + (unsigned)spread(0, 200),
        .max_record_bytes = one_in(3) ? 2000 : 0,
        .rebalances_s = one_in(3) ? 0 : 1 + (unsigned)chance(20),
    });
    calculator_settings = (calculator_settings_t){
        .work_ns = one_in(2) ? 0 : spread(0, one_in(10) ? SECOND : 20 * MILLISECOND),
        .crash = one_in(2) ? 0 : 20 + (unsigned)spread(0, 3000),
        .block_bytes = one_in(2) ? 65536 : 1 + chance(9000),
        .prefix = promised.mode == BY_MARKER ? "#mark " : NULL,
        .poison_partition = dead_letters && one_in(2) ? (int)chance((uint64_t)topic_in.partitions) : -1,
        .poison_offset = spread(0, 300),
    };
    relay_settings = (relay_settings_t){
        .max_records = 4 + spread(0, 2000),
        .max_bytes = 4096 + spread(0, 1 << 20),
        .pipe_bytes = 4096U << chance(5),
        .grace_ns = spread(SECOND / 10, 5 * SECOND),
        .orders_s = one_in(3) ? 0 : 1 + (unsigned)chance(30),
    };
    records_wanted = 200 + spread(0, 4000);
    kill_every_s = one_in(3) ? 0 : 1 + spread(0, 60);
}

static void run_once(uint64_t seed) {
    static const char *const guarantees[] = {"at-least-once", "at-most-once", "exactly-once"};
    static const char *const modes[] = {"demand", "line", "marker"};
    world_begin(seed);
    pipes_begin();
    memory_drop();
    settings_by_chance();
    librdkafka_begin();
    world_say("%s, %s, %lld records", guarantees[promised.guarantee], modes[promised.mode], (long long)records_wanted);
    world_at(OF_BROKERS, 0, produce, NULL);
    world_at(OF_BROKERS, 0, others, NULL);
    int64_t began_ns = world_now_ns();
    kill_asked = stop_wanted = false;
    for (int ends = 0; kill_every_s > 0 && ends < 6 && world_now_ns() < began_ns + 200 * SECOND;) {
        relay_start();
        world_at(OF_BROKERS, world_now_ns() + spread(0, 2 * kill_every_s * SECOND), ask_kill, NULL);
        if (world_run(phase_over, began_ns + 400 * SECOND))
            ends++;
        if (stop_wanted) {
            relay_stop();
            if (!world_run(relay_is_over, world_now_ns() + 900 * SECOND))
                world_fail("it does not stop");
            stops++;
        }
        if (!relay_is_over())
            relay_kill(), kills++;
        librdkafka_killed();
        kill_asked = stop_wanted = false;
    }
    relay_start();
    world_run(all_done, world_now_ns() + spread(0, 60) * SECOND);
    librdkafka_calm();
    broker.trouble = 0;
    calculator_settings.crash = calculator_settings.surplus = 0;
    calculator_settings.poison_partition = -1;
    world_say("calm");
    int64_t calm_ns = world_now_ns();
    if (!world_run(all_done, calm_ns + CALM_S * SECOND)) {
        promises_say();
        relay_say();
        world_fail("no progress: not everything is committed %lld s after the last trouble",
                   (long long)((world_now_ns() - calm_ns) / SECOND));
    }
    if (world_now_ns() - calm_ns > longest_ns)
        longest_ns = world_now_ns() - calm_ns;
    relay_stop();
    if (!world_run(relay_is_over, world_now_ns() + 900 * SECOND))
        world_fail("it does not stop");
    world_kill(OF_SUPERVISOR);
    librdkafka_killed();
    total_events += world_events();
}

int main(int argc, char **argv) {
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 0) : 100, from = 1;
    int64_t seconds = 0;
    struct timespec began, now;
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
            from = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtoll(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--loud") == 0)
            world_loud = true;
    kernels_select(cpu_best_isa());
    clock_gettime(CLOCK_MONOTONIC, &began);
    uint64_t done = 0;
    for (; done < seeds; done++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (seconds > 0 && now.tv_sec - began.tv_sec >= seconds)
            break;
        run_once(from + done);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    double took = (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
    printf("%llu runs, %lld events, %.0f a second; %lld kills, %lld stops; %lld records committed, %lld lines out, "
           "%lld again; "
           "longest way to the end %lld s\n",
           (unsigned long long)done, (long long)total_events, (double)total_events / took, (long long)kills,
           (long long)stops, (long long)promise_counts.committed, (long long)promise_counts.shown,
           (long long)promise_counts.doubled, (long long)(longest_ns / SECOND));
    return 0;
}
