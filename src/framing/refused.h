/* Exactly-once: what a topic refused by itself. The refusal fails its transaction, and the records come again with the same
 * lines; known again by a hash, such a line is not offered once more. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define REFUSED_MAX 1024 /* the oldest is forgotten: it would fail one more transaction */

typedef struct {
    uint64_t hashes[REFUSED_MAX];
    int count, next;
} refused_t;

/* FNV-1a, by words: collisions are nobody's doing, and a 64-bit one is not to be met. */
static inline uint64_t refused_hash(const uint8_t *data, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u ^ size, word;
    for (; size >= sizeof word; data += sizeof word, size -= sizeof word) {
        memcpy(&word, data, sizeof word);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    for (; size > 0; size--)
        hash = (hash ^ *data++) * 0x100000001b3u;
    return hash;
}

static inline int refused_has(const refused_t *r, uint64_t hash) {
    for (int i = 0; i < r->count; i++)
        if (r->hashes[i] == hash)
            return 1;
    return 0;
}

static inline void refused_add(refused_t *r, uint64_t hash) {
    if (refused_has(r, hash))
        return;
    r->hashes[r->next] = hash;
    r->next = (r->next + 1) % REFUSED_MAX;
    if (r->count < REFUSED_MAX)
        r->count++;
}
