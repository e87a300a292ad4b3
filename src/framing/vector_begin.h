/* Template parameters of the *_vector.h kernels; no include guard. kernels.h sets, for each level,
     VEC_ISA     suffix of the function names
     VEC_TARGET  function attribute that allows the instructions
     VEC_WIDTH   16 or 32 bytes
     VEC_LOOKUP  1 where a byte shuffle exists (not plain SSE2)
   and includes this, the templates, and vector_end.h. */
#define VEC_PASTE_(name, isa) name##_##isa
#define VEC_PASTE(name, isa) VEC_PASTE_(name, isa)
#define VEC_FN(name) VEC_PASTE(name, VEC_ISA)
#define VEC_INLINE VEC_TARGET static inline __attribute__((always_inline))

#if VEC_WIDTH == 32
#define vec_t __m256i
#define vec_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vec_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define vec_zero() _mm256_setzero_si256()
#define vec_splat(c) _mm256_set1_epi8((char)(c))
#define vec_or(a, b) _mm256_or_si256(a, b)
#define vec_and(a, b) _mm256_and_si256(a, b)
#define vec_xor(a, b) _mm256_xor_si256(a, b)
#define vec_eq(a, b) _mm256_cmpeq_epi8(a, b)
#define vec_min(a, b) _mm256_min_epu8(a, b)
#define vec_subs(a, b) _mm256_subs_epu8(a, b)
#define vec_less_signed(a, b) _mm256_cmpgt_epi8(b, a)
#define vec_mask(v) ((uint32_t)_mm256_movemask_epi8(v))
#define vec_lookup(table, index) _mm256_shuffle_epi8(table, index)
#define vec_table(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define vec_high_nibbles(v) _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15))
/* the bytes k places before those of v, where prev is the block before v */
#define vec_earlier(v, prev, k) _mm256_alignr_epi8(v, _mm256_permute2x128_si256(prev, v, 0x21), 16 - (k))
#else
#define vec_t __m128i
#define vec_load(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define vec_store(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)
#define vec_zero() _mm_setzero_si128()
#define vec_splat(c) _mm_set1_epi8((char)(c))
#define vec_or(a, b) _mm_or_si128(a, b)
#define vec_and(a, b) _mm_and_si128(a, b)
#define vec_xor(a, b) _mm_xor_si128(a, b)
#define vec_eq(a, b) _mm_cmpeq_epi8(a, b)
#define vec_min(a, b) _mm_min_epu8(a, b)
#define vec_subs(a, b) _mm_subs_epu8(a, b)
#define vec_less_signed(a, b) _mm_cmplt_epi8(a, b)
#define vec_mask(v) ((uint32_t)_mm_movemask_epi8(v))
#define vec_lookup(table, index) _mm_shuffle_epi8(table, index)
#define vec_table(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define vec_high_nibbles(v) _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15))
#define vec_earlier(v, prev, k) _mm_alignr_epi8(v, prev, 16 - (k))
#endif

/* left < VEC_WIDTH bytes at p, zeros behind them; reads nothing else */
VEC_INLINE vec_t VEC_FN(load_tail)(const uint8_t *p, size_t left) {
#if VEC_WIDTH == 32
    if (left >= 16) {
        __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p);
        return _mm256_inserti128_si256(_mm256_castsi128_si256(low), load_tail16(p + 16, left - 16), 1);
    }
    return _mm256_inserti128_si256(_mm256_setzero_si256(), load_tail16(p, left), 0);
#else
    return load_tail16(p, left);
#endif
}

/* Bit i: byte i may not stand in a JSON string as it is (quote, backslash, control), UTF-8 left aside. */
VEC_INLINE uint32_t VEC_FN(string_specials)(vec_t v) {
    vec_t quote = vec_eq(v, vec_splat('"')), backslash = vec_eq(v, vec_splat('\\'));
    vec_t control = vec_eq(vec_min(v, vec_splat(0x1F)), v);
    return vec_mask(vec_or(vec_or(quote, backslash), control));
}

/* Bit 7 of a byte is set where it is special or not ASCII: as signed bytes, both controls and 80..FF are less than a
   space. */
VEC_INLINE vec_t VEC_FN(not_plain)(vec_t v) {
    vec_t quote = vec_eq(v, vec_splat('"')), backslash = vec_eq(v, vec_splat('\\'));
    return vec_or(vec_or(quote, backslash), vec_less_signed(v, vec_splat(0x20)));
}
