/* Exactly-once: how the two threads agree on a transaction's end, so that it holds the lines of some records, all of
 * them, and their offsets.
 *
 * The inlet asks for a cut; the outlet stops behind a line that may be the last of a transaction and, when all before it is
 * delivered, says which mark that is; the inlet hands over the offsets of the records up to the mark; the outlet commits
 * them with the lines; the inlet lets the records go. Every state has one thread that may leave it, but for CUT_VOID, which
 * the outlet enters when a transaction is lost and the inlet leaves when its records are to be written again:
 *
 *     NONE -> ASKED | ANYWHERE -> DELIVERED -> OFFSETS -> COMMITTED -> NONE
 *      inlet         outlet   \     inlet       outlet     inlet
 *                              `-> NONE (nothing to commit)
 *     NONE, ASKED, ANYWHERE, DELIVERED -> ABORT (inlet: it cannot be committed any more) -> VOID (outlet)
 *     any but COMMITTED -> VOID (outlet) -> NONE (inlet)
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CUT_NONE,
    CUT_ASKED,     /* behind a line that may end a transaction */
    CUT_ANYWHERE,  /* behind any line: no record is under way, and none is written until it is done */
    CUT_DELIVERED, /* everything up to `mark` is */
    CUT_OFFSETS,   /* commit, with `offsets` and `group` */
    CUT_COMMITTED,
    CUT_ABORT,
    CUT_VOID, /* what was printed since the last commit does not count, and is dropped until the records come again */
} cut_state_t;

typedef struct {
    atomic_int state;
    int64_t mark;
    const char *why;         /* of CUT_ABORT */
    _Atomic(void *) offsets; /* rd_kafka_topic_partition_list_t, NULL: lines alone; who takes it destroys it */
    _Atomic(void *) group;   /* rd_kafka_consumer_group_metadata_t, likewise */
} cut_t;

static inline void *cut_take_offsets(cut_t *c) { return atomic_exchange(&c->offsets, NULL); }
static inline void *cut_take_group(cut_t *c) { return atomic_exchange(&c->group, NULL); }

static inline int cut_state(const cut_t *c) { return atomic_load_explicit(&c->state, memory_order_acquire); }

/* Returns 0 if the state was another one by now. */
static inline int cut_move(cut_t *c, int from, int to) { return atomic_compare_exchange_strong(&c->state, &from, to); }

/* Destroy what was handed over and nobody took. */
void cut_drop_offsets(cut_t *c);
