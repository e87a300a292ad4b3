/* The system calls, the clocks and the threads of the data path. Every one of them goes through the table, so that a test
 * may put a pipe, a clock or a scheduler of its own in their place. What the Calculator's processes do is asked elsewhere:
 * probe_files.h. */
#pragma once

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#define MS INT64_C(1000000) /* in ns */

typedef struct {
    int64_t (*monotonic_ns)(void);
    int64_t (*unix_ms)(void);
    ssize_t (*read)(int fd, void *buffer, size_t size);
    ssize_t (*write)(int fd, const void *data, size_t size);
    ssize_t (*writev)(int fd, const struct iovec *iov, int count);
    int (*poll)(struct pollfd *waits, nfds_t count, int timeout_ms);
    int (*poll_ns)(struct pollfd *waits, nfds_t count, int64_t timeout_ns); /* likewise, to some 50 us */
    int (*unread_bytes)(int fd, int *bytes);                                /* FIONREAD */
    int (*pipe_bytes)(int fd);                                              /* F_GETPIPE_SZ */
    int (*event_fd)(void);                                                  /* one that never blocks */
    int (*open)(const char *path, int flags);
    int (*stat)(const char *path, struct stat *status);
    int (*close)(int fd);
    void (*yield)(void);
    int (*thread_begin)(pthread_t *thread, void *(*body)(void *), void *subject);
    int (*thread_join)(pthread_t thread);
    int (*thread_detach)(pthread_t thread);
    void (*thread_name)(const char *name); /* of the calling one, for top -H and its like */
} system_api_t;

extern system_api_t sys;

static inline int64_t monotonic_ns(void) { return sys.monotonic_ns(); }
static inline int64_t unix_ms(void) { return sys.unix_ms(); }
