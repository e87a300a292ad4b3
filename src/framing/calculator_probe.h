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
    PROBE_ELSEWHERE, /* STDIN is waited for, while another process that counts waits for a time or for somebody outside */
    PROBE_UNSEEN,    /* what its threads do cannot be looked at: see `note` */
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
#define PROBE_THREADS_MAX 4096  /* of the processes that count; with more of them: PROBE_UNSEEN */
#define PROBE_LINKS_MAX 96    /* of one process: its pipes, terminals and unix sockets; with more it shares for sure */
#define PROBE_STDIN_FDS_MAX 4 /* of one process, that are our STDIN */

/* An open descriptor over which a process may talk to another. */
typedef struct {
    uint64_t inode; /* or LINK_INODE_... of probe_links.h */
    uint64_t peer;  /* of one end of a pair of sockets: the other's; else 0 */
    int fd;
    bool reads, writes;
} probe_link_t;

typedef struct {
    pid_t pid;
    pid_t parent;
    uint64_t started_ticks; /* since boot */

    /* who counts */
    bool older;       /* was there before the run's first record, whatever the coarse clock of its start says */
    bool reads_stdin; /* was found waiting for STDIN */
    bool counts;      /* as of the last time that was asked */
    bool bystander;   /* an older parent that shares nothing: it counts only while it runs */
    bool unseen;      /* what its threads do could not be looked at */

    bool machine_known, emulated; /* its program is for another processor than ours, as of machine_known_ns */
    int64_t machine_known_ns;     /* the surveyed_ns of then */

    pid_t live_thread; /* through which its descriptors are seen where the first thread has ended; 0: the first */

    /* its descriptors, as of surveyed_ns (0: not looked at yet) */
    int64_t surveyed_ns;
    bool links_unknown; /* they may not be looked at, or are too many */
    uint64_t image;     /* its program and arguments, as a hash: the same in a fork */
    int stdin_fds[PROBE_STDIN_FDS_MAX];
    int stdin_fd_count;
    probe_link_t links[PROBE_LINKS_MAX];
    int link_count;

    /* its threads, in the probe's `threads`, as of a look */
    int first_thread, thread_count;
    int64_t listing; /* in the list of that number */

    /* what it had run when it was looked at last: context switches of all threads, or CPU time of one that is unseen */
    uint64_t ran_look, ran_reader;
    bool parked_reader; /* parked at the last calculator_probe_reader */
} probe_process_t;

typedef struct {
    pid_t tid;
    uint8_t activity; /* probe_activity_t */
    int number;       /* of its system call; of the interrupted one, where it shows restart_syscall */
    uint64_t arguments;
    uint64_t call; /* both, as shown; this and the arguments as hashes */
    uint64_t switches;
} probe_thread_t;

/* Whether a socket only waits for new clients. Reading a table of sockets may take milliseconds. */
typedef struct {
    uint64_t inode;
    int64_t asked_ns;
    bool listens;
} probe_socket_t;

/* A unix socket and the one it is connected to. */
typedef struct {
    uint64_t inode;
    uint64_t peer;    /* 0: it had none */
    int64_t asked_ns; /* where it had none */
    bool named;       /* it has an address, as a server's has; an end of a socket pair has none */
} probe_peer_t;
#define PROBE_PEERS_MAX 128 /* that are remembered */

/* Most of it is only touched by those who have many processes and threads. */
typedef struct {
    const char *proc;            /* "/proc", or a recorded tree of it */
    pid_t leader;                /* the Calculator's first process */
    ino_t stdio[3];              /* our three pipes; 0: not known */
    uint64_t first_record_ticks; /* since boot; UINT64_MAX: the run has got no record yet */

    int process_count;
    bool too_many;       /* they do not all have a place */
    bool recount;        /* which of them count has to be found anew */
    int64_t counted_ns;  /* when it was */
    bool hidden;         /* /proc is mounted with hidepid: there may be more than can be seen */
    int64_t newest_pid;  /* all that was started up to this number is known; -1: the number is not to be trusted */
    int64_t checked_pid; /* likewise, but for those that were not there yet when they were looked for: */
    pid_t pending[64];
    int pending_count;
    int64_t pending_ns; /* when the last of them was added */
    int64_t scanned_ns; /* when all processes of the machine were read last, and what that cost */
    int64_t scan_cost_ns;

    int thread_count;
    int now;         /* which of the two lists of threads is this look's */
    int64_t listing; /* the number of it */

    probe_socket_t sockets[16];
    int next_socket;
    int64_t table_read_ns, table_cost_ns; /* as with scans */

    probe_peer_t peers[PROBE_PEERS_MAX];
    int next_peer;
    int64_t peer_questions; /* to the kernel */
    int64_t peer_asked_ns, peer_spent_ns;

    pid_t waited_last; /* the thread that was found waiting for STDIN last: looked at first */
    pid_t waited_last_process;
    probe_note_t note; /* of the last look */
    int64_t looks;
    int64_t additions; /* to the processes */
    int64_t scans;     /* of all processes of the machine */

    probe_process_t processes[PROBE_PROCESSES_MAX]; /* the leader and its descendants, as far as known */
    probe_thread_t threads[2][PROBE_THREADS_MAX];   /* of the last look, and of this one */
} calculator_probe_t;

/* A new run: ``stdio`` are the inodes of the pipes that are its 0, 1 and 2, 0 where not known. */
void calculator_probe_attach(calculator_probe_t *probe, const char *proc, pid_t leader, const ino_t stdio[3]);

/* The run's first record is about to be written: what is started from now on may work on it. */
void calculator_probe_first_record(calculator_probe_t *probe);

/* The time, as processes are stamped with it. */
uint64_t calculator_probe_ticks(void);

/* At ``ticks``, taken before STDIN was looked at, nothing of the first record had been read: what was started earlier does
 * not work on it. A program may start its helpers while its first record waits. */
void calculator_probe_not_read(calculator_probe_t *probe, uint64_t ticks);

/* What goes on now. Costs some ten microseconds for a single thread, and in proportion to the threads that count. */
probe_verdict_t calculator_probe_look(calculator_probe_t *probe);

/* Whether looks have found somebody who waits for STDIN. */
bool calculator_probe_knows_reader(const calculator_probe_t *probe);

/* Who reads STDIN now. Cheaper than a look: it does not look at the reader's threads. */
probe_reader_t calculator_probe_reader(calculator_probe_t *probe);
