/* The two threads of the data path on the real librdkafka, with the orders that the control side gives them, and no Python:
 * so that a checker of threads sees every access of ours.
 *
 * Usage: driver LIBRDKAFKA BOOTSTRAP GUARANTEE ACK_MODE RECORDS SECONDS SEED
 *
 * Brings RECORDS records of the topic "in" through `cat` into the topic "out", while runs are killed, paused and restarted for
 * SECONDS. Prints one line of counters, exit status 0, when all are acknowledged and both threads have ended.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "consumer.h"
#include "inlet.h"
#include "inlet_orders.h"
#include "outlet.h"
#include "outlet_orders.h"

#define MILLISECOND 1000000LL
#define SECOND 1000000000LL
#define PATIENCE_NS (60 * SECOND) /* a checker makes everything some ten times slower */

static inlet_t *inlet;
static outlet_t *outlet;
static pthread_t inlet_thread, outlet_thread;
static pid_t child;
static bool run_attached, run_exited, stdout_ended, eof_given, paused, exactly_once, asked_to_end;
static unsigned seed;
static int64_t kills, orders;

static unsigned chance(unsigned n) { return (unsigned)rand_r(&seed) % n; }

static void fail(const char *what, ...) {
    va_list list;
    va_start(list, what);
    vfprintf(stderr, what, list);
    va_end(list);
    fputc('\n', stderr);
    _exit(1);
}

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

static void kill_child(void) {
    if (child > 0)
        kill(child, SIGKILL);
}

static void take_notices(void) {
    notice_t notice;
    while (notice_take(&inlet->client.notices, &notice)) {
        if (notice.kind == NOTICE_FATAL || notice.kind == NOTICE_REPLACED)
            fail("the consumer gave up: %s", notice.text);
        if (notice.kind == NOTICE_PROTOCOL && run_attached && !run_exited)
            fail("cat broke the rule of its acknowledgement: %s", notice.text);
    }
    while (notice_take(&outlet->client.notices, &notice)) {
        if (notice.kind == NOTICE_STDOUT_ENDED)
            stdout_ended = true;
        if (notice.kind == NOTICE_ABORTED) {
            if (!run_attached)
                inlet_forget(inlet);
            else if (outlet_voided(outlet) && !run_exited && !inlet_recall(inlet))
                kill_child();
        }
    }
}

static void look_around(int ms) {
    struct pollfd waits[] = {{.fd = inlet->client.notices.wake_fd, .events = POLLIN},
                             {.fd = outlet->client.notices.wake_fd, .events = POLLIN}};
    uint64_t woken;
    poll(waits, 2, ms);
    for (int i = 0; i < 2; i++)
        if (waits[i].revents & POLLIN && read(waits[i].fd, &woken, sizeof woken) < 0 && errno != EAGAIN)
            fail("the eventfd of notices cannot be read: %s", strerror(errno));
    take_notices();
    inlet_now();
    outlet_now();
}

static void start_run(void) {
    int to_child[2], from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0)
        fail("no pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) {
        dup2(to_child[0], 0);
        dup2(from_child[1], 1);
        setsid();
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(to_child[0]);
    close(from_child[1]);
    fcntl(to_child[1], F_SETFL, O_NONBLOCK);
    fcntl(from_child[0], F_SETFL, O_NONBLOCK);
    take_notices();
    run_attached = true;
    run_exited = stdout_ended = eof_given = asked_to_end = false;
    outlet_attach(outlet, from_child[0]);
    inlet_attach(inlet, to_child[1], child);
}

static void end_run(int status) {
    const int64_t end_ns = monotonic_ns() + PATIENCE_NS;
    child = 0;
    run_exited = true;
    inlet_exited(inlet);
    outlet_read_to_end(outlet);
    if (paused) { /* what fits no buffer stays in the pipe while lines are held */
        paused = false;
        inlet_pause(inlet, false);
        outlet_produce_to(outlet, "out");
    }
    while (!stdout_ended) {
        if (monotonic_ns() > end_ns)
            fail("the end of STDOUT is not told");
        look_around(100);
    }
    const bool in_order = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    outlet_finish(outlet, !exactly_once, in_order);
    const bool broke_rule = inlet_broke_rule(inlet);
    take_notices();
    inlet_counters_t in = inlet_now();
    if (exactly_once && (in.rule_broken || (in.unacknowledged > 0 && outlet_now().lines_since_marker > 0)))
        outlet_abort(outlet);
    if (broke_rule)
        fail("cat is said to have broken the rule of its acknowledgement");
    inlet_detach(inlet, in_order && eof_given);
    run_attached = false;
}

/* Look around for so long; runs that end are followed by others, unless the last was asked to end. */
static void go_on_for(int ms) {
    int status;
    look_around(ms);
    if (run_attached && child > 0 && waitpid(child, &status, WNOHANG) == child) {
        end_run(status);
        if (!asked_to_end)
            start_run();
    }
}

static bool delivered(void) {
    outlet_counters_t now = outlet_now();
    return now.undelivered == 0 && !now.transaction_open && now.kept_bytes == 0;
}

static bool drained(void) { return inlet_now().unacknowledged == 0 && delivered(); }

static void until(bool (*condition)(void), const char *what) {
    const int64_t end_ns = monotonic_ns() + PATIENCE_NS;
    while (!condition()) {
        if (monotonic_ns() > end_ns)
            fail("not %s after %lld s: %lld in flight, %lld unacknowledged, %lld undelivered", what,
                 (long long)(PATIENCE_NS / SECOND), (long long)inlet_now().in_flight_records,
                 (long long)inlet_now().unacknowledged, (long long)outlet_now().undelivered);
        go_on_for(5);
    }
}

static void pause_or_go_on(void) {
    paused = !paused;
    inlet_pause(inlet, paused);
    if (paused)
        outlet_hold(outlet);
    else
        outlet_produce_to(outlet, "out");
}

static bool run_is_over(void) { return !run_attached; }

static void end_in_order(void) {
    asked_to_end = eof_given = true;
    inlet_close_stdin(inlet);
    until(run_is_over, "ended at the end of its input");
}

static void order(void) {
    orders++;
    switch (chance(4)) {
    case 0:
        if (paused)
            pause_or_go_on();
        inlet_drain(inlet, true);
        until(drained, "drained");
        end_in_order();
        start_run();
        inlet_drain(inlet, false);
        break;
    case 1:
        kills++;
        kill_child();
        break;
    default:
        pause_or_go_on();
    }
}

static void add(properties_t *properties, const char *name, const char *value) {
    if (properties_add(properties, name, value) != 0)
        fail("no memory");
}

static void make_outlet(const char *bootstrap, const char *guarantee, const char *mode) {
    char why[512];
    const bool marks = strcmp(mode, "marker") == 0;
    outlet_stream_t stream = {.workspace = "w",
                              .workspace_bytes = 1,
                              .marker_prefix = (const uint8_t *)(marks ? "#mark " : ""),
                              .marker_prefix_bytes = marks ? 6 : 0,
                              .max_slab_bytes = 4 << 20};
    outlet = outlet_new();
    outlet_config_t *c = &outlet->config;
    c->transactional = exactly_once;
    c->at_most_once = strcmp(guarantee, "at-most-once") == 0;
    c->max_line_bytes = 4096;
    c->max_message_bytes = 1000000;
    c->burst = burst_limits(10000, 1000000, 5);
    add(&c->properties, "bootstrap.servers", bootstrap);
    add(&c->properties, "linger.ms", HAND_OVER_MS);
    if (c->at_most_once)
        add(&c->properties, "message.send.max.retries", "0");
    else
        add(&c->properties, "enable.idempotence", "true");
    if (exactly_once)
        add(&c->properties, "transactional.id", "driver");
    if (outlet_open(outlet, &stream) != 0)
        fail("no outlet");
    if (!outlet_make_client(outlet, why, sizeof why))
        fail("no producer: %s", why);
}

static void make_inlet(const char *bootstrap, const char *guarantee, const char *mode) {
    char why[512];
    properties_t properties = {0};
    const bool at_least_once = strcmp(guarantee, "at-least-once") == 0;
    inlet = inlet_new();
    inlet->progress = &outlet->progress;
    inlet->config = (inlet_config_t){.topic = "in",
                                     .first_offset = RDK_OFFSET_BEGINNING,
                                     .idle_ns = SECOND,
                                     .feed_ahead_ns = 200 * MILLISECOND,
                                     .revoke_grace_ns = 5 * SECOND,
                                     .newlines = NEWLINES_SPACE,
                                     .ack = strcmp(mode, "demand") == 0 ? &ack_demand
                                            : strcmp(mode, "line") == 0 ? &ack_line
                                                                        : &ack_marker,
                                     .commit = exactly_once    ? &commit_exactly_once
                                               : at_least_once ? &commit_at_least_once
                                                               : &commit_at_most_once};
    if (inlet_open(inlet, 1000, 1 << 20) != 0)
        fail("no inlet");
    add(&properties, "bootstrap.servers", bootstrap);
    add(&properties, "group.id", "driver");
    add(&properties, "partition.assignment.strategy", "cooperative-sticky");
    add(&properties, "auto.offset.reset", "earliest");
    add(&properties, "enable.auto.offset.store", "false");
    add(&properties, "enable.auto.commit", at_least_once ? "true" : "false");
    if (consumer_open(inlet, &properties, why, sizeof why) != 0)
        fail("no consumer: %s", why);
    properties_free(&properties);
}

static void *run_inlet(void *subject) {
    inlet_run(subject);
    return NULL;
}

static void *run_outlet(void *subject) {
    outlet_run(subject);
    return NULL;
}

static int64_t records;

static bool all_done(void) { return inlet_now().acknowledged >= records && drained(); }

int main(int argc, char **argv) {
    char why[512];
    if (argc != 8)
        fail("driver LIBRDKAFKA BOOTSTRAP GUARANTEE ACK_MODE RECORDS SECONDS SEED");
    const char *bootstrap = argv[2], *guarantee = argv[3], *mode = argv[4];
    records = atoll(argv[5]);
    seed = (unsigned)atoi(argv[7]);
    exactly_once = strcmp(guarantee, "exactly-once") == 0;
    signal(SIGPIPE, SIG_IGN);
    if (dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) == NULL)
        fail("%s", dlerror());
    if (rdk_load(argv[1], why, sizeof why) != 0)
        fail("%s", why);
    make_outlet(bootstrap, guarantee, mode);
    make_inlet(bootstrap, guarantee, mode);
    outlet_produce_to(outlet, "out");
    pthread_create(&outlet_thread, NULL, run_outlet, outlet);
    pthread_create(&inlet_thread, NULL, run_inlet, inlet);
    start_run();
    const int64_t end_ns = monotonic_ns() + atoll(argv[6]) * SECOND;
    int64_t order_ns = monotonic_ns() + SECOND;
    while (monotonic_ns() < end_ns) {
        go_on_for(1 + (int)chance(20));
        if (monotonic_ns() >= order_ns) {
            order();
            order_ns = monotonic_ns() + (1 + (int64_t)chance(300)) * MILLISECOND;
        }
    }
    if (paused)
        pause_or_go_on();
    if (strcmp(guarantee, "at-most-once") == 0)
        until(drained, "drained");
    else
        until(all_done, "acknowledged");
    inlet_drain(inlet, true);
    end_in_order();
    inlet_stop(inlet, monotonic_ns() + 10 * SECOND);
    pthread_join(inlet_thread, NULL);
    outlet_forget_letters(outlet);
    outlet_stop(outlet, SECOND);
    pthread_join(outlet_thread, NULL);
    printf("%s/%s: %lld orders, %lld kills, %lld read, %lld acknowledged, %lld lines delivered\n", guarantee, mode,
           (long long)orders, (long long)kills, (long long)inlet_now().records_read,
           (long long)inlet_now().acknowledged, (long long)outlet_now().lines_delivered);
    inlet_dispose(inlet);
    outlet_dispose(outlet);
    return 0;
}
