/* Two helper threads work on each line while the main thread waits for them, as numeric libraries do. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_barrier_t begin, end;

static void *helper(void *unused) {
    (void)unused;
    for (;;) {
        pthread_barrier_wait(&begin);
        for (volatile int i = 0; i < 100000; i++)
            ;
        pthread_barrier_wait(&end);
    }
    return NULL;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    pthread_t thread;
    const int side = open(getenv("SIDE"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    pthread_barrier_init(&begin, NULL, 3);
    pthread_barrier_init(&end, NULL, 3);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread, NULL, helper, NULL);
    while ((n = getline(&line, &size, stdin)) > 0) {
        pthread_barrier_wait(&begin);
        pthread_barrier_wait(&end);
        if (write(1, line, (size_t)n) != n || write(side, line, (size_t)n) != n)
            return 1;
    }
    return 0;
}
