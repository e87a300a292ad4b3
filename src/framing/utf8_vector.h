/* Template, see vector_begin.h. */

/* A byte is non-zero where v, read behind prev, breaks UTF-8. A sequence v leaves unfinished is no error yet: a next
   block, if only of zeros, has to follow. */
VEC_INLINE vec_t VEC_FN(utf8_errors)(vec_t v, vec_t prev) {
#if VEC_LOOKUP
    const vec_t low_nibble = vec_splat(15);
    vec_t first = vec_earlier(v, prev, 1), second = vec_earlier(v, prev, 2), third = vec_earlier(v, prev, 3);
    vec_t kinds = vec_lookup(vec_table(UTF8_FIRST_HIGH), vec_high_nibbles(first));
    kinds = vec_and(kinds, vec_lookup(vec_table(UTF8_FIRST_LOW), vec_and(first, low_nibble)));
    kinds = vec_and(kinds, vec_lookup(vec_table(UTF8_SECOND_HIGH), vec_high_nibbles(v)));
    /* bit 7: a lead two (E0..) or three (F0..) places back asks for a continuation here */
    vec_t asked = vec_or(vec_subs(second, vec_splat(0xE0 - 0x80)), vec_subs(third, vec_splat(0xF0 - 0x80)));
    return vec_xor(kinds, vec_and(asked, vec_splat(0x80)));
#else
    (void)prev;
    return vec_and(v, vec_splat(0x80)); /* cannot tell: the caller's portable path shall look at what is not ASCII */
#endif
}

/* bit i: byte i is not zero */
VEC_INLINE uint32_t VEC_FN(non_zero)(vec_t v) {
    return ~vec_mask(vec_eq(v, vec_zero())) & (uint32_t)((1ull << VEC_WIDTH) - 1);
}

VEC_TARGET static int VEC_FN(utf8_valid)(const uint8_t *p, size_t n) {
    vec_t prev = vec_zero(), errors = vec_zero();
    size_t i = 0;
    for (; n - i >= VEC_WIDTH; i += VEC_WIDTH) {
        vec_t v = vec_load(p + i);
        if (vec_mask(vec_or(v, prev))) {
#if VEC_LOOKUP
            errors = vec_or(errors, VEC_FN(utf8_errors)(v, prev));
#else
            return utf8_valid_scalar(p + i, n - i);
#endif
        }
        prev = v;
    }
    vec_t v = VEC_FN(load_tail)(p + i, n - i);
    if (vec_mask(vec_or(v, prev))) {
#if VEC_LOOKUP
        errors = vec_or(errors, VEC_FN(utf8_errors)(v, prev));
#else
        return utf8_valid_scalar(p + i, n - i);
#endif
    }
    return VEC_FN(non_zero)(errors) == 0;
}
