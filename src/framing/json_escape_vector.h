/* Template, see vector_begin.h. */

VEC_TARGET static size_t VEC_FN(json_escape)(const uint8_t *src, size_t n, uint8_t *dst, size_t *repaired) {
    const uint8_t *s = src, *end = src + n;
    uint8_t *d = dst;
    uint8_t copy[3 * VEC_WIDTH]; /* of the last bytes, where reading whole blocks from src would leave it */
    bool copied = false;
    vec_t prev = vec_zero(); /* the block before s, as far as UTF-8 reaches over its end */
    uint32_t prev_high = 0;
    for (;;) {
        size_t left = (size_t)(end - s);
        if (!prev_high) {
            /* plain ASCII needs nothing of what follows */
            for (; left >= 2 * VEC_WIDTH; s += 2 * VEC_WIDTH, d += 2 * VEC_WIDTH, left -= 2 * VEC_WIDTH) {
                vec_t first = vec_load(s), second = vec_load(s + VEC_WIDTH);
                vec_store(d, first);
                vec_store(d + VEC_WIDTH, second);
                if (vec_mask(vec_or(VEC_FN(not_plain)(first), VEC_FN(not_plain)(second))))
                    break;
            }
            if (left == 0)
                break;
        }
        vec_t v = FRAMING_LIKELY(left >= VEC_WIDTH) ? vec_load(s) : VEC_FN(load_tail)(s, left);
        uint32_t high = vec_mask(v);
        size_t step = left < VEC_WIDTH ? left : VEC_WIDTH;
        bool broken = false;
        if (high | prev_high) {
            uint32_t errors = VEC_FN(non_zero)(VEC_FN(utf8_errors)(v, prev));
            if (FRAMING_UNLIKELY(errors)) {
                /* up to the sequence that the first error is in */
                broken = true;
                step = (size_t)__builtin_ctz(errors);
                size_t readable = prev_high ? step + VEC_WIDTH : step;
                size_t back = utf8_unfinished_before(s + step, readable);
                if (back > step) {
                    s -= back - step;
                    d -= back - step;
                    step = 0;
                } else {
                    step -= back;
                }
            }
        }
        vec_store(d, v);
        uint32_t specials = VEC_FN(string_specials)(v) & (uint32_t)((1ull << step) - 1);
        if (specials) {
            if (left < 2 * VEC_WIDTH && !copied) {
                vec_store(copy, v);
                vec_store(copy + VEC_WIDTH,
                          left > VEC_WIDTH ? VEC_FN(load_tail)(s + VEC_WIDTH, left - VEC_WIDTH) : vec_zero());
                vec_store(copy + 2 * VEC_WIDTH, vec_zero());
                s = copy;
                end = copy + left;
                copied = true;
            }
            /* What stands behind a special is stored again behind its escape; a step of d is all that one waits for
               from the one before. */
            size_t from = 0;
            do {
                size_t at = (size_t)__builtin_ctz(specials);
                specials &= specials - 1;
                d += at - from;
                d += json_escape_special(s[at], d);
                from = at + 1;
                vec_store(d, vec_load(s + from));
            } while (specials);
            d += step - from;
        } else {
            d += step;
        }
        s += step;
        if (FRAMING_UNLIKELY(broken)) {
            do
                s += json_escape_one(s, end, &d, repaired);
            while (s < end && *s >= 0x80);
            prev = vec_zero();
            prev_high = 0;
        } else {
            if (left < VEC_WIDTH)
                break;
            prev = v;
            prev_high = high;
        }
    }
    return (size_t)(d - dst);
}
