/* The lines of /proc that the Calculator probe reads, as values. Pure: text in, values out; any text is survived.
 * Source of the formats: proc(5), Linux Documentation/filesystems/proc.rst.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* /proc/PID/stat, /proc/PID/task/TID/stat */
typedef struct {
    char state; /* R, S, D, T, t, Z, ... */
    pid_t parent;
    int64_t threads;
    uint64_t cpu_ticks;
    uint64_t started_ticks; /* since boot */
} proc_stat_t;

bool parse_stat(const char *text, proc_stat_t *stat);

/* /proc/PID/task/TID/syscall */
#define CALL_RUNNING (-2)
#define CALL_OUTSIDE (-1) /* blocked, but in no system call: a page fault, or on its way into or out of the kernel */

typedef struct {
    long number; /* or one of the two above */
    uint64_t argument[6];
    uint64_t stack; /* its stack pointer */
    uint64_t code;  /* and its program counter */
} proc_call_t;

bool parse_call(const char *text, proc_call_t *call);

/* How often it has been switched to: the third number of /proc/PID/task/TID/schedstat. */
bool parse_schedstat(const char *text, uint64_t *switches);

/* A number of /proc/PID/status or fdinfo: the first line that begins with ``name``, which ends with the colon. */
bool parse_field(const char *text, const char *name, int base, uint64_t *value);

/* The last number of a text: the newest process in /proc/loadavg and /proc/sys/kernel/ns_last_pid. */
bool parse_last_number(const char *text, int64_t *value);

/* What a link in /proc/PID/fd leads to. */
typedef enum {
    LINK_PIPE,
    LINK_SOCKET,
    LINK_EVENTFD,
    LINK_SIGNALFD,
    LINK_TIMERFD,
    LINK_EPOLL,
    LINK_PIDFD,
    LINK_TERMINAL, /* /dev/pts/N, or the /dev/ptmx at its other end */
    LINK_OTHER,
} link_kind_t;

link_kind_t parse_link(const char *target, uint64_t *inode); /* the inode of a pipe or a socket, else 0 */

/* One "tfd:" line of an epoll's fdinfo. */
typedef struct {
    int fd; /* as it was when it was put in; may have been closed or used again since */
    uint32_t events;
    uint64_t inode; /* 0 where the kernel does not say it (before 4.14) */
} epoll_entry_t;

/* The next entry from ``*text`` on, which is moved behind it; false: no more. */
bool parse_epoll_entry(const char **text, epoll_entry_t *entry);

/* One line of /proc/PID/net/unix, tcp or tcp6. */
typedef struct {
    uint64_t inode;
    bool listens;
    bool named; /* unix: it has a path; an end of a socket pair has none */
} socket_line_t;

bool parse_unix_socket(const char *line, socket_line_t *socket);
bool parse_tcp_socket(const char *line, socket_line_t *socket);
