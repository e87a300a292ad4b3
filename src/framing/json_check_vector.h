/* Template, see vector_begin.h and json_check_body.h. */

/* The rest of a string that is neither short nor plain; not inlined, for the others would pay for its registers. */
VEC_TARGET static __attribute__((noinline)) const uint8_t *VEC_FN(json_skip_long_string)(const uint8_t *p) {
    const uint8_t *start = p;
    vec_t seen = vec_zero();
    for (;;) {
        vec_t v = vec_load(p);
        seen = vec_or(seen, v); /* with what follows the string: at worst a needless check */
        uint32_t specials = VEC_FN(string_specials)(v);
        if (!specials) {
            p += VEC_WIDTH;
            continue;
        }
        p += __builtin_ctz(specials);
        if (*p == '"')
            return !vec_mask(seen) || VEC_FN(utf8_valid)(start, (size_t)(p - start)) ? p + 1 : NULL;
        if (*p != '\\')
            return NULL;
        p = json_skip_escape(p);
        if (!p)
            return NULL;
    }
}

VEC_INLINE const uint8_t *VEC_FN(json_skip_string)(const uint8_t *p) {
    uint32_t stop = json_string_stop16(p);
    if (FRAMING_LIKELY(stop)) {
        p += __builtin_ctz(stop);
        if (FRAMING_LIKELY(*p == '"'))
            return p + 1;
    } else {
        p += 16;
    }
    return VEC_FN(json_skip_long_string)(p);
}

#define JSON_CHECK VEC_TARGET static int VEC_FN(json_check)(const uint8_t *p, size_t n)
#define JSON_SKIP_STRING(p) VEC_FN(json_skip_string)(p)
#include "json_check_body.h"
