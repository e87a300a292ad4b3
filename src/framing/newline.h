/* Newline search, portable. Contracts hold for the other levels too. Nothing outside p[0..n) is read. */
#ifndef FRAMING_NEWLINE_H
#define FRAMING_NEWLINE_H

#include "cpu.h"

/* First '\n' of p[0..n), or NULL. */
static inline const uint8_t *find_newline_scalar(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] == '\n')
            return p + i;
    return NULL;
}

/* At every level but the portable one: a vector search of our own was no faster than glibc's on lines of any length. */
static inline const uint8_t *find_newline_libc(const uint8_t *p, size_t n) { return n ? memchr(p, '\n', n) : NULL; }

#endif
