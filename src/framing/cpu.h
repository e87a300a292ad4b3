/* Which vector instructions the kernels may use. Levels are ordered: a CPU that has one has all below it. */
#ifndef FRAMING_CPU_H
#define FRAMING_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define FRAMING_X86 1
#elif defined(__aarch64__)
/* NEON goes here: a vector_begin.h section with its primitives and one more level below. Until then: scalar. */
#endif

/* Readable bytes every line handed to json_check must have from its end on, and writable bytes every output needs
   beyond its own length: vector loads and stores are whole. */
#define FRAMING_PADDING 64

#define FRAMING_LIKELY(x) __builtin_expect(!!(x), 1)
#define FRAMING_UNLIKELY(x) __builtin_expect(!!(x), 0)

enum isa { ISA_SCALAR, ISA_SSE2, ISA_SSSE3, ISA_AVX2 };

static inline enum isa cpu_best_isa(void) {
#ifdef FRAMING_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        return ISA_AVX2;
    if (__builtin_cpu_supports("ssse3"))
        return ISA_SSSE3;
    return ISA_SSE2; /* part of x86-64 */
#else
    return ISA_SCALAR;
#endif
}

#endif
