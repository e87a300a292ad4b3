/* How far the Calculator's STDOUT has come: the one thing the inlet thread asks of the outlet thread.
 *
 * Positions are bytes since the outlet was made and never go back, over all runs of the Calculator. Nor do marks, which
 * say how far STDOUT acknowledges: the count of whole lines, dropped ones too, or the number of the last marker echoed. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "cut.h"
#include "keys.h"
#include "letter.h"
#include "marker.h"
#include "surplus.h"
#include "wake.h"

typedef struct {
    pthread_mutex_t sample_lock;    /* held round read(2) and the move of read_position, so that a sample is exact */
    int fd;                         /* STDOUT's read end, -1 between runs; guarded by sample_lock */
    int64_t read_position;          /* guarded by sample_lock */
    _Atomic int64_t line_end;       /* just past the last whole line taken out of the stream */
    _Atomic int64_t delivered;      /* everything before it is delivered, or will never be */
    _Atomic int64_t mark_framed;    /* of the lines taken out of the stream */
    _Atomic int64_t mark_delivered; /* of those delivered or never to be, without a gap */
    _Atomic int64_t mark_expected;  /* what came or is to come of all that was written before this run, or this inlet */
    _Atomic int64_t mark_issued;    /* number of the last marker line written to STDIN */
    marker_t marker;                /* set once, before there is an inlet */
    atomic_int held;                /* STDOUT is not being read: its lines have nowhere to go now */
    atomic_int inlet_waits;         /* the inlet sleeps and wants to know of the next move of `delivered` */
    atomic_int outlet_dozes;  /* the outlet sleeps without what the inlet may come to wait for: it is woken then */
    atomic_int window_full;   /* no record is written before one is acknowledged */
    atomic_int inlet_wake_fd; /* -1: there is no inlet */
    atomic_int outlet_wake_fd;
    cut_t cut; /* exactly-once */
    letterbox_t letters;
    const char *workspace;        /* set once, for the letters' headers */
    keys_t keys;                  /* ACK_MODE=line with PROPAGATE_KEY */
    surplus_t surplus;            /* ACK_MODE=line */
    atomic_int transaction_open;  /* it may have lines in it */
    _Atomic int64_t window_bytes; /* of lines that quotas let under way at once; INT64_MAX: no limit is known */
} progress_t;

static inline void progress_open(progress_t *p) {
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->sample_lock, NULL);
    p->fd = -1;
    atomic_init(&p->window_bytes, INT64_MAX);
    atomic_init(&p->inlet_wake_fd, -1);
    letterbox_open(&p->letters);
    pthread_mutex_init(&p->surplus.lock, NULL);
    p->surplus.written = INT64_MAX - 1; /* nobody counts lines */
}

static inline void progress_set_window(progress_t *p, int64_t bytes) {
    atomic_store_explicit(&p->window_bytes, bytes, memory_order_relaxed);
}

static inline int64_t progress_window(progress_t *p) {
    return atomic_load_explicit(&p->window_bytes, memory_order_relaxed);
}

/* How far STDOUT has been written by the Calculator at this moment. */
static inline int64_t progress_written(progress_t *p) {
    int unread = 0;
    pthread_mutex_lock(&p->sample_lock);
    if (p->fd < 0 || sys.unread_bytes(p->fd, &unread) != 0)
        unread = 0;
    int64_t position = p->read_position + unread;
    pthread_mutex_unlock(&p->sample_lock);
    return position;
}

/* A new run's STDOUT. */
static inline void progress_attach(progress_t *p, int fd) {
    pthread_mutex_lock(&p->sample_lock);
    p->fd = fd;
    pthread_mutex_unlock(&p->sample_lock);
}

/* The run is over: close its STDOUT. */
static inline void progress_detach(progress_t *p) {
    pthread_mutex_lock(&p->sample_lock);
    if (p->fd >= 0)
        sys.close(p->fd);
    p->fd = -1;
    pthread_mutex_unlock(&p->sample_lock);
}

static inline ssize_t progress_read(progress_t *p, void *buffer, size_t size) {
    pthread_mutex_lock(&p->sample_lock);
    ssize_t n = sys.read(p->fd, buffer, size);
    if (n > 0)
        p->read_position += n;
    pthread_mutex_unlock(&p->sample_lock);
    return n;
}

static inline int64_t progress_delivered(progress_t *p) {
    return atomic_load_explicit(&p->delivered, memory_order_acquire);
}

static inline int64_t progress_line_end(progress_t *p) {
    return atomic_load_explicit(&p->line_end, memory_order_acquire);
}

static inline void progress_line_ended(progress_t *p, int64_t position, int64_t mark) {
    atomic_store_explicit(&p->mark_framed, mark, memory_order_relaxed);
    atomic_store_explicit(&p->line_end, position, memory_order_release);
}

static inline int64_t progress_mark_framed(progress_t *p) {
    return atomic_load_explicit(&p->mark_framed, memory_order_acquire);
}

static inline int64_t progress_mark_delivered(progress_t *p) {
    return atomic_load_explicit(&p->mark_delivered, memory_order_acquire);
}

static inline int64_t progress_mark_expected(progress_t *p) {
    return atomic_load_explicit(&p->mark_expected, memory_order_acquire);
}

static inline void progress_expect_mark(progress_t *p, int64_t mark) {
    atomic_store_explicit(&p->mark_expected, mark, memory_order_release);
}

static inline int64_t progress_mark_issued(progress_t *p) {
    return atomic_load_explicit(&p->mark_issued, memory_order_acquire);
}

static inline void progress_issue_mark(progress_t *p, int64_t mark) {
    atomic_store_explicit(&p->mark_issued, mark, memory_order_release);
}

static inline int64_t progress_lines_written(progress_t *p) {
    return atomic_load_explicit(&p->surplus.written, memory_order_acquire);
}

static inline void progress_write_lines(progress_t *p, int64_t lines) {
    atomic_store_explicit(&p->surplus.written, lines, memory_order_release);
}

static inline void progress_hold(progress_t *p, int held) {
    atomic_store_explicit(&p->held, held, memory_order_release);
}

static inline int progress_held(progress_t *p) { return atomic_load_explicit(&p->held, memory_order_acquire); }

static inline void progress_wake_outlet(progress_t *p) { wake(atomic_load(&p->outlet_wake_fd)); }

static inline void progress_end_doze(progress_t *p) {
    if (atomic_exchange(&p->outlet_dozes, 0))
        progress_wake_outlet(p);
}

static inline void progress_set_window_full(progress_t *p, int full) {
    if (atomic_load_explicit(&p->window_full, memory_order_relaxed) == full)
        return;
    atomic_store(&p->window_full, full);
    if (full)
        progress_end_doze(p);
}

static inline int progress_window_full(progress_t *p) {
    return atomic_load_explicit(&p->window_full, memory_order_relaxed);
}

/* The inlet is about to sleep; look at `delivered` once more after this. */
static inline void progress_inlet_waits(progress_t *p) {
    atomic_store(&p->inlet_waits, 1);
    progress_end_doze(p);
}

/* Whether the inlet waits for what the outlet delivers, or gets nothing more before it does. */
static inline int progress_inlet_is_waiting(progress_t *p) {
    return atomic_load(&p->inlet_waits) || atomic_load(&p->window_full);
}

static inline void progress_wake_inlet(progress_t *p) {
    int fd = atomic_load(&p->inlet_wake_fd);
    if (fd >= 0)
        wake(fd);
}

static inline void progress_deliver(progress_t *p, int64_t position, int64_t mark) {
    if (atomic_load_explicit(&p->delivered, memory_order_relaxed) == position)
        return;
    atomic_store_explicit(&p->mark_delivered, mark, memory_order_release);
    atomic_store_explicit(&p->delivered, position, memory_order_release);
    if (atomic_exchange(&p->inlet_waits, 0))
        progress_wake_inlet(p); /* it may have gone since it wanted to know */
}

static inline int progress_transaction_open(progress_t *p) { return atomic_load(&p->transaction_open); }

static inline void progress_open_transaction(progress_t *p, int open) { atomic_store(&p->transaction_open, open); }

static inline void progress_set_inlet(progress_t *p, int wake_fd) {
    atomic_store(&p->inlet_wake_fd, wake_fd);
    atomic_store(&p->inlet_waits, 0);
    atomic_store(&p->window_full, 0);
}

/* The inlet with this wake_fd ends; the next one may have taken its place already. */
static inline void progress_unset_inlet(progress_t *p, int wake_fd) {
    if (atomic_compare_exchange_strong(&p->inlet_wake_fd, &wake_fd, -1))
        progress_set_window_full(p, 0);
}
