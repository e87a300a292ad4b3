/* Takes STDIN by splice(2), as newer tools do, and sleeps for each line before it passes it on. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    int inner[2];
    if (pipe(inner) != 0)
        return 1;
    ssize_t n;
    while ((n = splice(0, NULL, inner[1], NULL, 65536, 0)) > 0) {
        nanosleep(&(struct timespec){0, 250000000}, NULL);
        splice(inner[0], NULL, 1, NULL, (size_t)n, 0);
    }
    return 0;
}
