/* Virtual time, fibers and chance: everything that the simulation does follows from a seed.
 *
 * Each thread of the Supervisor is a fiber, and so is the Calculator; one runs at a time. Another may come in at every
 * call through a table, lock and shared atomic (`world_switch`). Time passes when nobody can run, and a little by itself.
 * What brokers and librdkafka's own threads do are events, at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MICROSECOND INT64_C(1000)
#define MILLISECOND INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define FOREVER INT64_MAX

/* Who goes when it is killed. */
typedef enum { OF_BROKERS, OF_SUPERVISOR, OF_CALCULATOR } owner_t;

typedef struct fiber_s fiber_t;

void world_begin(uint64_t seed);
int64_t world_now_ns(void);
int64_t world_events(void);

/* 0 .. below-1 */
uint64_t chance(uint64_t below);
static inline bool one_in(uint64_t n) { return chance(n) == 0; }
/* Somewhere from `least` to `most`, small ones more often. */
int64_t spread(int64_t least, int64_t most);

fiber_t *fiber_begin(owner_t owner, const char *name, void (*body)(void *), void *subject);
bool fiber_is_over(const fiber_t *fiber);
/* Its handle stays good when it is over, until that is taken back. */
void fiber_keep(fiber_t *fiber, bool kept);
/* The one that runs; NULL in an event. */
fiber_t *fiber_now(void);
const char *fiber_name(const fiber_t *fiber);
/* How many locks it holds. */
int *fiber_locks(fiber_t *fiber);

/* Another may run, or the Supervisor be killed. */
void world_switch(void);
/* Until it is ready, or that time. Returns whether it is ready. */
bool world_wait(bool (*ready)(void *), void *subject, int64_t until_ns);
void world_sleep(int64_t ns);
/* The calling fiber ends here. */
void world_end_fiber(void) __attribute__((noreturn));

void world_at(owner_t owner, int64_t at_ns, void (*action)(void *), void *subject);
/* Fibers and events of this owner are gone. */
void world_kill(owner_t owner);

/* Run until `over` says so, looked at between two switches; false: nothing can happen any more, or the time is up. */
bool world_run(bool (*over)(void), int64_t until_ns);

/* A promise is broken, or the simulation itself is wrong: said with the seed and the time, and that is the end. */
void world_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Kept, the last ones, to be shown with a failure. */
void world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool world_loud; /* said at once */

/* Memory of the Supervisor, and of librdkafka in it: gone when it is killed. */
void memory_drop(void);
/* Bytes that the data path has, librdkafka's apart. */
size_t memory_held(void);

/* What is looked at after each event. */
extern void (*world_check)(void);
