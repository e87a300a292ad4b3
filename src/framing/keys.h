/* PROPAGATE_KEY: the keys of the records whose lines are on their way through the Calculator, by the mark of their line.
 *
 * The inlet notes a key before it writes its record, so it is there before the answer can be. There are as many slots as
 * records in flight, so a slot is taken again only when its line is delivered; keys are copied, because a record may go
 * (its partition was lost) while a line that nobody waits for is still to come. Slots keep their memory. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    uint32_t capacity;
    int64_t bytes; /* -1: the record has no key */
} key_slot_t;

typedef struct {
    pthread_mutex_t lock;
    key_slot_t *slots; /* NULL: keys are not carried */
    int64_t mask;
    int64_t noted; /* the newest mark */
} keys_t;

/* 0, or -1 when memory is short. */
static int keys_open(keys_t *k, int64_t max_records) {
    int64_t capacity = 1;
    while (capacity < max_records + 1)
        capacity <<= 1;
    pthread_mutex_init(&k->lock, NULL);
    k->slots = calloc((size_t)capacity, sizeof *k->slots);
    k->mask = capacity - 1;
    return k->slots == NULL ? -1 : 0;
}

static void keys_close(keys_t *k) {
    if (k->slots == NULL)
        return;
    for (int64_t i = 0; i <= k->mask; i++)
        free(k->slots[i].data);
    free(k->slots);
    k->slots = NULL;
}

static inline void keys_lock(keys_t *k) { pthread_mutex_lock(&k->lock); }
static inline void keys_unlock(keys_t *k) { pthread_mutex_unlock(&k->lock); }

/* The line with this mark answers a record with this key. Returns 0, or -1 when memory is short. Locked. */
static inline int keys_note(keys_t *k, int64_t mark, const void *key, size_t bytes) {
    key_slot_t *slot = &k->slots[mark & k->mask];
    if (key != NULL && bytes > slot->capacity) {
        uint8_t *grown = realloc(slot->data, bytes);
        if (grown == NULL)
            return -1;
        slot->data = grown;
        slot->capacity = (uint32_t)bytes;
    }
    if (key != NULL && bytes > 0)
        memcpy(slot->data, key, bytes);
    slot->bytes = key == NULL ? -1 : (int64_t)bytes;
    k->noted = mark;
    return 0;
}

/* The key's length, or -1: it has none, or nobody wrote a record for this line. Locked. */
static inline int64_t keys_bytes(const keys_t *k, int64_t mark) {
    return mark > k->noted || mark + k->mask < k->noted ? -1 : k->slots[mark & k->mask].bytes;
}

static inline const uint8_t *keys_data(const keys_t *k, int64_t mark) { return k->slots[mark & k->mask].data; }
