/* What a blocked system call waits for, from its number and arguments. Pure. */
#pragma once

#include "probe_parse.h"

typedef enum {
    WAIT_WORK, /* nothing of the kind below: a write, a lock on a file, a call that is not known */
    WAIT_READ, /* for input from the descriptor ``fd`` */
    WAIT_SPLICE, /* for input from the descriptor ``fd``, or for room where it goes to: only whether ``fd`` is empty tells */
    WAIT_RECEIVE,   /* for input from the socket ``fd`` */
    WAIT_POLL,      /* for one of ``count`` struct pollfd at ``set[0]`` */
    WAIT_SELECT,    /* for one of ``count`` descriptors in the fd_sets at ``set`` (to read, to write, exceptions) */
    WAIT_EPOLL,     /* for what is in the epoll ``fd`` */
    WAIT_PARKED,    /* without a time limit, for another thread, a child or a signal */
    WAIT_ELSEWHERE, /* for a time, or for somebody outside */
    WAIT_RESTARTED, /* goes on with a call that a stop interrupted; which, does not stand in the number */
} wait_kind_t;

typedef struct {
    wait_kind_t kind;
    bool timed;
    int fd;
    uint64_t count;
    uint64_t set[3]; /* addresses in the process's memory, 0: none */
} wait_t;

wait_t call_waits_for(const proc_call_t *call);
