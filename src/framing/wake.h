/* Event descriptors: how a thread is woken that waits for what another one does. */
#pragma once

#include <errno.h>

#include "system.h"

/* Returns the descriptor, or -1 with errno. */
static inline int wake_open(void) { return sys.event_fd(); }

static inline void wake(int event_fd) {
    const uint64_t one = 1;
    ssize_t written = sys.write(event_fd, &one, sizeof one); /* a full counter wakes as well */
    (void)written;
}

static inline void drain_wakes(int event_fd) {
    uint64_t count;
    while (sys.read(event_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

static inline void wait_wake(int event_fd, int timeout_ms) {
    struct pollfd waits = {.fd = event_fd, .events = POLLIN};
    if (sys.poll(&waits, 1, timeout_ms) == 1)
        drain_wakes(event_fd);
}

static inline void close_if_open(int fd) {
    if (fd >= 0)
        sys.close(fd);
}
