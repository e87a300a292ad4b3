/* The kernels of every level, a table each; kernels_select() puts one in force for the process. */
#ifndef FRAMING_KERNELS_H
#define FRAMING_KERNELS_H

#include "cpu.h"

enum json_verdict { JSON_INVALID = 0, JSON_VALID = 1, JSON_NULL = 2 /* valid, and the literal null */ };

typedef struct {
    const char *name;
    enum isa isa;
    const uint8_t *(*find_newline)(const uint8_t *p, size_t n);
    int (*utf8_valid)(const uint8_t *p, size_t n);
    size_t (*json_escape)(const uint8_t *src, size_t n, uint8_t *dst, size_t *repaired);
    int (*json_check)(const uint8_t *p, size_t n);
} kernels_t;

/* What the process uses; a copy, so that a call costs one load. Scalar until selected. */
extern kernels_t kernels;

/* Once, before other threads run. Returns 0, or -1 (nothing changed) if the level is not to be had. */
int kernels_select(enum isa level);

/* The table of a level, or NULL if this CPU (or this build) lacks it. */
const kernels_t *kernels_for(enum isa level);

/* By name ("scalar", "sse2", "ssse3", "avx2"), or NULL. */
const kernels_t *kernels_named(const char *name);

/* Exact result of json_escape(src, n, ...), at its speed and in constant memory; for lines so long that six times their
   size is too much to set aside. */
size_t json_escaped_size(const kernels_t *k, const uint8_t *src, size_t n);

#endif
