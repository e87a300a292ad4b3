/* Writes records to the Calculator's STDIN, from librdkafka's memory, and looks how far it was read. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "feed.h"
#include "shares.h"

#define IOV_BATCH 1024 /* IOV_MAX */
#define PIPE_LEAST_BYTES 4096

typedef struct inlet_s inlet_t;

typedef struct {
    int fd;          /* -1: none, or closed */
    int leftover_fd; /* a read end opened when it is closed, and only then, to count what the Calculator left unread */
    bool blocked, broken;
    bool held_back; /* a record waits for the feed or for a rest */
    struct iovec *iov;
    feed_t feed; /* how much is written ahead of the Calculator */
    shares_t shares;
    int unread_bytes;      /* at the last look */
    int64_t looked_ns;     /* when that was, or a little later */
    int64_t run_from;      /* bytes written before this run */
    int64_t full_since_ns; /* records wait for the Calculator, in the pipe and behind it; 0: they do not */
} stdin_writer_t;

/* PROPAGATE_KEY */
typedef struct {
    int64_t until, mark; /* the keys of records before this one are noted, up to this mark; 0: none is */
} noted_keys_t;

/* See how far it was read, then what time it is: a sample never looks older than it is. */
void stdin_look(inlet_t *s);

/* One writev from librdkafka's memory. Returns whether more can be written at once. */
bool stdin_write(inlet_t *s, int64_t now_ns);

/* Write the first ``n`` of `iov`. Returns the bytes written, or -1 when nothing can be written now. */
ssize_t stdin_writev(inlet_t *s, int n);

/* Before which record writing stops, of those before `limit`, if the feed allows no more. */
int64_t stdin_fit(const inlet_t *s, int64_t limit);

/* In how many ns to look whether more may be written; 0: not before something happens. */
int64_t stdin_again_ns(const inlet_t *s);

/* Count the time in which it holds as much as it is to hold, and more waits. */
void stdin_note_full(inlet_t *s, int64_t now_ns);

/* The Calculator gets its EOF. */
void stdin_close(inlet_t *s);

/* The Calculator closed it. */
void stdin_broke(inlet_t *s, int error);
