/* Exactly-once, the outlet's part: lines and offsets are committed together, or not at all. See cut.h.
 *
 * librdkafka's transaction calls wait for the broker, or for its main thread, which may wait for one that looks a name up. So
 * they are made between two rounds, without the lock; a round decides which, and what it answered is dealt with holding the
 * lock again: outlet_call.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct outlet_s outlet_t;

typedef struct {
    bool ready, open, aborting, offsets_sent;
    bool begin_owed;    /* something waits for a transaction to be open */
    bool refusal_noted; /* of the open transaction */
    int lost_code;      /* why the open transaction cannot be committed any more */
    int64_t commits, aborts;
} transaction_t;

/* Do lines stay in the pipe? Not those up to the next marker, if others before it are in the open transaction.
 *
 * It could not end before, would time out in a pause that is longer, and cost a run of the Calculator. */
bool transaction_holds(const outlet_t *s);

/* May a line be framed now? */
bool transaction_may_frame(const outlet_t *s);

/* A letter that comes between a cut and its commit belongs to the next transaction. */
bool transaction_may_send_letters(outlet_t *s);

/* Whether a transaction is open; if not, the next call opens one. */
bool transaction_begin(outlet_t *s);

/* The transaction is lost: drop what is not produced, and have what was produced aborted. */
void transaction_fail(outlet_t *s, int code, const char *why);

/* Abort the open transaction by order, unless it is committed now or lost already. */
void transaction_give_up(outlet_t *s);

void transaction_drop_offsets(outlet_t *s);

/* Lines of the open transaction came back: it is lost.
 *
 * `error`: of a call that the failed transaction does not allow, or NULL; it is destroyed. */
void transaction_lose(outlet_t *s, void *error);

/* Deal with librdkafka's error, as its class prescribes, and destroy it. */
void transaction_call_failed(outlet_t *s, void *error);

/* Move the transaction on: what can be done at once is done, what waits for the broker becomes the next call. */
void transaction_move(outlet_t *s, int64_t now_ns);
