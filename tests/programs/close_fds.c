/* Opens descriptors, closes those from 3 on the way the argument names, prints the ones that are left. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "close_fds.h"

int main(int argc, char **argv) {
    /* More than one buffer of directory entries, with holes, and one far out. */
    for (int fd = 3; fd < 600; fd++) {
        if (fd % 3 != 0) {
            dup2(0, fd);
        }
    }
    dup2(0, 1000);
    if (argc > 1 && strcmp(argv[1], "one-by-one") == 0) {
        spawn_close_fds_one_by_one(3, 1024);
    } else {
        spawn_close_fds(3, 1024);
    }
    for (int fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) != -1) {
            printf("%d\n", fd);
        }
    }
    return 0;
}
