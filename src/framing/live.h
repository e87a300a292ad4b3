/* What native code holds now, by kind: all of it is back to nothing when the ends of the stream are gone.
 *
 * librdkafka's objects are counted where they are made and destroyed, in the function table itself, so that no call can be
 * forgotten: live_watch puts counting functions in the place of librdkafka's own. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "rdkafka.h"

/* clang-format off */
#define LIVE_KINDS(X)                                                 \
    X(objects)  /* Inlet, Outlet and Ledger */                        \
    X(clients)                                                        \
    X(queues)   /* references to librdkafka's queues */               \
    X(topics)   /* topic handles */                                   \
    X(lists)    /* of partitions, and the group's metadata */         \
    X(errors)                                                         \
    X(messages) /* records taken from librdkafka and not given back */ \
    X(letters)  /* dead letters */                                     \
    X(headers)  /* of them, and parsed ones of records */             \
    X(lines)    /* that a client never reported on before its end */  \
    X(slabs)
/* clang-format on */

enum {
#define X(kind) LIVE_##kind,
    LIVE_KINDS(X)
#undef X
        LIVE_COUNT
};

extern const char *const live_names[LIVE_COUNT];

/* Cache lines of their own: the inlet counts every record, and other threads read what would lie beside it. */
typedef struct {
    _Alignas(64) _Atomic int64_t count[LIVE_COUNT];
    _Alignas(64) rdk_api_t made_by; /* librdkafka's own functions */
} live_t;

extern live_t live;

static inline void live_add(int kind, int64_t n) {
    atomic_fetch_add_explicit(&live.count[kind], n, memory_order_relaxed);
}

static inline int64_t live_of(int kind) { return atomic_load(&live.count[kind]); }

/* Count from now on; the table was just loaded. */
void live_watch(void);
