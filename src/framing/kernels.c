/* The kernels of all levels are made here: the template headers once for each. */
#include "kernels.h"

#include "json_check.h"
#include "json_escape.h"
#include "newline.h"
#include "utf8.h"

#define JSON_CHECK static int json_check_scalar(const uint8_t *p, size_t n)
#define JSON_SKIP_STRING(p) json_skip_string_scalar(p)
#include "json_check_body.h"

#ifdef FRAMING_X86

/* left < 16 bytes at p, zeros behind them; reads nothing else */
static inline __attribute__((always_inline)) __m128i load_tail16(const uint8_t *p, size_t left) {
    uint64_t low = 0, high = 0;
    if (left >= 8) {
        memcpy(&low, p, 8);
        memcpy(&high, p + left - 8, 8);
        high = high >> 8 * (15 - left) >> 8; /* in two steps: left may be 8 */
    } else if (left >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, 4);
        memcpy(&tail, p + left - 4, 4);
        low = head | (uint64_t)tail << 8 * (left - 4);
    } else if (left > 0) {
        size_t middle = left / 2, last = left - 1;
        low = p[0] | (uint64_t)p[middle] << 8 * middle | (uint64_t)p[last] << 8 * last;
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

/* Bit i: byte i ends a run of plain ASCII in a JSON string; see not_plain in vector_begin.h. */
static inline __attribute__((always_inline)) uint32_t json_string_stop16(const uint8_t *p) {
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"')), backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    return (uint32_t)_mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(quote, backslash), _mm_cmplt_epi8(v, _mm_set1_epi8(0x20))));
}

#define VEC_ISA sse2
#define VEC_TARGET
#define VEC_WIDTH 16
#define VEC_LOOKUP 0
#include "vector_begin.h"
#include "utf8_vector.h"
#include "json_escape_vector.h"
#include "json_check_vector.h"
#include "vector_end.h"

#define VEC_ISA ssse3
#define VEC_TARGET __attribute__((target("ssse3")))
#define VEC_WIDTH 16
#define VEC_LOOKUP 1
#include "vector_begin.h"
#include "utf8_vector.h"
#include "json_escape_vector.h"
#include "json_check_vector.h"
#include "vector_end.h"

#define VEC_ISA avx2
#define VEC_TARGET __attribute__((target("avx2,bmi")))
#define VEC_WIDTH 32
#define VEC_LOOKUP 1
#include "vector_begin.h"
#include "utf8_vector.h"
#include "json_escape_vector.h"
#include "json_check_vector.h"
#include "vector_end.h"

#endif

#define KERNELS_ENTRY(level, find_newline, isa) \
    {#isa, level, find_newline, utf8_valid_##isa, json_escape_##isa, json_check_##isa}
static const kernels_t KERNELS[] = {
    KERNELS_ENTRY(ISA_SCALAR, find_newline_scalar, scalar),
#ifdef FRAMING_X86
    KERNELS_ENTRY(ISA_SSE2, find_newline_libc, sse2),
    KERNELS_ENTRY(ISA_SSSE3, find_newline_libc, ssse3),
    KERNELS_ENTRY(ISA_AVX2, find_newline_libc, avx2),
#endif
};
#undef KERNELS_ENTRY

const kernels_t *kernels_for(enum isa level) { return level <= cpu_best_isa() ? &KERNELS[level] : NULL; }

const kernels_t *kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof KERNELS / sizeof KERNELS[0]; i++)
        if (strcmp(KERNELS[i].name, name) == 0)
            return kernels_for(KERNELS[i].isa);
    return NULL;
}

kernels_t kernels = {
    "scalar", ISA_SCALAR, find_newline_scalar, utf8_valid_scalar, json_escape_scalar, json_check_scalar,
};

int kernels_select(enum isa level) {
    const kernels_t *chosen = kernels_for(level);
    if (!chosen)
        return -1;
    kernels = *chosen;
    return 0;
}

size_t json_escaped_size(const kernels_t *k, const uint8_t *src, size_t n) {
    enum { PIECE = 512 };
    uint8_t scratch[6 * PIECE + FRAMING_PADDING];
    size_t size = 0, repaired = 0;
    while (n > PIECE) {
        size_t cut = utf8_cut(src, PIECE);
        size += k->json_escape(src, cut, scratch, &repaired);
        src += cut;
        n -= cut;
    }
    return size + k->json_escape(src, n, scratch, &repaired);
}
