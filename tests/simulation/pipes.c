#include "pipes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "system.h"

system_api_t sys;

enum { DESCRIPTORS = 256, PIPES = 64 };

typedef struct {
    uint8_t *data;
    size_t capacity, first, count;
    int readers, writers;
    int awaiting; /* fibers in pipe_read */
} pipe_t;

typedef struct {
    enum { CLOSED, READS, WRITES, EVENT } kind;
    owner_t owner;
    pipe_t *pipe;
    uint64_t events;
} descriptor_t;

static descriptor_t descriptors[DESCRIPTORS];
static pipe_t pipes[PIPES];

static int descriptor_new(int kind, owner_t owner, pipe_t *pipe) {
    for (int fd = 3; fd < DESCRIPTORS; fd++)
        if (descriptors[fd].kind == CLOSED) {
            descriptors[fd] = (descriptor_t){.kind = (unsigned)kind, .owner = owner, .pipe = pipe};
            if (pipe != NULL) {
                pipe->readers += kind == READS;
                pipe->writers += kind == WRITES;
            }
            return fd;
        }
    world_fail("no descriptor is left: some are not closed");
}

static descriptor_t *descriptor_at(int fd, int kind) {
    if (fd < 0 || fd >= DESCRIPTORS || descriptors[fd].kind != (unsigned)kind)
        world_fail("descriptor %d is not what it is used for", fd);
    return &descriptors[fd];
}

void descriptor_close(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS || descriptors[fd].kind == CLOSED)
        world_fail("descriptor %d is closed twice", fd);
    descriptor_t *d = &descriptors[fd];
    if (d->pipe != NULL) {
        d->pipe->readers -= d->kind == READS;
        d->pipe->writers -= d->kind == WRITES;
        if (d->pipe->readers == 0 && d->pipe->writers == 0) {
            free(d->pipe->data);
            d->pipe->data = NULL;
        }
    }
    d->kind = CLOSED;
}

void pipes_killed(owner_t owner) {
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if (descriptors[fd].kind != CLOSED && descriptors[fd].owner == owner)
            descriptor_close(fd);
}

void pipe_open(size_t capacity, owner_t reader, owner_t writer, int fds[2]) {
    for (size_t i = 0; i < PIPES; i++)
        if (pipes[i].data == NULL) {
            pipes[i] = (pipe_t){.data = malloc(capacity), .capacity = capacity};
            fds[0] = descriptor_new(READS, reader, &pipes[i]);
            fds[1] = descriptor_new(WRITES, writer, &pipes[i]);
            return;
        }
    world_fail("no pipe is left: some are not closed");
}

static size_t take(pipe_t *pipe, uint8_t *buffer, size_t size) {
    size_t n = size < pipe->count ? size : pipe->count;
    for (size_t i = 0; i < n; i++)
        buffer[i] = pipe->data[(pipe->first + i) % pipe->capacity];
    pipe->first = (pipe->first + n) % pipe->capacity;
    pipe->count -= n;
    return n;
}

static size_t put(pipe_t *pipe, const uint8_t *data, size_t size) {
    size_t room = pipe->capacity - pipe->count, n = size < room ? size : room;
    for (size_t i = 0; i < n; i++)
        pipe->data[(pipe->first + pipe->count + i) % pipe->capacity] = data[i];
    pipe->count += n;
    return n;
}

/* ---- a Calculator's calls */

static bool has_input(void *subject) {
    pipe_t *pipe = subject;
    return pipe->count > 0 || pipe->writers == 0;
}

static bool has_room(void *subject) {
    pipe_t *pipe = subject;
    return pipe->count < pipe->capacity || pipe->readers == 0;
}

ssize_t pipe_read(int fd, void *buffer, size_t size) {
    pipe_t *pipe = descriptor_at(fd, READS)->pipe;
    world_switch();
    if (!has_input(pipe)) {
        pipe->awaiting++;
        world_wait(has_input, pipe, FOREVER);
        pipe->awaiting--;
    }
    return (ssize_t)take(pipe, buffer, size);
}

ssize_t pipe_write(int fd, const void *data, size_t size) {
    pipe_t *pipe = descriptor_at(fd, WRITES)->pipe;
    for (size_t done = 0; done < size;) {
        world_switch();
        if (!has_room(pipe))
            world_wait(has_room, pipe, FOREVER);
        if (pipe->readers == 0)
            return -1;
        size_t left = size - done;
        done += put(pipe, (const uint8_t *)data + done, one_in(8) ? 1 + (size_t)chance(left) : left);
    }
    return (ssize_t)size;
}

bool pipe_is_awaited(int fd) {
    pipe_t *pipe = descriptor_at(fd, READS)->pipe;
    return pipe->awaiting > 0 && pipe->count == 0;
}

size_t pipe_unread(int fd) { return descriptor_at(fd, READS)->pipe->count; }

/* ---- the table */

static int64_t table_monotonic_ns(void) {
    world_switch();
    return world_now_ns();
}

static int64_t table_unix_ms(void) { return 1700000000000 + world_now_ns() / MILLISECOND; }

static ssize_t failed(int error) {
    errno = error;
    return -1;
}

static ssize_t table_read(int fd, void *buffer, size_t size) {
    world_switch();
    if (fd >= 0 && fd < DESCRIPTORS && descriptors[fd].kind == EVENT) {
        if (descriptors[fd].events == 0)
            return failed(EAGAIN);
        memcpy(buffer, &descriptors[fd].events, sizeof descriptors[fd].events);
        descriptors[fd].events = 0;
        return 8;
    }
    pipe_t *pipe = descriptor_at(fd, READS)->pipe;
    if (one_in(50))
        return failed(one_in(2) ? EINTR : EAGAIN);
    if (pipe->count == 0)
        return pipe->writers == 0 ? 0 : failed(EAGAIN);
    return (ssize_t)take(pipe, buffer, one_in(4) ? 1 + (size_t)chance(size) : size);
}

static ssize_t table_write(int fd, const void *data, size_t size) {
    (void)data;
    world_switch();
    event_signal(fd);
    return (ssize_t)size;
}

static ssize_t table_writev(int fd, const struct iovec *iov, int count) {
    world_switch();
    pipe_t *pipe = descriptor_at(fd, WRITES)->pipe;
    if (one_in(50))
        return failed(one_in(2) ? EINTR : EAGAIN);
    if (pipe->readers == 0)
        return failed(EPIPE);
    if (pipe->count == pipe->capacity)
        return failed(EAGAIN);
    size_t total = 0, most = one_in(4) ? 1 + (size_t)chance(pipe->capacity) : SIZE_MAX;
    for (int i = 0; i < count && total < most; i++) {
        size_t want = iov[i].iov_len < most - total ? iov[i].iov_len : most - total;
        size_t n = put(pipe, iov[i].iov_base, want);
        total += n;
        if (n < iov[i].iov_len)
            break;
    }
    return (ssize_t)total;
}

typedef struct {
    struct pollfd *waits;
    nfds_t count;
} poll_t;

static short revents_of(const struct pollfd *wait) {
    if (wait->fd < 0)
        return 0;
    const descriptor_t *d = &descriptors[wait->fd];
    short found = 0;
    switch (d->kind) {
    case EVENT:
        found = d->events > 0 ? POLLIN : 0;
        break;
    case READS:
        found = (short)((d->pipe->count > 0 ? POLLIN : 0) | (d->pipe->writers == 0 ? POLLHUP : 0));
        break;
    case WRITES:
        found = (short)((d->pipe->count < d->pipe->capacity ? POLLOUT : 0) | (d->pipe->readers == 0 ? POLLERR : 0));
        break;
    case CLOSED:
        return POLLNVAL;
    }
    return found & (short)(wait->events | POLLHUP | POLLERR | POLLNVAL);
}

static bool poll_ready(void *subject) {
    poll_t *p = subject;
    for (nfds_t i = 0; i < p->count; i++)
        if (revents_of(&p->waits[i]) != 0)
            return true;
    return false;
}

static int table_poll_ns(struct pollfd *waits, nfds_t count, int64_t timeout_ns) {
    poll_t p = {waits, count};
    if (*fiber_locks(fiber_now()) > 0)
        world_fail("a lock is held over poll");
    int64_t until_ns = timeout_ns < 0 ? FOREVER : world_now_ns() + timeout_ns;
    if (one_in(100))
        until_ns = world_now_ns(); /* interrupted by a signal */
    world_wait(poll_ready, &p, until_ns);
    int found = 0;
    for (nfds_t i = 0; i < count; i++)
        found += (waits[i].revents = revents_of(&waits[i])) != 0;
    return found;
}

static int table_poll(struct pollfd *waits, nfds_t count, int timeout_ms) {
    return table_poll_ns(waits, count, timeout_ms < 0 ? -1 : timeout_ms * MILLISECOND);
}

static int table_unread_bytes(int fd, int *bytes) {
    world_switch();
    if (fd < 0 || fd >= DESCRIPTORS || descriptors[fd].pipe == NULL || descriptors[fd].kind == CLOSED)
        return (int)failed(EBADF);
    *bytes = (int)descriptors[fd].pipe->count;
    return 0;
}

static int table_pipe_bytes(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS || descriptors[fd].kind == CLOSED || descriptors[fd].pipe == NULL)
        return (int)failed(EBADF);
    return (int)descriptors[fd].pipe->capacity;
}

static int table_event_fd(void) { return descriptor_new(EVENT, OF_SUPERVISOR, NULL); }

static int table_open(const char *path, int flags) {
    int fd;
    (void)flags;
    if (sscanf(path, "/proc/self/fd/%d", &fd) != 1)
        world_fail("%s is opened", path);
    return descriptor_new(READS, OF_SUPERVISOR, descriptor_at(fd, WRITES)->pipe);
}

static int table_stat(const char *path, struct stat *status) {
    (void)path;
    memset(status, 0, sizeof *status);
    return 0; /* it is no pipe: nobody looks for it */
}

static int table_close(int fd) {
    world_switch();
    descriptor_close(fd);
    return 0;
}

/* Threads: a fiber's handle is its address. */
static int table_thread_begin(pthread_t *thread, void *(*body)(void *), void *subject) {
    if (one_in(200))
        return EAGAIN;
    fiber_t *fiber = fiber_begin(OF_SUPERVISOR, "helper", (void (*)(void *))(void (*)(void))body, subject);
    fiber_keep(fiber, true);
    *thread = (pthread_t)fiber;
    return 0;
}

static bool thread_over(void *subject) { return fiber_is_over(subject); }

static int table_thread_join(pthread_t thread) {
    world_wait(thread_over, (fiber_t *)thread, FOREVER);
    fiber_keep((fiber_t *)thread, false);
    return 0;
}

static int table_thread_detach(pthread_t thread) {
    fiber_keep((fiber_t *)thread, false);
    return 0;
}

static void table_thread_name(const char *name) { (void)name; }

/* It does nothing, but somebody else has to run. */
static bool next_time(void *subject) { return world_events() > *(int64_t *)subject; }

static void table_yield(void) {
    int64_t now = world_events();
    world_wait(next_time, &now, FOREVER);
}

void event_signal(int fd) { descriptor_at(fd, EVENT)->events++; }

void pipes_begin(void) {
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if (descriptors[fd].kind != CLOSED)
            descriptor_close(fd);
    sys = (system_api_t){
        .monotonic_ns = table_monotonic_ns,
        .unix_ms = table_unix_ms,
        .read = table_read,
        .write = table_write,
        .writev = table_writev,
        .poll = table_poll,
        .poll_ns = table_poll_ns,
        .unread_bytes = table_unread_bytes,
        .pipe_bytes = table_pipe_bytes,
        .event_fd = table_event_fd,
        .open = table_open,
        .stat = table_stat,
        .close = table_close,
        .yield = table_yield,
        .thread_begin = table_thread_begin,
        .thread_join = table_thread_join,
        .thread_detach = table_thread_detach,
        .thread_name = table_thread_name,
    };
}
