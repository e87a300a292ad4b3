/* STDOUT of the program: drained by a thread of its own, compared with what went in, and how far it has come. */
#pragma once

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "system.h"
#include "lines.h"

typedef struct {
    pthread_mutex_t sample_lock; /* held round read(2) and the move of `position`, so that a sample is exact */
    int fd, err, wake_fd;
    int64_t position;
    expected_t expected;
    _Atomic int64_t delivered;
    _Atomic int64_t held_until_ns; /* it is not drained before then: the broker is slow */
    _Atomic int64_t wrong_at;      /* what came out differs from what went in from here on; -1: it does not */
    pthread_t thread;
} outlet_t;

/* How far STDOUT has been written at this moment. */
static int64_t outlet_written(outlet_t *o) {
    int unread = 0;
    pthread_mutex_lock(&o->sample_lock);
    if (ioctl(o->fd, FIONREAD, &unread) != 0)
        unread = 0;
    const int64_t position = o->position + unread;
    pthread_mutex_unlock(&o->sample_lock);
    return position;
}

static void *outlet_run(void *argument) {
    static char buffer[1 << 18];
    outlet_t *o = argument;
    struct pollfd waits[2] = {{.fd = o->fd, .events = POLLIN}, {.fd = o->err, .events = POLLIN}};
    while (waits[0].fd >= 0 || waits[1].fd >= 0) {
        const bool held = monotonic_ns() < atomic_load(&o->held_until_ns);
        struct pollfd now[2] = {{.fd = held ? -1 : waits[0].fd, .events = POLLIN}, waits[1]};
        if (poll(now, 2, held ? 1 : 100) <= 0)
            continue;
        if (now[1].revents != 0) {
            const ssize_t n = read(o->err, buffer, sizeof buffer);
            if (n > 0)
                (void)!write(2, buffer, (size_t)n);
            else
                waits[1].fd = -1;
        }
        if (now[0].revents == 0)
            continue;
        pthread_mutex_lock(&o->sample_lock);
        const ssize_t n = read(o->fd, buffer, sizeof buffer);
        if (n > 0)
            o->position += n;
        pthread_mutex_unlock(&o->sample_lock);
        if (n <= 0) {
            waits[0].fd = -1;
            continue;
        }
        if (atomic_load(&o->wrong_at) < 0 && !expected_next(&o->expected, buffer, (size_t)n))
            atomic_store(&o->wrong_at, o->position - n);
        atomic_store(&o->delivered, o->position);
        const uint64_t one = 1;
        (void)!write(o->wake_fd, &one, sizeof one);
    }
    return NULL;
}

static void outlet_start(outlet_t *o, int fd, int err, int wake_fd) {
    pthread_mutex_init(&o->sample_lock, NULL);
    o->fd = fd;
    o->err = err;
    o->wake_fd = wake_fd;
    o->wrong_at = -1;
    expected_begin(&o->expected);
    pthread_create(&o->thread, NULL, outlet_run, o);
}
