/* The operating system, as far as the data path and a Calculator see it: pipes and event descriptors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "world.h"

/* `system.h`'s table from now on; all descriptors are closed. */
void pipes_begin(void);
/* Descriptors of the Supervisor are gone with it. */
void pipes_killed(owner_t owner);

/* Both ends belong to `owner` at first; returns 0. */
void pipe_open(size_t capacity, owner_t reader, owner_t writer, int fds[2]);
void descriptor_close(int fd);

/* A Calculator's calls, which wait. Returns what read(2) and write(2) do, -1: nobody reads any more. */
ssize_t pipe_read(int fd, void *buffer, size_t size);
ssize_t pipe_write(int fd, const void *data, size_t size);
/* Whether a fiber waits in pipe_read, with nothing to read. */
bool pipe_is_awaited(int fd);
size_t pipe_unread(int fd);

/* Count one up: what librdkafka does when a queue gets its first entry. */
void event_signal(int fd);
