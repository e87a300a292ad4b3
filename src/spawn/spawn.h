/* Start a program as leader of a session of its own, with descriptors 0, 1, 2 and no other, every signal at its default
 * and none blocked, to be killed when the thread that started it dies.
 *
 * vfork rather than fork: the page tables of a process with a large ledger are not copied, no atfork handler of a library
 * runs, and the child hands its errno back through the shared memory. In return nothing here may allocate, lock, or run a
 * signal handler of the parent; that is why every signal is blocked from before the vfork until the child has reset them.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "close_fds.h"

struct spawn_request {
    const char *path;
    char **argv;
    char **env;
    int stdio[3];   /* become 0, 1, 2 in the child */
    pid_t parent;   /* who must still be the parent when the death signal is set */
    int fd_highest; /* bound of the last resort of closing descriptors */
};

/* In the child, until exec. Returns only on failure, with errno set. */
static void spawn_exec(const struct spawn_request *request) {
    int stdio[3];
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        /* The kernel's call and not libc's, which refuses its own two: GNU make hands exactly those down ignored. Zeros are
         * the default action in the kernel's struct on every architecture. Refused for KILL and STOP alone. */
        static const char standard[64];
        (void)syscall(SYS_rt_sigaction, number, standard, NULL, (size_t)(_NSIG / 8));
    }
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return;
    }
    /* The parent may have died before the line above, and then nobody will send the signal. */
    if (getppid() != request->parent) {
        _exit(128 + SIGKILL);
    }
    /* Lift them above 2 first: the parent may run with 0, 1 or 2 closed, so that a pipe got one of those numbers. */
    for (int i = 0; i < 3; i++) {
        stdio[i] = fcntl(request->stdio[i], F_DUPFD_CLOEXEC, 3);
        if (stdio[i] < 0) {
            return;
        }
    }
    for (int i = 0; i < 3; i++) {
        if (dup2(stdio[i], i) < 0) {
            return;
        }
    }
    spawn_close_fds(3, request->fd_highest);
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0) {
        return;
    }
    execve(request->path, request->argv, request->env);
}

/* A frame of its own, so that nothing the child does on the shared stack touches the caller's frame. Returns the pid, or
 * -1 when vfork failed; `*child_errno` is what stopped the child before it became the program. */
__attribute__((noinline)) static pid_t spawn_vfork(const struct spawn_request *request, volatile int *child_errno) {
    pid_t pid = vfork();
    if (pid == 0) {
        spawn_exec(request);
        *child_errno = errno;
        _exit(127);
    }
    return pid;
}

/* Returns the pid, or -errno. A child that did not become the program is waited for here: nobody else ever knew it. */
static long spawn_program(const struct spawn_request *request) {
    sigset_t all;
    sigset_t before;
    volatile int child_errno = 0;
    pid_t pid;
    int vfork_errno;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = spawn_vfork(request, &child_errno);
    vfork_errno = errno;
    if (pid > 0 && child_errno != 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        return -vfork_errno;
    }
    return child_errno != 0 ? -child_errno : pid;
}
