/* The `demand` rule: up to where the Calculator is done with its STDIN, by what can be seen of it.
 *
 * - In flow, it came back twice (write_marks.h). That counts where one process reads STDIN in blocking mode.
 * - At rest, it waits for STDIN and nothing else goes on (calculator_probe.h): at once, or after `idle_ns` of it where
 *   background work cannot be told apart.
 * - Where several processes share the work, or STDIN is read ahead of it, only a rest shows anything, and none comes by
 *   itself while more is written: records are fed in batches (batches.h).
 * - Several processes that cannot be looked at: what lies DEMAND_BEHIND_BYTES behind what was read, and if somebody waits for
 *   it, everything after `idle_ns` without a sign of work. That is a guess, and is said.
 *
 * Looks have a price. They get a share of the time, and are made seldom while nobody waits for the answer: offsets are
 * committed once a second anyway.
 *
 * Knows neither the ledger nor Kafka. Positions are bytes of STDIN over all runs, times are monotonic. One thread owns it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "batches.h"
#include "calculator_probe.h"
#include "system.h"
#include "write_marks.h"

#define DEMAND_BEHIND_BYTES 65536 /* a pipe's and most programs' buffer */
#define DEMAND_COST_SHARE 25      /* a look is followed by this many times what it took without another */
#define DEMAND_READER_SOONEST_NS 1000000
#define DEMAND_READER_LATEST_NS 100000000
#define DEMAND_URGENT_NS 200000 /* from an empty STDIN to the first look if somebody waits for it, */
#define DEMAND_SOON_NS 20000000 /* and if nobody does; doubles up to */
#define DEMAND_URGENT_LATEST_NS 20000000
#define DEMAND_LATEST_NS 500000000
#define DEMAND_MAYBE_NS 50000000         /* between looks at what may be a rest */
#define DEMAND_UNREAD_NS 5000000         /* between samples of a STDIN that is not empty; */
#define DEMAND_UNREAD_LATEST_NS 20000000 /* if nobody waits */
#define DEMAND_UNSEEN_LOOKS 3
#define DEMAND_PRINTS_TIMES 10    /* `idle_ns`: for so long what it prints is a sign of work; some print all the time */
#define DEMAND_ELSEWHERE_TIMES 30 /* `idle_ns`: for so long helpers may wait elsewhere before that is a rest */
#define DEMAND_OVERDUE_NS 10000000000 /* a rest that does not come for so long is said */

/* What the caller sees. ``read`` is looked at first of all: what was written to STDIN less its unread bytes. */
typedef struct {
    int64_t now_ns;
    int64_t written;     /* to STDIN */
    int64_t read;        /* of it */
    int64_t out_written; /* to STDOUT; looked at after ``read`` */
    bool whole;          /* no record is partly written */
    bool urgent;         /* somebody waits for what is done: a drain, a stop, a full window */
} demand_seen_t;

typedef struct {
    int64_t idle_ns;
    calculator_probe_t probe;
    write_marks_t marks;
    batches_t batches;
    bool begun;   /* something of it was read */
    int64_t from; /* where the run's STDIN begins */
    int64_t done; /* up to where it is done with */
    /* who reads */
    probe_reader_t reader;
    bool unseen; /* several looks could not see what its threads do: one may have met a program as it began */
    int unseen_looks;
    bool by_rest; /* once in this run several processes worked, or it read ahead: only a rest counts */
    int64_t next_reader_ns, reader_every_ns;
    /* at rest */
    int64_t empty_at; /* STDIN was empty with so much written; -1: it was not */
    int64_t empty_since_ns;
    int64_t next_look_ns, look_every_ns;
    int64_t maybe_since_ns; /* what may be a rest has lasted since then; 0: there is none */
    int64_t maybe_out;      /* with so much of STDOUT written, */
    int64_t maybe_ns;       /* and has to last so long */
    bool overdue;
    int64_t looks; /* of either kind, over all runs */
} demand_t;

/* A new run, whose STDIN begins at ``position``. */
static inline void demand_attach(demand_t *d, pid_t leader, const ino_t stdio[3], int64_t ahead_ns, int64_t position) {
    calculator_probe_attach(&d->probe, "/proc", leader, stdio);
    write_marks_reset(&d->marks, position);
    batches_reset(&d->batches, ahead_ns, position);
    d->from = d->done = position;
    d->reader = PROBE_READER_ONE;
    d->by_rest = d->overdue = d->begun = d->unseen = false;
    d->unseen_looks = 0;
    d->next_reader_ns = d->reader_every_ns = 0;
    d->empty_at = -1;
    d->maybe_since_ns = 0;
}

/* To be called before STDIN is looked at; what it returns goes to `demand_sampled`. */
static inline uint64_t demand_samples(const demand_t *d) { return d->begun ? 0 : calculator_probe_ticks(); }

/* Whether nothing of what was written in this run had been read. */
static inline void demand_sampled(demand_t *d, uint64_t ticks, bool nothing_read) {
    if (!nothing_read)
        d->begun = true;
    else if (!d->begun)
        calculator_probe_not_read(&d->probe, ticks);
}

/* Bytes up to ``position`` are about to be written. Look first. */
static inline void demand_writes(demand_t *d, int64_t position, int64_t now_ns) {
    if (position == d->from && d->batches.since_ns == 0)
        calculator_probe_first_record(&d->probe);
    write_marks_note(&d->marks, position);
    batches_wrote(&d->batches, now_ns);
}

/* Whether a rest cannot be seen, so that what was written last is never known to be done with. A 32-bit program's threads,
 * for example, cannot be looked at, though it can be seen who it is. */
static inline bool demand_is_unseen(const demand_t *d) {
    return d->unseen || d->reader == PROBE_READER_UNSEEN_ONE || d->reader == PROBE_READER_UNSEEN_SEVERAL;
}

/* Whether nothing but a rest counts, and none can be seen: what is done is a guess. */
static inline bool demand_is_guess(const demand_t *d) {
    return d->reader == PROBE_READER_UNSEEN_SEVERAL || (d->by_rest && demand_is_unseen(d));
}

/* Whether what is in flow is fed in batches, */
static inline bool demand_in_batches(const demand_t *d) { return d->by_rest && !demand_is_unseen(d); }

/* or in shares of the window. */
static inline bool demand_in_shares(const demand_t *d) { return demand_is_unseen(d) && !demand_is_guess(d); }

static inline int64_t demand_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t demand_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* Returns when the next look may be, if one that began at ``began_ns`` is over now. */
static inline int64_t demand_next_ns(demand_t *d, int64_t began_ns, int64_t every_ns) {
    const int64_t now_ns = monotonic_ns();
    d->looks++;
    return now_ns + demand_max(every_ns, DEMAND_COST_SHARE * (now_ns - began_ns));
}

/* Who reads STDIN, after it was read up to what ``flow`` was taken from. Returns in how many ns to look again. */
static inline int64_t demand_look_at_reader(demand_t *d, const demand_seen_t *seen, int64_t flow) {
    if (seen->read <= d->from) /* it has taken nothing yet */
        return INT64_MAX;
    const int64_t latest_ns = seen->urgent ? DEMAND_READER_SOONEST_NS : DEMAND_READER_LATEST_NS;
    if (d->next_reader_ns - seen->now_ns > latest_ns)
        d->next_reader_ns = seen->now_ns + latest_ns;
    if (seen->now_ns < d->next_reader_ns)
        return flow > d->done ? d->next_reader_ns - seen->now_ns : INT64_MAX;
    const int64_t began_ns = monotonic_ns();
    d->reader = calculator_probe_reader(&d->probe);
    d->reader_every_ns =
        demand_min(demand_max(DEMAND_READER_SOONEST_NS, 2 * d->reader_every_ns), DEMAND_READER_LATEST_NS);
    d->next_reader_ns = demand_next_ns(d, began_ns, seen->urgent ? DEMAND_READER_SOONEST_NS : d->reader_every_ns);
    d->by_rest = d->by_rest || d->reader == PROBE_READER_AHEAD || d->reader == PROBE_READER_SEVERAL;
    if (demand_is_guess(d))
        d->done = demand_max(d->done, seen->read - DEMAND_BEHIND_BYTES);
    else if (!d->by_rest)
        d->done = demand_max(d->done, flow);
    return d->next_reader_ns - seen->now_ns;
}

/* Everything written is done with. */
static inline void demand_rested(demand_t *d, const demand_seen_t *seen, int64_t price_ns) {
    d->done = seen->written;
    d->overdue = false;
    batches_rested(&d->batches, seen->now_ns, seen->written, price_ns);
}

/* STDIN is empty: does the Calculator wait for it? Returns in how many ns to look again; 0: it does. */
static inline int64_t demand_look_at_rest(demand_t *d, const demand_seen_t *seen) {
    const int64_t latest_ns = seen->urgent ? DEMAND_URGENT_LATEST_NS : DEMAND_LATEST_NS;
    if (d->empty_at != seen->written) {
        d->empty_at = seen->written;
        d->empty_since_ns = seen->now_ns;
        d->look_every_ns = seen->urgent ? DEMAND_URGENT_NS : DEMAND_SOON_NS;
        d->next_look_ns = seen->now_ns + d->look_every_ns;
        d->maybe_since_ns = 0;
    }
    if (d->next_look_ns - seen->now_ns > latest_ns)
        d->next_look_ns = seen->now_ns + latest_ns;
    if (seen->now_ns < d->next_look_ns)
        return d->next_look_ns - seen->now_ns;
    const int64_t began_ns = monotonic_ns();
    const probe_verdict_t verdict = calculator_probe_look(&d->probe);
    int64_t every_ns = d->look_every_ns = demand_min(2 * d->look_every_ns, latest_ns);
    if (verdict == PROBE_UNSEEN)
        d->unseen_looks++;
    else if (verdict != PROBE_WORK)
        d->unseen_looks = 0;
    d->unseen = d->unseen_looks >= DEMAND_UNSEEN_LOOKS;
    if (verdict == PROBE_IDLE) {
        demand_rested(d, seen, 0);
        return 0;
    }
    /* Where it is a guess anyway, a window that is full, or a drain, must not wait for what can never be seen. */
    const bool maybe = verdict == PROBE_MAYBE_IDLE || verdict == PROBE_ELSEWHERE ||
                       (verdict == PROBE_UNSEEN && seen->urgent && demand_is_guess(d));
    if (!maybe) {
        d->maybe_since_ns = 0;
    } else if (d->maybe_since_ns == 0 || (d->maybe_out != seen->out_written &&
                                          seen->now_ns - d->empty_since_ns < DEMAND_PRINTS_TIMES * d->idle_ns)) {
        d->maybe_since_ns = seen->now_ns;
        d->maybe_out = seen->out_written;
        d->maybe_ns = d->idle_ns;
    }
    /* A child that waits for a server's answer is at work; one that waits for good must not stop the flow for good. */
    if (verdict == PROBE_ELSEWHERE)
        d->maybe_ns = DEMAND_ELSEWHERE_TIMES * d->idle_ns;
    if (maybe && seen->now_ns - d->maybe_since_ns >= d->maybe_ns) {
        demand_rested(d, seen, d->maybe_ns);
        return 0;
    }
    if (maybe)
        every_ns = demand_min(DEMAND_MAYBE_NS, d->idle_ns / 4);
    d->overdue = d->by_rest && seen->now_ns - d->empty_since_ns >= DEMAND_OVERDUE_NS;
    d->next_look_ns = demand_next_ns(d, began_ns, every_ns);
    return d->next_look_ns - seen->now_ns;
}

/* Look at the Calculator; `done` moves. Returns in how many ns to look again; 0: all that was written is done with. */
static inline int64_t demand_look(demand_t *d, const demand_seen_t *seen) {
    write_marks_sample(&d->marks, seen->now_ns, seen->read);
    const int64_t flow = write_marks_done(&d->marks, seen->read);
    if (d->done >= seen->written)
        return 0;
    int64_t again_ns = demand_look_at_reader(d, seen, flow);
    if (d->done >= seen->written)
        return 0;
    if (seen->read == seen->written && seen->whole) {
        const int64_t rest_ns = demand_look_at_rest(d, seen);
        return rest_ns == 0 ? 0 : demand_min(again_ns, rest_ns);
    }
    d->empty_at = -1;
    return demand_min(again_ns, seen->urgent ? DEMAND_UNREAD_NS : DEMAND_UNREAD_LATEST_NS);
}

/* What a person should know about how the Calculator is watched: a probe_note_t, or DEMAND_NOTE_OVERDUE. */
#define DEMAND_NOTE_OVERDUE (PROBE_NOTE_SEVERAL + 1)

static inline int demand_note(const demand_t *d) {
    if (d->overdue)
        return DEMAND_NOTE_OVERDUE;
    if (demand_is_unseen(d))
        return demand_is_guess(d) ? PROBE_NOTE_UNSEEN_SEVERAL : PROBE_NOTE_UNSEEN_ONE;
    if (d->batches.rest_is_dear)
        return d->reader == PROBE_READER_AHEAD ? PROBE_NOTE_EVENT_LOOP : (int)d->probe.note;
    return demand_in_batches(d) && d->reader == PROBE_READER_SEVERAL ? PROBE_NOTE_SEVERAL : PROBE_NOTE_NONE;
}
