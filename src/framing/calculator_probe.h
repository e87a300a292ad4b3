/* What the Calculator's processes are doing, read from /proc: the evidence of `demand` at rest.
 *
 * Which processes count: the one that reads our STDIN pipe, the parents that wait for it, what was started since the
 * run's first record, and what shares a pipe, a socket pair or a terminal with one of them (our own three pipes do not
 * count as shared). Helpers older than the first record that share nothing, and orphans, are ignored.
 *
 * A look is two passes over their threads: one pass is no snapshot, because a thread that was seen at rest may have woken
 * one that is seen at rest later. Both have to find the same threads in the same calls, with the same counts of context
 * switches.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum {
    PROBE_WORK,       /* something goes on, or nobody waits for STDIN */
    PROBE_IDLE,       /* STDIN is waited for, and nothing else goes on: all that was read is done with */
    PROBE_MAYBE_IDLE, /* likewise as far as can be seen, but background work could not be told apart: see `note` */
    PROBE_UNSEEN,     /* what its threads do cannot be looked at: see `note` */
} probe_verdict_t;

/* What a person should know about how the Calculator is watched. */
typedef enum {
    PROBE_NOTE_NONE,
    PROBE_NOTE_EVENT_LOOP,     /* STDIN is read from an event loop with other descriptors or a time limit */
    PROBE_NOTE_TIMED_THREADS,  /* other threads of the process that waits are in timed waits or on sockets */
    PROBE_NOTE_UNSEEN_ONE,     /* one process, whose threads cannot be looked at */
    PROBE_NOTE_UNSEEN_SEVERAL, /* several processes that cannot be looked at, or how many is not known */
    PROBE_NOTE_SEVERAL,        /* several processes share the work */
} probe_note_t;

/* Who reads STDIN, and how: whether "it came back for more" says that what it had is done. */
typedef enum {
    PROBE_READER_ONE,            /* one process at work, which reads in blocking mode */
    PROBE_READER_AHEAD,          /* it reads without blocking (O_NONBLOCK): it reads ahead of its work */
    PROBE_READER_SEVERAL,        /* several processes share the work */
    PROBE_READER_UNSEEN_ONE,     /* one process; nothing else of it can be seen */
    PROBE_READER_UNSEEN_SEVERAL, /* several processes that cannot be looked at, or how many is not known */
} probe_reader_t;

#define PROBE_PROCESSES_MAX 256 /* that are remembered; with more of them: PROBE_READER_UNSEEN_SEVERAL, PROBE_UNSEEN */

typedef struct {
    pid_t pid;
    pid_t parent;
    uint64_t started_ticks; /* since boot */
} probe_process_t;

typedef struct {
    const char *proc;                               /* "/proc", or a recorded tree of it */
    pid_t leader;                                   /* the Calculator's first process */
    ino_t stdio[3];                                 /* our three pipes; 0: not known */
    uint64_t first_record_ticks;                    /* since boot; UINT64_MAX: the run has got no record yet */
    probe_process_t processes[PROBE_PROCESSES_MAX]; /* the leader and its descendants, as far as known */
    int process_count;
    int newest_pid;    /* the newest process of the machine when they were looked for */
    pid_t waited_last; /* the thread that was found waiting for STDIN last: looked at first */
    pid_t waited_last_process;
    probe_note_t note; /* of the last look */
    int64_t looks;
} calculator_probe_t;

/* A new run: ``stdio`` are the inodes of the pipes that are its 0, 1 and 2, 0 where not known. */
void calculator_probe_attach(calculator_probe_t *probe, const char *proc, pid_t leader, const ino_t stdio[3]);

/* The run's first record is about to be written: what is started from now on may work on it. */
void calculator_probe_first_record(calculator_probe_t *probe);

/* What goes on now. Costs some ten microseconds for a single thread, and in proportion to the threads that count. */
probe_verdict_t calculator_probe_look(calculator_probe_t *probe);

/* Who reads STDIN now. Cheaper than a look: it does not look at the reader's threads. */
probe_reader_t calculator_probe_reader(calculator_probe_t *probe);
