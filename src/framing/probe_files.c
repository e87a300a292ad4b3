#define _GNU_SOURCE
#include "probe_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

probe_path_t probe_path(const char *proc, pid_t pid, pid_t tid, const char *name) {
    probe_path_t path;
    if (pid == 0)
        snprintf(path.text, sizeof path.text, "%s/%s", proc, name);
    else if (tid == 0)
        snprintf(path.text, sizeof path.text, "%s/%d/%s", proc, (int)pid, name);
    else
        snprintf(path.text, sizeof path.text, "%s/%d/task/%d/%s", proc, (int)pid, (int)tid, name);
    return path;
}

ssize_t probe_read_path(const char *path, char *buffer, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    size_t used = 0;
    ssize_t n;
    do {
        n = read(fd, buffer + used, size - 1 - used);
        if (n > 0)
            used += (size_t)n;
    } while (n > 0 && used < size - 1 && size > 4096); /* a small file comes whole */
    int error = errno;
    close(fd);
    errno = error;
    if (n < 0)
        return -1;
    buffer[used] = '\0';
    return (ssize_t)used;
}

ssize_t probe_read(const char *proc, pid_t pid, pid_t tid, const char *name, char *buffer, size_t size) {
    probe_path_t path = probe_path(proc, pid, tid, name);
    return probe_read_path(path.text, buffer, size);
}

ssize_t probe_read_link(const char *proc, pid_t pid, pid_t tid, const char *name, char *buffer, size_t size) {
    probe_path_t path = probe_path(proc, pid, tid, name);
    ssize_t n = readlink(path.text, buffer, size - 1);
    buffer[n < 0 ? 0 : n] = '\0';
    return n;
}

int probe_read_memory(const char *proc, pid_t pid, pid_t tid, uint64_t address, void *buffer, size_t size) {
    if (address > INT64_MAX - size)
        return -1;
    probe_path_t path = probe_path(proc, pid, tid, "mem");
    int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = pread(fd, buffer, size, (off_t)address);
    close(fd);
    return n == (ssize_t)size ? 0 : -1;
}

int64_t probe_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}
