/* One thread publishes counters that are all the same and rise, another reads them: status 1 and a line if it ever sees
 * two of different moments, or an older one after a newer one. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "counters.h"

#define COUNT 37

static counters_t counters;
static atomic_int enough;

static void *publish(void *nothing) {
    int64_t values[COUNT];
    for (int64_t round = 1; !atomic_load(&enough); round++) {
        for (int i = 0; i < COUNT; i++)
            values[i] = round;
        counters_publish(&counters, values, COUNT);
    }
    return nothing;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void) {
    pthread_t writer;
    int64_t values[COUNT], last = 0, changes = 0;
    int torn = 0;
    pthread_create(&writer, NULL, publish, NULL);
    for (double end_s = now_s() + 2; now_s() < end_s && changes < 100000 && !torn;) {
        counters_read(&counters, values, COUNT);
        for (int i = 1; i < COUNT; i++)
            torn |= values[i] != values[0];
        torn |= values[0] < last;
        changes += values[0] != last;
        last = values[0];
    }
    atomic_store(&enough, 1);
    pthread_join(writer, NULL);
    printf("%lld changes seen, %s\n", (long long)changes, torn ? "torn" : "whole");
    return torn || changes == 0;
}
