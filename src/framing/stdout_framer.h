/* The outlet takes lines out of STDOUT: read, newline scan, envelope into a slab. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

typedef struct outlet_s outlet_t;

typedef struct {
    /* STDOUT: buffer[begin:end] is read and not framed yet; buffer[begin:scanned] has no newline */
    uint8_t *buffer;
    size_t capacity, begin, scanned, end;
    size_t dropped;     /* bytes behind a line in the buffer that were read and are not in it any more */
    int64_t kept_until; /* position: lines before it are of runs that are over */
    int64_t mark;       /* how far STDOUT acknowledges, see progress.h */
    int64_t unmarked;   /* lines framed since the last marker */
    bool first_owed;    /* the first line of this run was not framed yet */
    bool seal_owed;     /* all that was read is done with, and delivery has not been told */
    bool ended;         /* EOF was read */
    bool ended_told;    /* the notice of it was posted */
    bool to_the_end;    /* the Calculator is gone: read the rest into the buffer, even when lines are held */
    bool skipping;      /* inside a line over the limit */
    uint8_t *key;       /* of the line that is framed now */
    size_t key_capacity;
    struct envelope envelope;
} stdout_framer_t;

/* Returns 0, or -1 when memory is short. */
int framer_open(stdout_framer_t *f, size_t max_line_bytes, const uint8_t *workspace, size_t workspace_bytes);
void framer_close(stdout_framer_t *f);

/* The STDOUT position of buffer[index]. Read by the outlet's thread, which alone moves read_position.
 *
 * Behind a dropped tail it is too low until the buffer has run empty: late for an acknowledgement, never early. */
int64_t framer_position(const outlet_t *s, size_t index);

/* The mark as it will be behind the whole lines in `data`, whose number goes to `lines`. */
int64_t framer_mark_after(outlet_t *s, const uint8_t *data, size_t n, int64_t *lines);

/* Bytes of whole lines that runs which are over left in the buffer. */
int64_t framer_kept(const outlet_t *s);

/* Nothing read is left to frame: what was dropped behind the last record counts as delivered with it.
 *
 * Without this a fence behind a dropped tail would wait for a line that a next run may never print. */
void framer_seal_empty(outlet_t *s);

/* Take every whole line out of the buffer. Returns false when it stopped for want of room. */
bool framer_take(outlet_t *s, int64_t now_ns);

/* One read of STDOUT into the buffer. Returns whether anything came. */
bool framer_read(outlet_t *s);

/* A new run of the Calculator, before its STDOUT is attached. */
void framer_begin_run(outlet_t *s);

/* The run is over and its STDOUT closed: see outlet_finish. Returns the length of the unfinished last line. */
size_t framer_end_run(outlet_t *s, bool keep_lines, bool keep_tail);

/* Give up what runs which are over left in the buffer. */
void framer_abandon_kept(outlet_t *s);
