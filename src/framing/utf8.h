/* UTF-8 as Unicode table 3-7 defines it, portable. Nothing outside the given range is read. */
#ifndef FRAMING_UTF8_H
#define FRAMING_UTF8_H

#include "cpu.h"

struct utf8_sequence {
    size_t length; /* bytes, at least 1; of the maximal subpart where ill-formed */
    bool valid;
};

/* The sequence at s < end; s[0] >= 0x80. */
static inline struct utf8_sequence utf8_sequence_at(const uint8_t *s, const uint8_t *end) {
    uint8_t lead = s[0], low = 0x80, high = 0xBF;
    size_t needed;
    if (lead >= 0xC2 && lead <= 0xDF) {
        needed = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        needed = 3;
        if (lead == 0xE0)
            low = 0xA0;
        if (lead == 0xED)
            high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        needed = 4;
        if (lead == 0xF0)
            low = 0x90;
        if (lead == 0xF4)
            high = 0x8F;
    } else {
        return (struct utf8_sequence){1, false};
    }
    size_t available = (size_t)(end - s);
    for (size_t i = 1; i < needed; i++) {
        if (i == available || s[i] < low || s[i] > high)
            return (struct utf8_sequence){i, false};
        low = 0x80;
        high = 0xBF;
    }
    return (struct utf8_sequence){needed, true};
}

/* How many of the bytes before s begin a sequence that s would have to go on with. What stands before them is
   well-formed; readable bytes (or more) precede s. */
static inline size_t utf8_unfinished_before(const uint8_t *s, size_t readable) {
    if (readable >= 1 && s[-1] >= 0xC0)
        return 1;
    if (readable >= 2 && s[-2] >= 0xE0)
        return 2;
    if (readable >= 3 && s[-3] >= 0xF0)
        return 3;
    return 0;
}

/* The largest cut <= wanted at which no well-formed sequence of p is torn; 3 < wanted, p[wanted] readable. */
static inline size_t utf8_cut(const uint8_t *p, size_t wanted) {
    for (size_t cut = wanted; cut > wanted - 4; cut--)
        if ((p[cut] & 0xC0) != 0x80)
            return cut;
    return wanted; /* four continuation bytes in a row: no sequence reaches over the last */
}

/* 1 if p[0..n) is well-formed, else 0 */
static inline int utf8_valid_scalar(const uint8_t *p, size_t n) {
    const uint8_t *end = p + n;
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        struct utf8_sequence sequence = utf8_sequence_at(p, end);
        if (!sequence.valid)
            return 0;
        p += sequence.length;
    }
    return 1;
}

/* Tables of the lookup algorithm (Keiser, Lemire: Validating UTF-8 in less than one instruction per byte, 2021): each
   pair of adjacent bytes is classified by three nibbles; a bit left standing in all three is an error of its kind. */
enum {
    U8_TOO_SHORT = 1,       /* lead, then no continuation */
    U8_TOO_LONG = 2,        /* ASCII, then continuation */
    U8_OVERLONG_3 = 4,      /* E0 80..9F */
    U8_TOO_LARGE = 8,       /* F4 90.., F5.. 90.. */
    U8_SURROGATE = 16,      /* ED A0.. */
    U8_OVERLONG_2 = 32,     /* C0, C1 */
    U8_TOO_LARGE_1000 = 64, /* F5.. 80..8F */
    U8_OVERLONG_4 = 64,     /* F0 80..8F; never confused with the one above: the low nibble tells */
    U8_CONTINUATIONS = 128, /* two continuations: an error unless a lead two or three back asks for it */
    U8_ANY = U8_TOO_SHORT | U8_TOO_LONG | U8_CONTINUATIONS,
    U8_F = U8_ANY | U8_TOO_LARGE | U8_TOO_LARGE_1000,
    U8_SECOND = U8_TOO_LONG | U8_OVERLONG_2 | U8_CONTINUATIONS,
};

static const uint8_t UTF8_FIRST_HIGH[16] = {
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_TOO_LONG,
    U8_CONTINUATIONS,
    U8_CONTINUATIONS,
    U8_CONTINUATIONS,
    U8_CONTINUATIONS,
    U8_TOO_SHORT | U8_OVERLONG_2,
    U8_TOO_SHORT,
    U8_TOO_SHORT | U8_OVERLONG_3 | U8_SURROGATE,
    U8_TOO_SHORT | U8_TOO_LARGE | U8_TOO_LARGE_1000 | U8_OVERLONG_4,
};
static const uint8_t UTF8_FIRST_LOW[16] = {
    U8_ANY | U8_OVERLONG_2 | U8_OVERLONG_3 | U8_OVERLONG_4,
    U8_ANY | U8_OVERLONG_2,
    U8_ANY,
    U8_ANY,
    U8_ANY | U8_TOO_LARGE,
    U8_F,
    U8_F,
    U8_F,
    U8_F,
    U8_F,
    U8_F,
    U8_F,
    U8_F,
    U8_F | U8_SURROGATE,
    U8_F,
    U8_F,
};
static const uint8_t UTF8_SECOND_HIGH[16] = {
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_SECOND | U8_OVERLONG_3 | U8_TOO_LARGE_1000 | U8_OVERLONG_4,
    U8_SECOND | U8_OVERLONG_3 | U8_TOO_LARGE,
    U8_SECOND | U8_SURROGATE | U8_TOO_LARGE,
    U8_SECOND | U8_SURROGATE | U8_TOO_LARGE,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
    U8_TOO_SHORT,
};

#endif
