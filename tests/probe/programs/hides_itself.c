/* What its threads do may not be looked at by anybody but root: as after setuid, or by a library that guards secrets. It
 * sleeps, or is busy, for each line. */
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argv;
    char line[256];
    ssize_t n;
    prctl(PR_SET_DUMPABLE, 0);
    while ((n = read(0, line, sizeof line)) > 0) {
        struct timespec now, end;
        clock_gettime(CLOCK_MONOTONIC, &end);
        do
            clock_gettime(CLOCK_MONOTONIC, &now);
        while (argc > 1 && (now.tv_sec - end.tv_sec) * 1000 + (now.tv_nsec - end.tv_nsec) / 1000000 < 250);
        if (write(1, line, (size_t)n) != n)
            break;
    }
    return 0;
}
