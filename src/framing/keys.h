/* PROPAGATE_KEY: the keys of the records whose lines are on their way through the Calculator, by the mark of their line.
 *
 * The inlet notes a key before it writes its record, so it is there before the answer can be; the outlet finds it when the
 * line comes, and lets go of all before it. Keys are copied, because a record may go (its partition was lost) while a line
 * that nobody waits for is still to come.
 *
 * Marks only grow, but for those of a new run, which take the place of what the last one left unanswered. So the keys are
 * a queue, in chunks that are freed as they run empty: what is held is what is in flight, with less than twice its size
 * in the worst case (a key that does not fit into the rest of a chunk wastes less than its own size), and an allocation
 * is for a chunk, not for a key.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_CHUNK_BYTES ((size_t)65536)
#define KEYS_LARGE_BYTES (KEYS_CHUNK_BYTES / 8) /* from here on a key that does not fit has a chunk of just its size */

typedef struct {
    int64_t mark;
    size_t bytes;
} key_head_t; /* its bytes follow; not aligned */

typedef struct key_chunk_s {
    struct key_chunk_s *next;
    size_t capacity, used;
    uint8_t data[];
} key_chunk_t;

typedef struct {
    pthread_mutex_t lock;
    int carried; /* set once; 0: keys are not carried */
    key_chunk_t *first, *last;
    key_chunk_t *spare; /* of KEYS_CHUNK_BYTES: the one that ran empty last, for the next */
    size_t at;          /* of the first key in the first chunk; its `used` where there is none */
    int64_t noted;      /* no key of a later mark is held */
    int64_t held_bytes; /* of all chunks */
} keys_t;

static inline void keys_open(keys_t *k) {
    pthread_mutex_init(&k->lock, NULL);
    k->carried = 1;
}

static inline void keys_free_chunk(keys_t *k, key_chunk_t *chunk) {
    if (chunk->capacity == KEYS_CHUNK_BYTES && k->spare == NULL) {
        k->spare = chunk;
        return;
    }
    k->held_bytes -= (int64_t)(sizeof *chunk + chunk->capacity);
    free(chunk);
}

static inline void keys_close(keys_t *k) {
    for (key_chunk_t *chunk = k->first, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(k->spare);
    k->first = k->last = k->spare = NULL;
}

static inline void keys_lock(keys_t *k) { pthread_mutex_lock(&k->lock); }
static inline void keys_unlock(keys_t *k) { pthread_mutex_unlock(&k->lock); }

/* The first key there is, or NULL; empty chunks before it go. */
static inline const uint8_t *keys_first(keys_t *k, key_head_t *head) {
    while (k->first != NULL && k->at == k->first->used) {
        key_chunk_t *empty = k->first;
        k->first = empty->next;
        k->at = 0;
        keys_free_chunk(k, empty);
    }
    if (k->first == NULL) {
        k->last = NULL;
        return NULL;
    }
    memcpy(head, k->first->data + k->at, sizeof *head);
    return k->first->data + k->at + sizeof *head;
}

/* Bytes of memory. */
static inline int64_t keys_held(keys_t *k) {
    if (!k->carried)
        return 0;
    keys_lock(k);
    int64_t bytes = k->held_bytes;
    keys_unlock(k);
    return bytes;
}

/* Let go of the keys of every mark before this one. Locked. */
static inline void keys_forget(keys_t *k, int64_t mark) {
    key_head_t head;
    while (keys_first(k, &head) != NULL && head.mark < mark)
        k->at += sizeof head + head.bytes;
}

/* The key's length, or -1: it has none, or nobody wrote a record for this line. Those before it are gone. Locked. */
static inline int64_t keys_find(keys_t *k, int64_t mark, const uint8_t **key) {
    key_head_t head;
    keys_forget(k, mark);
    *key = keys_first(k, &head);
    return *key == NULL || head.mark != mark ? -1 : (int64_t)head.bytes;
}

/* Let go of the keys from this mark on: their records are written again. Locked. */
static inline void keys_take_back(keys_t *k, int64_t mark) {
    key_chunk_t **rest = &k->first, *last = NULL;
    size_t begin = k->at, at = k->at;
    k->noted = mark - 1;
    for (; *rest != NULL; begin = at = 0) {
        key_head_t head;
        for (; at < (*rest)->used; at += sizeof head + head.bytes) {
            memcpy(&head, (*rest)->data + at, sizeof head);
            if (head.mark >= mark)
                break;
        }
        int cut = at < (*rest)->used;
        (*rest)->used = at;
        if (cut && at == begin) /* nothing of it is left */
            break;
        last = *rest;
        rest = &last->next;
        if (cut)
            break;
    }
    key_chunk_t *gone = *rest;
    *rest = NULL;
    k->last = last;
    for (key_chunk_t *next; gone != NULL; gone = next) {
        next = gone->next;
        keys_free_chunk(k, gone);
    }
}

/* A chunk at the end with room for so many bytes; NULL when memory is short. */
static inline key_chunk_t *keys_room(keys_t *k, size_t bytes) {
    key_chunk_t *chunk = k->last;
    if (chunk != NULL && chunk->capacity - chunk->used >= bytes)
        return chunk;
    if (bytes < KEYS_LARGE_BYTES && k->spare != NULL) {
        chunk = k->spare;
        k->spare = NULL;
    } else {
        size_t capacity = bytes < KEYS_LARGE_BYTES ? KEYS_CHUNK_BYTES : bytes;
        chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL)
            return NULL;
        chunk->capacity = capacity;
        k->held_bytes += (int64_t)(sizeof *chunk + capacity);
    }
    chunk->next = NULL;
    chunk->used = 0;
    if (k->last != NULL)
        k->last->next = chunk;
    else {
        k->first = chunk;
        k->at = 0;
    }
    k->last = chunk;
    return chunk;
}

/* The line with this mark answers a record with this key; NULL: it has none. Returns 0, or -1 when memory is short. Locked. */
static inline int keys_note(keys_t *k, int64_t mark, const void *key, size_t bytes) {
    if (mark <= k->noted)
        keys_take_back(k, mark);
    if (key != NULL) {
        key_head_t head = {.mark = mark, .bytes = bytes};
        key_chunk_t *chunk = keys_room(k, sizeof head + bytes);
        if (chunk == NULL)
            return -1;
        memcpy(chunk->data + chunk->used, &head, sizeof head);
        if (bytes > 0)
            memcpy(chunk->data + chunk->used + sizeof head, key, bytes);
        chunk->used += sizeof head + bytes;
    }
    k->noted = mark;
    return 0;
}
