/* Which vector instructions the kernels may use. Levels are ordered: a CPU that has one has all below it. */
#ifndef FRAMING_CPU_H
#define FRAMING_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
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

#ifdef FRAMING_X86
/* Whether the operating system keeps the wide registers of a thread that is not running. */
static inline bool cpu_keeps_ymm(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}
#endif

/* Asks the processor itself: __builtin_cpu_supports asks the compiler's run-time library, and zig's has no answer. */
static inline enum isa cpu_best_isa(void) {
#ifdef FRAMING_X86
    unsigned eax, ebx, ecx, edx, ebx7 = 0, ecx7;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return ISA_SSE2; /* part of x86-64 */
    (void)__get_cpuid_count(7, 0, &eax, &ebx7, &ecx7, &edx);
    if ((ecx & bit_AVX) && (ecx & bit_OSXSAVE) && cpu_keeps_ymm() && (ebx7 & bit_AVX2) && (ebx7 & bit_BMI))
        return ISA_AVX2;
    return (ecx & bit_SSSE3) ? ISA_SSSE3 : ISA_SSE2;
#else
    return ISA_SCALAR;
#endif
}

#endif
