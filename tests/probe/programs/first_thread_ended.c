/* The process's first thread ends; another one reads, and is busy for a while with each line. */
#define _GNU_SOURCE
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static void *work(void *unused) {
    char line[256];
    ssize_t n;
    while ((n = read(0, line, sizeof line)) > 0) {
        struct timespec now, end;
        clock_gettime(CLOCK_MONOTONIC, &end);
        do
            clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - end.tv_sec) * 1000 + (now.tv_nsec - end.tv_nsec) / 1000000 < 250);
        if (write(1, line, (size_t)n) != n)
            break;
    }
    _exit(0);
    return unused;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    pthread_exit(NULL);
}
