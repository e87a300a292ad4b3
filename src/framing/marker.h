/* Marker lines: a prefix that does not occur in data, and a number. The Supervisor writes them to STDIN, the Calculator
 * echoes them. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MARKER_PREFIX_MAX_BYTES 64
#define MARKER_LINE_MAX_BYTES (MARKER_PREFIX_MAX_BYTES + 21)

typedef struct {
    uint8_t prefix[MARKER_PREFIX_MAX_BYTES];
    size_t size; /* 0: there are no markers */
} marker_t;

/* 0, or -1: the prefix is too long. */
static inline int marker_open(marker_t *m, const uint8_t *prefix, size_t size) {
    if (size > sizeof m->prefix)
        return -1;
    memcpy(m->prefix, prefix, size);
    m->size = size;
    return 0;
}

/* The marker's line, newline included, into MARKER_LINE_MAX_BYTES; returns its length. */
static inline size_t marker_write(const marker_t *m, int64_t number, uint8_t *line) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld\n", (long long)number);
    memcpy(line, m->prefix, m->size);
    memcpy(line + m->size, digits, (size_t)n);
    return m->size + (size_t)n;
}

/* The number of the marker that a line is, or -1 if it is none. A '\r' at its end is let pass: some runtimes add it. */
static inline int64_t marker_number(const marker_t *m, const uint8_t *line, size_t n) {
    if (m->size == 0 || n <= m->size || line[0] != m->prefix[0] || memcmp(line, m->prefix, m->size) != 0)
        return -1;
    if (line[n - 1] == '\r')
        n--;
    if (n == m->size || n > m->size + 18)
        return -1;
    int64_t number = 0;
    for (size_t i = m->size; i < n; i++) {
        if (line[i] < '0' || line[i] > '9')
            return -1;
        number = 10 * number + (line[i] - '0');
    }
    return number;
}
