/* The numbered lines that are fed: the same for the same number, so that what comes out is compared without being kept. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LINE_MOST_BYTES 6000 /* with its newline; one that is longer than PIPE_BUF comes now and then */

static inline uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Returns the size of the line, without its newline. */
static size_t line_of(int64_t number, char line[LINE_MOST_BYTES]) {
    const uint64_t chance = mix((uint64_t)number);
    const size_t size = 10 + (chance % 500 == 7 ? (chance >> 16) % 5000 : (chance >> 16) % 200);
    const int head = snprintf(line, LINE_MOST_BYTES, "%08lld ", (long long)number);
    memset(line + head, 'a' + (int)((chance >> 40) % 20), size - (size_t)head);
    return size;
}

/* What comes out, byte by byte. */
typedef struct {
    int64_t number; /* of the line that `at` lies in */
    size_t at, size;
    char line[LINE_MOST_BYTES];
} expected_t;

static void expected_begin(expected_t *e) {
    e->number = -1;
    e->at = e->size = 0;
}

/* Whether these bytes are what has to come next. */
static int expected_next(expected_t *e, const char *bytes, size_t size) {
    while (size > 0) {
        if (e->at == e->size) {
            e->size = line_of(++e->number, e->line);
            e->line[e->size++] = '\n';
            e->at = 0;
        }
        const size_t n = size < e->size - e->at ? size : e->size - e->at;
        if (memcmp(e->line + e->at, bytes, n) != 0)
            return 0;
        e->at += n;
        bytes += n;
        size -= n;
    }
    return 1;
}
