/* The program under test, started as the Supervisor starts a Calculator: a session of its own, pipes of 1 MiB. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20)

typedef struct {
    pid_t pid;
    int in, out, err; /* our ends */
    ino_t stdio[3];
} child_t;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static ino_t inode_of(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        fail("fstat");
    return status.st_ino;
}

static void child_start(child_t *c, char *const command[]) {
    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        fail("pipe2");
    (void)fcntl(in[1], F_SETPIPE_SZ, PIPE_BYTES); /* less, where the machine's limit is lower */
    (void)fcntl(out[1], F_SETPIPE_SZ, PIPE_BYTES);
    c->stdio[0] = inode_of(in[0]);
    c->stdio[1] = inode_of(out[0]);
    c->stdio[2] = inode_of(err[0]);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans come to us, as they come to a Supervisor */
    c->pid = fork();
    if (c->pid < 0)
        fail("fork");
    if (c->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execvp(command[0], command);
        fail(command[0]);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
}

/* Whether the program has ended, and is reaped. */
static int child_ended(child_t *c) { return c->pid <= 0 || waitpid(c->pid, NULL, WNOHANG) == c->pid; }

/* SIGKILL to everything that is left below us, those that went into another session included. */
static void child_kill(child_t *c) {
    char path[64], word[32];
    if (c->pid > 0)
        kill(-c->pid, SIGKILL);
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 200; round++) {
        FILE *children = fopen(path, "r");
        int left = 0;
        while (children != NULL && fscanf(children, "%31s", word) == 1) {
            kill((pid_t)atol(word), SIGKILL);
            left++;
        }
        if (children != NULL)
            fclose(children);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (left == 0)
            return;
        usleep(5000);
    }
}
