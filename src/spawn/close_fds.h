/* Close every descriptor from `lowest` on, between vfork and exec: async-signal-safe, no allocation, own process only. */
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436 /* the same number on every architecture; older headers do not name it */
#endif

/* What getdents64 writes; libc keeps the type to itself, and its readdir allocates. */
struct spawn_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    uint16_t d_reclen;
    uint8_t d_type;
    char d_name[];
};

/* The decimal number in `name`, or -1 for "." and "..". */
static int spawn_fd_of_name(const char *name) {
    int fd = 0;
    if (*name == '\0') {
        return -1;
    }
    for (; *name != '\0'; name++) {
        if (*name < '0' || *name > '9') {
            return -1;
        }
        fd = fd * 10 + (*name - '0');
    }
    return fd;
}

/* For kernels before 5.9 and for seccomp profiles that know no close_range. `highest` bounds the loop without /proc. */
static void spawn_close_fds_one_by_one(int lowest, int highest) {
    _Alignas(struct spawn_dirent64) char entries[4096];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        for (int fd = lowest; fd < highest; fd++) {
            close(fd);
        }
        return;
    }
    for (;;) {
        long length = syscall(SYS_getdents64, directory, entries, sizeof entries);
        if (length <= 0) {
            break;
        }
        for (long at = 0; at < length;) {
            const struct spawn_dirent64 *entry = (const struct spawn_dirent64 *)(entries + at);
            int fd = spawn_fd_of_name(entry->d_name);
            if (fd >= lowest && fd != directory) {
                close(fd);
            }
            at += entry->d_reclen;
        }
    }
    close(directory);
}

static void spawn_close_fds(int lowest, int highest) {
    if (syscall(SYS_close_range, (unsigned)lowest, ~0U, 0U) != 0) {
        spawn_close_fds_one_by_one(lowest, highest);
    }
}
