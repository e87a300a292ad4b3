#define _GNU_SOURCE /* F_GETPIPE_SZ */
#include "system.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static int64_t system_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_unix_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int system_poll_ns(struct pollfd *waits, nfds_t count, int64_t timeout_ns) {
    const struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    return ppoll(waits, count, &timeout, NULL);
}

static int system_unread_bytes(int fd, int *bytes) { return ioctl(fd, FIONREAD, bytes); }

static int system_pipe_bytes(int fd) { return fcntl(fd, F_GETPIPE_SZ); }

static int system_event_fd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

static int system_open(const char *path, int flags) { return open(path, flags); }

/* By functions of our own: an old glibc's stat is a macro. */
static int system_stat(const char *path, struct stat *status) { return stat(path, status); }

static void system_yield(void) { sched_yield(); }

static int system_thread_begin(pthread_t *thread, void *(*body)(void *), void *subject) {
    return pthread_create(thread, NULL, body, subject);
}

static int system_thread_join(pthread_t thread) { return pthread_join(thread, NULL); }

static void system_thread_name(const char *name) { prctl(PR_SET_NAME, name); }

system_api_t sys = {
    .monotonic_ns = system_monotonic_ns,
    .unix_ms = system_unix_ms,
    .read = read,
    .write = write,
    .writev = writev,
    .poll = poll,
    .poll_ns = system_poll_ns,
    .unread_bytes = system_unread_bytes,
    .pipe_bytes = system_pipe_bytes,
    .event_fd = system_event_fd,
    .open = system_open,
    .stat = system_stat,
    .close = close,
    .yield = system_yield,
    .thread_begin = system_thread_begin,
    .thread_join = system_thread_join,
    .thread_detach = pthread_detach,
    .thread_name = system_thread_name,
};
