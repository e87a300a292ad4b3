/* Reading small files of /proc, or of a recorded tree of it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* "PROC/PID/NAME", or "PROC/PID/task/TID/NAME" with a ``tid``; "PROC/NAME" without a ``pid``. */
typedef struct {
    char text[160];
} probe_path_t;

probe_path_t probe_path(const char *proc, pid_t pid, pid_t tid, const char *name);

/* The first bytes of a file, NUL-terminated. Their number, or -1 with errno. */
ssize_t probe_read_path(const char *path, char *buffer, size_t size);
ssize_t probe_read(const char *proc, pid_t pid, pid_t tid, const char *name, char *buffer, size_t size);

/* Where a link leads to, NUL-terminated; the same result. */
ssize_t probe_read_link(const char *proc, pid_t pid, pid_t tid, const char *name, char *buffer, size_t size);

/* ``size`` bytes of a process's memory from ``address`` on: 0, or -1. */
int probe_read_memory(const char *proc, pid_t pid, pid_t tid, uint64_t address, void *buffer, size_t size);

int64_t probe_clock_ns(void);
