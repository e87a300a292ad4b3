/* ACK_MODE: what acknowledges a record. Each mode is a table of functions.
 *
 * `demand` (ack_demand.c) counts bytes of STDIN, `line` (ack_line.c) lines of STDOUT, `marker` (ack_marker.c) the echoes of
 * marker lines. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ack_demand.h"
#include "ledger.h"
#include "marker.h"

typedef struct inlet_s inlet_t;

/* NULL: the mode has nothing to do there. */
typedef struct {
    ledger_count_t count;
    /* A run begins. */
    void (*attach)(inlet_t *s);
    /* STDIN has just been looked at, and is about to be written. */
    void (*sample)(inlet_t *s);
    /* Before which record writing stops, of those before `limit`: how much is written ahead of the Calculator. */
    int64_t (*feed)(inlet_t *s, int64_t limit);
    /* Whether a line of its own comes before the next record, and write it; returns whether more can be written at once. */
    bool (*has_line)(const inlet_t *s, int64_t now_ns);
    bool (*write_line)(inlet_t *s, int64_t now_ns);
    /* Records were written. */
    void (*written)(inlet_t *s);
    /* The sequence number up to which records are acknowledged now. */
    int64_t (*settle)(inlet_t *s);
    /* Look at the Calculator. Returns in how many ns to look again; 0: for nothing. */
    int64_t (*watch)(inlet_t *s, int64_t now_ns);
    /* STDOUT has come up to this mark: look whether the Calculator broke the rule. */
    void (*check)(inlet_t *s, int64_t mark);
    /* The Calculator ended in order and left nothing unread. */
    void (*finish)(inlet_t *s);
    /* The run is over: what is unanswered is written again. Returns how many records. */
    int64_t (*rewind)(inlet_t *s);
    /* Nothing of what is written counts as answered. Returns likewise. */
    int64_t (*forget)(inlet_t *s);
    /* STDIN is given to another inlet. */
    void (*hand_over)(inlet_t *s);
} ack_policy_t;

extern const ack_policy_t ack_demand, ack_line, ack_marker;

const ack_policy_t *ack_policy_of(ledger_count_t count);

/* What a mode waits for. */
typedef struct {
    int64_t look_again_ns; /* `demand`: in how many ns to look again; 0: there is nothing to look for */
    int64_t mark_before;   /* counting lines: of the runs before this one */
    int64_t mark_seen;
    int64_t empty_since_ns; /* a line or an echo is looked for: STDIN empty and nothing to write since; 0: it is not */
    int64_t idle_since_ns;  /* likewise, and no sign of work since */
    int64_t next_probe_ns;
} ack_watch_t;

/* A line or an echo is missing: the watch for it begins anew while anything of STDIN is unread or unwritten, or something
 * more came out since. `mark`: how far STDOUT has come. */
void ack_watch_stdin(inlet_t *s, int64_t mark, int64_t now_ns, int64_t look_ns);

typedef struct {
    uint8_t line[MARKER_LINE_MAX_BYTES];
    size_t bytes, left; /* of the marker being written; 0 left: of none */
    int64_t unmarked_since_ns;
    int64_t marked_bytes; /* so much of STDIN was written when the last marker was */
    bool enough;          /* a marker is due before anything else: quotas let no more into a transaction */
    bool echo_owed;       /* the Calculator waits for input and has not echoed a marker */
} marker_writer_t;

/* Is there a record, or a part of a marker, that the Calculator got and no whole marker follows yet? */
bool marker_is_missing(const inlet_t *s);

/* The pipe with a part of it is gone. */
void marker_forget(inlet_t *s);

/* Before which record writing stops, of those before `limit`, so that what is between two markers fits into a transaction
 * that quotas let through in about a second. */
int64_t marker_spacing(inlet_t *s, int64_t limit);

/* `line` and `marker`, the end of a run: by marks, which cannot be trusted where a rule was broken or a transaction lost. */
int64_t ack_rewind_marks(inlet_t *s);
int64_t ack_forget_marks(inlet_t *s);

/* Whether nothing shows that a record which nothing follows is done with. */
bool ack_sees_no_rest(const inlet_t *s);

/* Whether somebody waits for what the Calculator is done with. */
bool ack_is_urgent(const inlet_t *s);
