/* Feeds a program by a pipe as the inlet does, acknowledges by the `demand` rule as it is shipped, and at every
 * acknowledgement compares with what the program has done: with its own log of handled lines, and with its STDOUT.
 *
 * Usage: driver [--seed N] [--steps N] [--seconds S] [--idle-ms MS] [--side LOG] [--no-out] [--no-ptrace] [--settle-s S]
 *               [--trickle] PROGRAM [ARGUMENT...]
 *
 * The program answers each line by the same line. Its log has a byte for each byte of the lines that it has handled; it is
 * written before the program comes back for more. Ends after that many acknowledgements or seconds, waits for the rest to be
 * acknowledged, and prints one JSON object. Its order of steps is that of inlet_round: how far STDIN was read, what time it
 * is, the feed, the rule, where STDOUT is, then the write.
 */
#include <getopt.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "ack_demand.h"
#include "child.h"
#include "feed.h"
#include "shares.h"
#include "ledger.h"
#include "outlet.h"
#include "weather.h"

#define MS 1000000LL
#define SECOND 1000000000LL
#define TAKE_BATCH 512
#define IOV_BATCH 1024
#define WRITES_A_ROUND 16
#define STORE_INTERVAL_NS (100 * MS)
#define IDLE_TIMEOUT_NS (500 * MS)
#define DRAIN_NS SECOND
#define SHOWN 5

typedef struct {
    int64_t steps;       /* acknowledgements */
    int64_t early;       /* of something that had not been done when it was acknowledged */
    int64_t worst_bytes; /* by so much */
    int64_t flow_steps;  /* moves of what the write marks alone say, while one process reads */
    int64_t flow_early;
    int64_t by_rest; /* acknowledgements at rest, among `steps` */
    int64_t drains, drained;
    int64_t longest_ns;   /* with something to acknowledge and no acknowledgement */
    int64_t in_hand_most; /* bytes read and not acknowledged */
    int64_t unread_most;
    int64_t looks;
} tally_t;

typedef struct {
    const char *side;
    bool out_counts, trickles;
    int64_t max_steps, end_ns, idle_ns, ahead_ns, settle_ns;
    child_t child;
    outlet_t outlet;
    weather_t weather;
    ledger_t ledger;
    feed_t feed;
    shares_t shares;
    demand_t demand;
    tally_t tally;
    int64_t began_ns;
    int64_t next_number;
    int64_t flow_seen;
    int64_t moved_ns; /* when something was acknowledged last, or when there was nothing to acknowledge */
    int64_t look_again_ns, looked_ns;
    int64_t drain_until_ns; /* 0: it does not drain */
    int unread_bytes;
    bool held_back, blocked, broken, over;
    struct iovec iov[IOV_BATCH];
} driver_t;

static int64_t side_bytes(const driver_t *d) {
    struct stat status;
    if (d->side == NULL)
        return INT64_MAX;
    return stat(d->side, &status) == 0 ? status.st_size : 0;
}

/* What the program has done for sure by now. */
static int64_t evidence(const driver_t *d, int64_t out_written) {
    const int64_t side = side_bytes(d);
    return d->out_counts && out_written < side ? out_written : side;
}

static void show_early(const driver_t *d, const char *rule, int64_t claimed, int64_t out_written) {
    fprintf(stderr,
            "early by %s at %.3f s: claims %lld, side %lld, out %lld, read %lld, written %lld; reader %d, arrival %d, "
            "urgent "
            "%d, restless %d, draining %d, marks passed %lld done %lld old %lld\n",
            rule, (double)(monotonic_ns() - d->began_ns) / 1e9, (long long)claimed,
            d->side ? (long long)side_bytes(d) : -1LL, (long long)out_written,
            (long long)(d->ledger.written - d->unread_bytes), (long long)d->ledger.written, (int)d->demand.reader,
            (int)d->weather.arrival, d->weather.urgent, d->weather.restless, d->drain_until_ns != 0,
            (long long)d->demand.marks.passed, (long long)d->demand.marks.done, (long long)d->demand.marks.old_read);
}

/* What is claimed to be done has to have been done: one look at what the program did. */
static void check(driver_t *d, bool at_rest) {
    const int64_t out_written = outlet_written(&d->outlet); /* as it goes into the ledger */
    ledger_fence(&d->ledger, out_written);
    const int64_t claimed = ledger_at(&d->ledger, d->ledger.answered - 1)->end;
    const int64_t done = evidence(d, out_written);
    d->tally.steps++;
    d->tally.by_rest += at_rest;
    d->moved_ns = d->looked_ns;
    if (done < claimed) {
        if (d->tally.early++ < SHOWN)
            show_early(d, at_rest ? "rest" : "flow", claimed, out_written);
        d->tally.worst_bytes = demand_max(d->tally.worst_bytes, claimed - done);
    }
}

/* The write marks say more often than the rule has time to ask who reads. */
static void check_flow(driver_t *d) {
    if (d->demand.by_rest || (d->demand.reader != PROBE_READER_ONE && d->demand.reader != PROBE_READER_UNSEEN_ONE) ||
        d->demand.marks.done <= d->flow_seen)
        return;
    d->flow_seen = d->demand.marks.done;
    const int64_t out_written = outlet_written(&d->outlet);
    /* Of a line that is not whole nothing can be said: only lines in the ledger are claimed. */
    int64_t claimed = 0;
    for (int64_t i = d->ledger.settled; i < d->ledger.cursor && ledger_at(&d->ledger, i)->end <= d->flow_seen; i++)
        claimed = ledger_at(&d->ledger, i)->end;
    d->tally.flow_steps++;
    const int64_t done = evidence(d, out_written);
    if (done < claimed && d->tally.flow_early++ < SHOWN)
        show_early(d, "marks", claimed, out_written);
}

static bool drains(const driver_t *d) { return d->drain_until_ns != 0 || d->over; }

static void take(driver_t *d) {
    static char line[LINE_MOST_BYTES];
    weather_arrive(&d->weather, monotonic_ns(), d->next_number);
    if (drains(d))
        return;
    while (d->ledger.tail - d->ledger.cursor < TAKE_BATCH && ledger_room(&d->ledger) > 0 &&
           d->next_number < d->weather.arrived) {
        const size_t size = line_of(d->next_number, line);
        uint8_t *record = malloc(size);
        if (record == NULL)
            fail("malloc");
        memcpy(record, line, size);
        ledger_append(&d->ledger, record, record, size, 0, 0, d->next_number++, NEWLINES_SPACE);
    }
}

static void settle(driver_t *d) {
    const int64_t sequence = ledger_settle(&d->ledger, atomic_load(&d->outlet.delivered));
    ledger_acknowledge(&d->ledger, sequence);
    while (d->ledger.head < d->ledger.settled)
        free(ledger_pop(&d->ledger)->record);
}

static void look_at_stdin(driver_t *d) {
    const uint64_t ticks = demand_samples(&d->demand);
    if (ioctl(d->child.in, FIONREAD, &d->unread_bytes) != 0)
        fail("FIONREAD");
    if (d->ledger.written > 0)
        demand_sampled(&d->demand, ticks, d->unread_bytes >= d->ledger.written);
    d->looked_ns = monotonic_ns();
    feed_look(&d->feed, d->looked_ns, d->ledger.written, d->ledger.written - d->unread_bytes);
}

static bool urgent(const driver_t *d) {
    return d->weather.urgent || drains(d) || (d->held_back && d->look_again_ns > 0 && demand_in_batches(&d->demand)) ||
           ledger_room(&d->ledger) <= d->ledger.max_records / 2;
}

static void sample(driver_t *d) {
    const demand_seen_t seen = {.now_ns = d->looked_ns,
                                .written = d->ledger.written,
                                .read = d->ledger.written - d->unread_bytes,
                                .whole = d->ledger.cursor_bytes == 0,
                                .out_written = d->unread_bytes == 0 ? outlet_written(&d->outlet) : 0,
                                .urgent = urgent(d)};
    d->look_again_ns = demand_look(&d->demand, &seen);
    check_flow(d);
    if (ledger_answer(&d->ledger, d->demand.done))
        check(d, d->demand.done > d->demand.marks.done);
    if (d->ledger.answered == d->ledger.cursor && d->ledger.cursor_bytes == 0)
        d->look_again_ns = 0;
    if (d->ledger.settled == d->ledger.cursor)
        d->moved_ns = d->looked_ns;
    d->tally.longest_ns = demand_max(d->tally.longest_ns, d->looked_ns - d->moved_ns);
    d->tally.unread_most = demand_max(d->tally.unread_most, d->unread_bytes);
    if (d->ledger.answered > 0)
        d->tally.in_hand_most =
            demand_max(d->tally.in_hand_most, seen.read - ledger_at(&d->ledger, d->ledger.answered - 1)->end);
    d->tally.looks++;
}

static int64_t fed_limit(driver_t *d, int64_t limit) {
    const int64_t written = d->ledger.written, read = written - d->unread_bytes;
    int64_t fed = limit;
    if (demand_in_shares(&d->demand)) {
        const int64_t share = shares_limit(&d->shares, d->looked_ns, d->ledger.cursor, written, d->unread_bytes == 0);
        fed = demand_max(d->ledger.cursor + (d->ledger.cursor_bytes > 0), demand_min(limit, share));
    }
    if (demand_in_batches(&d->demand))
        fed = ledger_fit(&d->ledger, fed, batches_room(&d->demand.batches, written), written == d->demand.batches.from,
                         IOV_BATCH);
    else if (!feed_is_full_speed(&d->feed))
        fed = ledger_fit(&d->ledger, fed, feed_room(&d->feed, written, read), d->unread_bytes == 0, IOV_BATCH);
    d->held_back = fed < limit && fed - d->ledger.cursor < IOV_BATCH;
    feed_holds_back(&d->feed, d->held_back || d->blocked, d->looked_ns, written, read);
    return fed;
}

/* Returns whether more can be written at once. */
static bool write_some(driver_t *d) {
    int64_t limit = drains(d) ? d->ledger.cursor + (d->ledger.cursor_bytes > 0) : d->ledger.tail;
    limit = fed_limit(d, limit);
    const int n = ledger_gather(&d->ledger, limit, d->iov, IOV_BATCH);
    if (n == 0) {
        d->blocked = false;
        return false;
    }
    demand_writes(&d->demand, d->ledger.written, d->looked_ns);
    const ssize_t wrote = writev(d->child.in, d->iov, n);
    if (wrote < 0) {
        d->blocked = errno == EAGAIN;
        d->broken = !d->blocked && errno != EINTR;
        return false;
    }
    d->blocked = false;
    ledger_written(&d->ledger, (size_t)wrote, limit);
    return true;
}

/* Everything that can be done without waiting. Returns in how many ns to go on. */
static int64_t turn(driver_t *d) {
    bool used_up = true;
    for (int i = 0; i < WRITES_A_ROUND && used_up; i++) {
        settle(d);
        take(d);
        look_at_stdin(d);
        sample(d);
        used_up = write_some(d);
    }
    settle(d);
    if (used_up)
        return 0;
    int64_t wait_ns = IDLE_TIMEOUT_NS;
    if (d->look_again_ns > 0)
        wait_ns = demand_min(wait_ns, d->look_again_ns);
    if (d->held_back && !demand_in_batches(&d->demand))
        wait_ns = demand_min(wait_ns, feed_again_ns(&d->feed, d->looked_ns));
    if (d->ledger.fence_count > 0 || d->ledger.answered > d->ledger.head)
        wait_ns = demand_min(wait_ns, STORE_INTERVAL_NS);
    if (!drains(d) && d->ledger.tail - d->ledger.cursor < TAKE_BATCH && d->weather.arrival != ARRIVE_FAST)
        wait_ns = demand_min(wait_ns, demand_max(0, d->weather.next_ns - d->looked_ns)); /* a record's arrival wakes */
    wait_ns = (wait_ns + MS - 1) / MS * MS;
    return d->weather.restless ? (int64_t)(draw_unit(&d->weather) * 300e3) : wait_ns;
}

static void wait_for(driver_t *d, int64_t ns) {
    struct pollfd waits[2] = {{.fd = d->outlet.wake_fd, .events = POLLIN},
                              {.fd = d->child.in, .events = d->blocked ? POLLOUT : 0}};
    const struct timespec most = {.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
    uint64_t wakes;
    if (ns > 0 && ppoll(waits, d->weather.restless ? 1 : 2, &most, NULL) > 0) {
        if (waits[0].revents != 0)
            (void)!read(d->outlet.wake_fd, &wakes, sizeof wakes);
        d->broken = d->broken || (waits[1].revents & POLLERR) != 0;
    }
}

/* The end of a phase: the next one, or a drain between the two. */
static void pass_phases(driver_t *d) {
    const int64_t now_ns = monotonic_ns();
    if (d->drain_until_ns != 0) {
        const bool done = d->ledger.answered == d->ledger.cursor && d->ledger.cursor_bytes == 0;
        d->tally.drained += done;
        if (done || now_ns >= d->drain_until_ns) {
            d->drain_until_ns = 0;
            weather_next_phase(&d->weather, now_ns);
        }
    } else if (now_ns >= d->weather.end_ns) {
        if (draw(&d->weather) % 4 == 0)
            atomic_store(&d->outlet.held_until_ns, now_ns + (int64_t)(draw_unit(&d->weather) * 150e6));
        if (d->weather.drains) {
            d->tally.drains++;
            d->drain_until_ns = now_ns + DRAIN_NS;
        } else {
            weather_next_phase(&d->weather, now_ns);
        }
    }
}

/* Feed until there are enough acknowledgements, from the first one on; a program that needs long to start may. */
static void feed(driver_t *d, int64_t run_ns) {
    const int64_t start_by_ns = monotonic_ns() + 30 * SECOND;
    weather_next_phase(&d->weather, monotonic_ns());
    d->end_ns = 0;
    while (!d->broken && d->tally.steps < d->max_steps) {
        const int64_t now_ns = monotonic_ns();
        if (d->end_ns == 0 && d->ledger.written > d->unread_bytes) {
            d->end_ns = now_ns + run_ns;
            d->moved_ns = now_ns;
            d->tally.longest_ns = 0;
        }
        if (d->end_ns != 0 ? now_ns >= d->end_ns : now_ns >= start_by_ns)
            break;
        wait_for(d, turn(d));
        pass_phases(d);
    }
}

/* Everything written so far has to be acknowledged in time, with nothing more coming or, where the last lines cannot be seen
 * to be done, with a line now and then. Returns how long it took, -1 if it was not. */
static int64_t wait_settled(driver_t *d) {
    const int64_t began_ns = monotonic_ns();
    const int64_t target = d->ledger.cursor + (d->ledger.cursor_bytes > 0);
    d->over = !d->trickles;
    d->drain_until_ns = 0;
    d->weather.restless = d->weather.urgent = false;
    weather_trickle(&d->weather, began_ns, d->next_number);
    while (!d->broken && d->settle_ns > 0 && d->ledger.settled < target) {
        if (monotonic_ns() - began_ns > d->settle_ns)
            return -1;
        wait_for(d, turn(d));
    }
    d->over = true; /* a line that was begun is finished */
    while (!d->broken && d->ledger.cursor_bytes > 0 && monotonic_ns() - began_ns <= d->settle_ns)
        wait_for(d, turn(d));
    return d->broken ? -1 : monotonic_ns() - began_ns;
}

/* EOF on STDIN: the program ends by itself, and all its answers are there. */
static bool wait_ended(driver_t *d) {
    const int64_t end_ns = d->settle_ns > 0 ? monotonic_ns() + 10 * SECOND : 0; /* 0: do not wait for it */
    close(d->child.in);
    while (monotonic_ns() < end_ns)
        if (child_ended(&d->child)) {
            d->child.pid = 0;
            break;
        } else {
            usleep(2000);
        }
    const bool ended = d->child.pid == 0;
    child_kill(&d->child);
    pthread_join(d->outlet.thread, NULL);
    return ended;
}

/* As an ordinary user: nothing of a process may be read that cannot be traced. */
static void drop_ptrace(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    if (syscall(SYS_capget, &header, caps) != 0)
        fail("capget");
    caps[0].effective &= ~(1u << CAP_SYS_PTRACE);
    caps[0].permitted &= ~(1u << CAP_SYS_PTRACE);
    caps[0].inheritable &= ~(1u << CAP_SYS_PTRACE);
    if (syscall(SYS_capset, &header, caps) != 0)
        fail("capset");
}

static void report(const driver_t *d, int64_t settled_ns, int64_t left_bytes, bool ended) {
    const tally_t *t = &d->tally;
    printf("{\"steps\": %lld, \"early\": %lld, \"worst_bytes\": %lld, \"by_rest\": %lld, \"flow_steps\": %lld, "
           "\"flow_early\": "
           "%lld, \"drains\": %lld, \"drained\": %lld, \"longest_ms\": %lld, \"in_hand_most\": %lld, \"unread_most\": "
           "%lld, ",
           (long long)t->steps, (long long)t->early, (long long)t->worst_bytes, (long long)t->by_rest,
           (long long)t->flow_steps, (long long)t->flow_early, (long long)t->drains, (long long)t->drained,
           (long long)(t->longest_ns / MS), (long long)t->in_hand_most, (long long)t->unread_most);
    printf("\"looks\": %lld, \"probes\": %lld, \"reader\": %d, \"rest_only\": %s, \"note\": %d, \"lines\": %lld, "
           "\"written\": "
           "%lld, \"acknowledged\": %lld, \"side\": %lld, \"out\": %lld, \"wrong_at\": %lld, \"settled_ms\": %lld, "
           "\"left_bytes\": %lld, "
           "\"broken\": "
           "%s, \"ended\": %s, \"seconds\": %.3f}\n",
           (long long)t->looks, (long long)d->demand.looks, (int)d->demand.reader, d->demand.by_rest ? "true" : "false",
           demand_note(&d->demand), (long long)d->ledger.cursor, (long long)d->ledger.written,
           (long long)d->ledger.settled, d->side ? (long long)side_bytes(d) : -1LL, (long long)d->outlet.position,
           (long long)d->outlet.wrong_at, settled_ns < 0 ? -1LL : (long long)(settled_ns / MS),
           (long long)left_bytes,
           d->broken ? "true" : "false", ended ? "true" : "false", (double)(monotonic_ns() - d->began_ns) / 1e9);
}

int main(int argc, char *argv[]) {
    static driver_t d = {.out_counts = true, .max_steps = INT64_MAX, .idle_ns = SECOND, .settle_ns = 10 * SECOND};
    static const struct option options[] = {
        {"seed", required_argument, NULL, 'r'},    {"steps", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'}, {"idle-ms", required_argument, NULL, 'i'},
        {"side", required_argument, NULL, 'l'},    {"no-out", no_argument, NULL, 'o'},

        {"no-ptrace", no_argument, NULL, 'p'},     {"settle-s", required_argument, NULL, 'e'},
        {"trickle", no_argument, NULL, 't'},       {0}};
    static const int64_t windows[] = {500, 5000, 50000};
    static const int64_t aheads[] = {200 * MS, 200 * MS, 20 * MS,
                                     5 * MS}; /* the shorter, the more to see of slow ones */
    double run_s = 2;
    int option;
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            d.weather.state = mix(strtoull(optarg, NULL, 10));
            break;
        case 'n':
            d.max_steps = strtoll(optarg, NULL, 10);
            break;
        case 's':
            run_s = atof(optarg);
            break;
        case 'i':
            d.idle_ns = strtoll(optarg, NULL, 10) * MS;
            break;
        case 'l':
            d.side = optarg;
            setenv("SIDE", optarg, 1);
            break;
        case 'o':
            d.out_counts = false;
            break;
        case 'p':
            drop_ptrace();
            break;
        case 't':
            d.trickles = true;
            break;
        case 'e':
            d.settle_ns = strtoll(optarg, NULL, 10) * SECOND;
            break;
        default:
            return 2;
        }
    }
    if (optind == argc)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    const int64_t window = windows[draw(&d.weather) % 3];
    d.ahead_ns = aheads[draw(&d.weather) % 4];
    if (ledger_open(&d.ledger, window, 64 << 20, LEDGER_COUNT_BYTES) != 0 || ledger_assign(&d.ledger, 0) != 0)
        fail("ledger_open");
    d.began_ns = monotonic_ns();
    child_start(&d.child, argv + optind);
    d.demand.idle_ns = d.idle_ns;
    demand_attach(&d.demand, d.child.pid, d.child.stdio, d.ahead_ns, 0);
    feed_reset(&d.feed, d.ahead_ns, fcntl(d.child.in, F_GETPIPE_SZ));
    shares_reset(&d.shares, d.ledger.max_records, d.ledger.max_bytes, 0, 0);
    outlet_start(&d.outlet, d.child.out, d.child.err, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    feed(&d, (int64_t)(run_s * 1e9));
    const int64_t settled_ns = wait_settled(&d);
    const int64_t left_bytes = d.ledger.written - d.demand.done;
    const bool ended = wait_ended(&d);
    report(&d, settled_ns, left_bytes, ended);
    return 0;
}
