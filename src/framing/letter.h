/* Dead letters: what cannot become a record of the outgoing topic, on its way to the dead letter stream.
 *
 * The inlet posts those of records into a box that both threads see; the outlet adds those of lines, hands all of them to
 * librdkafka in order, and keeps each until it is delivered. A record's letter has a number that only grows; the box tells
 * up to which number all are delivered, and the inlet keeps a record in its ledger for so long. A line's letter keeps its
 * batch outstanding instead. So neither is acknowledged before its letter is there.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "live.h"

#define LETTERS_MAX 64                       /* of records, posted and not delivered */
#define LETTERS_MAX_BYTES ((int64_t)8 << 20) /* of values, likewise, and of lines; a larger one goes alone */
#define LETTERS_MAX_LINES 4096               /* there are: then no more lines are offered that may be refused */

typedef enum { LETTER_WAITS, LETTER_FLIES, LETTER_DELIVERED } letter_state_t;

typedef struct letter_s {
    struct letter_s *next;
    const void *value, *key;
    size_t value_bytes, key_bytes;
    void *headers;  /* rd_kafka_headers_t, owned */
    batch_t *batch; /* a line's; NULL: a record's */
    int64_t number; /* a record's */
    uint64_t hash;  /* a line's in a transaction, see refused.h */
    letter_state_t state;
    int64_t again_ns; /* it was not taken: not offered before */
    int alone;        /* offered in a request of its own: a refusal is meant for it */
    int given_up;     /* librdkafka still has it, but nobody waits for it */
    int64_t copied_bytes;
    uint8_t copy[]; /* of value and key; nothing where they live as long as the letter */
} letter_t;

typedef struct {
    letter_t *first, *last;
} letters_t;

typedef struct {
    pthread_mutex_t lock;
    letters_t posted;      /* by the inlet, not taken yet; guarded by lock */
    _Atomic int64_t bytes; /* copied, of all letters there are */
    _Atomic int64_t count; /* of all letters there are */
    _Atomic int64_t issued;
    _Atomic int64_t delivered; /* every number up to it */
} letterbox_t;

static inline void letterbox_open(letterbox_t *box) { pthread_mutex_init(&box->lock, NULL); }

static inline void letters_add(letters_t *letters, letter_t *letter) {
    letter->next = NULL;
    if (letters->last != NULL)
        letters->last->next = letter;
    else
        letters->first = letter;
    letters->last = letter;
}

static inline letter_t *letters_take(letters_t *letters) {
    letter_t *letter = letters->first;
    if (letter == NULL)
        return NULL;
    letters->first = letter->next;
    if (letters->first == NULL)
        letters->last = NULL;
    return letter;
}

static inline int64_t letterbox_bytes(letterbox_t *box) { return atomic_load(&box->bytes); }
static inline int64_t letterbox_count(letterbox_t *box) {
    return atomic_load_explicit(&box->count, memory_order_relaxed);
}

/* A letter with copies of value and key, or with `copied` 0 with the value as it lies. NULL when memory is short. */
static inline letter_t *letter_new(letterbox_t *box, const void *value, size_t value_bytes, const void *key,
                                   size_t key_bytes, int copied) {
    size_t bytes = key_bytes + (copied ? value_bytes : 0);
    letter_t *letter = malloc(sizeof *letter + bytes);
    if (letter == NULL)
        return NULL;
    *letter = (letter_t){.value = value, .value_bytes = value_bytes, .key_bytes = key_bytes, .state = LETTER_WAITS};
    letter->copied_bytes = (int64_t)bytes;
    if (key != NULL) {
        if (key_bytes > 0)
            memcpy(letter->copy, key, key_bytes);
        letter->key = letter->copy;
    }
    if (copied && value != NULL) { /* a tombstone's value stays none */
        if (value_bytes > 0)
            memcpy(letter->copy + key_bytes, value, value_bytes);
        letter->value = letter->copy + key_bytes;
    }
    atomic_fetch_add(&box->bytes, (int64_t)bytes);
    atomic_fetch_add(&box->count, 1);
    live_add(LIVE_letters, 1);
    return letter;
}

static inline void letter_free(letterbox_t *box, letter_t *letter) {
    atomic_fetch_sub(&box->bytes, letter->copied_bytes);
    atomic_fetch_sub(&box->count, 1);
    live_add(LIVE_letters, -1);
    free(letter);
}

/* Number it and post it; the outlet's thread takes it. */
static inline int64_t letterbox_post(letterbox_t *box, letter_t *letter) {
    letter->number = atomic_fetch_add(&box->issued, 1) + 1;
    letters_add(&box->posted, letter);
    return letter->number;
}
