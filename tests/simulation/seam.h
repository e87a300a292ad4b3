/* Put before every file of the data path when it is built for the simulation: locks, shared atomics and memory go through
 * the simulation, as system calls and librdkafka do by their tables. Each is a place where another thread may come in
 * between, or the Supervisor may be killed. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void sim_lock(pthread_mutex_t *lock);
void sim_unlock(pthread_mutex_t *lock);
void sim_touch(void);
void *sim_malloc(size_t size);
void *sim_calloc(size_t count, size_t size);
void *sim_realloc(void *old, size_t size);
void sim_free(void *memory);
char *sim_strdup(const char *text);

#define pthread_mutex_lock sim_lock
#define pthread_mutex_unlock sim_unlock
#define malloc sim_malloc
#define calloc sim_calloc
#define realloc sim_realloc
#define free sim_free
#define strdup sim_strdup

#define SIM_LOAD(at)                                         \
    __extension__({                                          \
        sim_touch();                                         \
        __auto_type sim_at = (at);                           \
        __typeof__((void)0, *sim_at) sim_value;              \
        __atomic_load(sim_at, &sim_value, __ATOMIC_SEQ_CST); \
        sim_value;                                           \
    })
#define SIM_STORE(at, value)                                  \
    __extension__({                                           \
        sim_touch();                                          \
        __auto_type sim_at = (at);                            \
        __typeof__((void)0, *sim_at) sim_value = (value);     \
        __atomic_store(sim_at, &sim_value, __ATOMIC_SEQ_CST); \
    })
#define SIM_EXCHANGE(at, value)                                            \
    __extension__({                                                        \
        sim_touch();                                                       \
        __auto_type sim_at = (at);                                         \
        __typeof__((void)0, *sim_at) sim_value = (value), sim_old;         \
        __atomic_exchange(sim_at, &sim_value, &sim_old, __ATOMIC_SEQ_CST); \
        sim_old;                                                           \
    })

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_compare_exchange_strong
#define atomic_load(at) SIM_LOAD(at)
#define atomic_load_explicit(at, order) SIM_LOAD(at)
#define atomic_store(at, value) SIM_STORE(at, value)
#define atomic_store_explicit(at, value, order) SIM_STORE(at, value)
#define atomic_exchange(at, value) SIM_EXCHANGE(at, value)
#define atomic_compare_exchange_strong(at, expected, value) \
    (sim_touch(),                                           \
     atomic_compare_exchange_strong_explicit(at, expected, value, memory_order_seq_cst, memory_order_seq_cst))
