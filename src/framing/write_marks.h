/* In flow, a Calculator that handles its lines in order shows by its reading what it is done with: it came back twice.
 *
 * With each write goes a mark: how far STDIN had been read MARK_AGE_NS before. A byte of that write can only be taken by a
 * read that returned after it, so once it has been taken, the Calculator has come back after it had everything up to the
 * mark. One read cannot return what was not there when an earlier one returned, so this holds whatever buffers it has.
 * MARK_AGE_NS, and that it has to come back twice (once more for a write whose mark lies beyond the first one's), are for
 * programs that fill one buffer with several reads, as Java's decoders do while input is available.
 *
 * Pure: positions are bytes of STDIN, times are monotonic. One thread owns it. Both rings are bounded: samples are at
 * least SAMPLE_APART_NS apart, and a mark that finds no room replaces the newest, which makes it later, never earlier.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define MARK_AGE_NS 5000000
#define SAMPLE_APART_NS 1000000
#define SAMPLES 8 /* the oldest is at least MARK_AGE_NS old when the ring is full */
#define MARKS 1024

typedef struct {
    int64_t start; /* where the write began */
    int64_t mark;
} write_mark_t;

typedef struct {
    int64_t at_ns, read;
} read_sample_t;

typedef struct {
    write_mark_t ring[MARKS];
    unsigned first, count;
    read_sample_t samples[SAMPLES];
    unsigned sample_first, sample_count;
    int64_t old_read; /* how far STDIN had been read at least MARK_AGE_NS ago */
    int64_t passed;   /* the newest mark after which it came back */
    int64_t done;     /* a mark before that one, which it came back after twice */
} write_marks_t;

_Static_assert((SAMPLES - 2) * SAMPLE_APART_NS >= MARK_AGE_NS, "a full ring of samples reaches back far enough");

/* A new run, whose STDIN begins at ``position``. */
static inline void write_marks_reset(write_marks_t *m, int64_t position) {
    m->first = m->count = m->sample_first = m->sample_count = 0;
    m->old_read = m->passed = m->done = position;
}

/* STDIN has been read up to ``read`` at ``now_ns``. */
static inline void write_marks_sample(write_marks_t *m, int64_t now_ns, int64_t read) {
    while (m->sample_count > 0 && now_ns - m->samples[m->sample_first].at_ns >= MARK_AGE_NS) {
        m->old_read = m->samples[m->sample_first].read;
        m->sample_first = (m->sample_first + 1) % SAMPLES;
        m->sample_count--;
    }
    unsigned last = (m->sample_first + m->sample_count - 1) % SAMPLES;
    if (m->sample_count > 0 && (now_ns - m->samples[last].at_ns < SAMPLE_APART_NS || m->samples[last].read == read))
        return;
    if (m->sample_count == SAMPLES)
        return;
    m->samples[(m->sample_first + m->sample_count++) % SAMPLES] = (read_sample_t){now_ns, read};
}

/* Bytes from ``start`` on are about to be written. Sample first. */
static inline void write_marks_note(write_marks_t *m, int64_t start) {
    if (m->old_read <= m->passed) /* it says nothing new */
        return;
    if (m->count > 0) {
        write_mark_t *last = &m->ring[(m->first + m->count - 1) % MARKS];
        if (last->mark == m->old_read) /* the earlier write with the same mark is passed sooner */
            return;
        if (m->count == MARKS) {
            *last = (write_mark_t){start, m->old_read};
            return;
        }
    }
    m->ring[(m->first + m->count++) % MARKS] = (write_mark_t){start, m->old_read};
}

/* STDIN has been read up to ``read``. Returns up to where the Calculator is done. */
static inline int64_t write_marks_done(write_marks_t *m, int64_t read) {
    while (m->count > 0 && read > m->ring[m->first].start) {
        m->done = m->passed;
        m->passed = m->ring[m->first].mark;
        m->first = (m->first + 1) % MARKS;
        m->count--;
    }
    return m->done;
}
