/* Does a Calculator wait on its empty STDIN? Read from /proc, for the `demand` acknowledgement.
 *
 * A program that handles its lines in order and sits in read(2) of the empty pipe is done with every line it was given.
 * Looked at are all threads of all processes of the Calculator's session:
 *   - one that runs, or is blocked in anything but the calls below, means work in progress:          WAIT_NO
 *   - all in read of that pipe, in futex or in wait, at least one of them in the read:               WAIT_YES
 *   - an event loop (epoll, poll, select) or a hidden /proc cannot be told from outside:            WAIT_UNKNOWN
 *   - one thread in the read while another is blocked elsewhere (a timer, a socket), likewise:      WAIT_UNKNOWN
 * Source of the format: proc_pid_syscall(5).
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

typedef enum { WAIT_NO, WAIT_YES, WAIT_UNKNOWN } stdin_wait_t;

/* The first bytes of a small /proc file, NUL-terminated. Returns their number or -1. */
static ssize_t proc_read(const char *path, char *buffer, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, buffer, size - 1);
    close(fd);
    if (n >= 0)
        buffer[n] = '\0';
    return n;
}

/* The session of a process: the fourth field after the last ')' of /proc/PID/stat. 0 when it is gone. */
static int proc_session(const char *pid) {
    char path[64], stat_line[512];
    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    if (proc_read(path, stat_line, sizeof stat_line) <= 0)
        return 0;
    const char *after_name = strrchr(stat_line, ')');
    int parent, group, session = 0;
    char state;
    if (after_name == NULL || sscanf(after_name + 1, " %c %d %d %d", &state, &parent, &group, &session) != 4)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : session;
}

static int proc_fd_is(const char *pid, unsigned long fd, ino_t pipe_inode) {
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%.16s/fd/%lu", pid, fd);
    return stat(path, &status) == 0 && S_ISFIFO(status.st_mode) && status.st_ino == pipe_inode;
}

typedef enum {
    THREAD_READS_PIPE,
    THREAD_PARKED,
    THREAD_EVENT_LOOP,
    THREAD_BLOCKED,
    THREAD_WORKS,
    THREAD_HIDDEN
} thread_t;

static thread_t thread_look(const char *pid, const char *tid, ino_t pipe_inode) {
    char path[96], line[256];
    snprintf(path, sizeof path, "/proc/%.16s/task/%.16s/syscall", pid, tid);
    ssize_t n = proc_read(path, line, sizeof line);
    if (n <= 0)
        return errno == ENOENT || errno == ESRCH ? THREAD_WORKS : THREAD_HIDDEN;
    if (strncmp(line, "running", 7) == 0)
        return THREAD_WORKS;
    char *rest;
    long number = strtol(line, &rest, 10);
    unsigned long first = strtoul(rest, NULL, 16);
    switch (number) {
    case SYS_read:
    case SYS_readv:
        return proc_fd_is(pid, first, pipe_inode) ? THREAD_READS_PIPE : THREAD_BLOCKED;
    case SYS_futex:
    case SYS_wait4:
    case SYS_waitid:
    case SYS_rt_sigtimedwait: /* the signal thread of a runtime */
    case SYS_rt_sigsuspend:   /* a shell waiting for a child */
        return THREAD_PARKED;
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
#ifdef SYS_poll
    case SYS_poll:
#endif
#ifdef SYS_select
    case SYS_select:
#endif
    case SYS_epoll_pwait:
    case SYS_ppoll:
    case SYS_pselect6:
        return THREAD_EVENT_LOOP;
    case -1: /* blocked outside a system call: a page fault, or stopped */
        return THREAD_WORKS;
    default:
        return THREAD_BLOCKED;
    }
}

static stdin_wait_t stdin_wait_look(int session, ino_t pipe_inode) {
    unsigned seen[THREAD_HIDDEN + 1] = {0};
    DIR *processes = opendir("/proc");
    if (processes == NULL)
        return WAIT_UNKNOWN;
    const struct dirent *process;
    while ((process = readdir(processes)) != NULL && seen[THREAD_WORKS] == 0) {
        if (process->d_name[0] < '1' || process->d_name[0] > '9' || proc_session(process->d_name) != session)
            continue;
        char path[64];
        snprintf(path, sizeof path, "/proc/%.16s/task", process->d_name);
        DIR *threads = opendir(path);
        if (threads == NULL) {
            seen[errno == ENOENT ? THREAD_WORKS : THREAD_HIDDEN]++;
            continue;
        }
        const struct dirent *thread;
        while ((thread = readdir(threads)) != NULL)
            if (thread->d_name[0] != '.')
                seen[thread_look(process->d_name, thread->d_name, pipe_inode)]++;
        closedir(threads);
    }
    closedir(processes);
    if (seen[THREAD_WORKS] > 0)
        return WAIT_NO;
    if (seen[THREAD_HIDDEN] > 0)
        return WAIT_UNKNOWN;
    if (seen[THREAD_READS_PIPE] > 0)
        return seen[THREAD_BLOCKED] == 0 && seen[THREAD_EVENT_LOOP] == 0 ? WAIT_YES : WAIT_UNKNOWN;
    return seen[THREAD_EVENT_LOOP] > 0 ? WAIT_UNKNOWN : WAIT_NO;
}
