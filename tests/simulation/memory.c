/* The Supervisor's memory and locks in the simulation. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

typedef struct block_s {
    struct block_s *before, *next;
    size_t size;
    bool of_model;
    _Alignas(16) uint8_t data[];
} block_t;

static block_t blocks = {.before = &blocks, .next = &blocks};
static size_t held;

static void *block_new(size_t size, bool of_model) {
    block_t *block = malloc(sizeof *block + size);
    if (block == NULL)
        abort();
    block->size = size;
    block->of_model = of_model;
    block->before = &blocks;
    block->next = blocks.next;
    blocks.next->before = block;
    blocks.next = block;
    held += of_model ? 0 : size;
    return block->data;
}

void *sim_malloc(size_t size) { return block_new(size, false); }
void *model_malloc(size_t size) { return block_new(size, true); }
void *model_calloc(size_t count, size_t size) { return memset(model_malloc(count * size), 0, count * size); }
char *model_strdup(const char *text) { return memcpy(model_malloc(strlen(text) + 1), text, strlen(text) + 1); }

static block_t *block_of(void *memory) { return (block_t *)((uint8_t *)memory - offsetof(block_t, data)); }

void sim_free(void *memory) {
    if (memory == NULL)
        return;
    block_t *block = block_of(memory);
    block->before->next = block->next;
    block->next->before = block->before;
    held -= block->of_model ? 0 : block->size;
    memset(memory, 0xDD, block->size); /* who reads on reads nonsense */
    free(block);
}

void *sim_calloc(size_t count, size_t size) { return memset(sim_malloc(count * size), 0, count * size); }

void *sim_realloc(void *old, size_t size) {
    void *memory = sim_malloc(size);
    if (old != NULL) {
        size_t had = block_of(old)->size;
        memcpy(memory, old, had < size ? had : size);
        sim_free(old);
    }
    return memory;
}

char *sim_strdup(const char *text) { return memcpy(sim_malloc(strlen(text) + 1), text, strlen(text) + 1); }

void memory_drop(void) {
    while (blocks.next != &blocks)
        sim_free(blocks.next->data);
}

size_t memory_held(void) { return held; }

/* One thread runs them all, so a lock that is taken is another fiber's. */
static bool is_free(void *subject) {
    if (pthread_mutex_trylock(subject) != 0)
        return false;
    pthread_mutex_unlock(subject);
    return true;
}

void sim_lock(pthread_mutex_t *lock) {
    if (fiber_now() == NULL) { /* a callback of librdkafka's own threads */
        if (pthread_mutex_trylock(lock) != 0)
            world_fail("an event needs a lock that somebody holds");
        return;
    }
    world_switch();
    while (pthread_mutex_trylock(lock) != 0)
        world_wait(is_free, lock, FOREVER);
    ++*fiber_locks(fiber_now());
}

void sim_unlock(pthread_mutex_t *lock) {
    if (pthread_mutex_trylock(lock) == 0 || (fiber_now() != NULL && *fiber_locks(fiber_now()) == 0))
        world_fail("a lock is let go that is not held");
    pthread_mutex_unlock(lock);
    if (fiber_now() != NULL) {
        --*fiber_locks(fiber_now());
        world_switch();
    }
}

void sim_touch(void) { world_switch(); }
