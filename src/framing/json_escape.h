/* JSON string escape with UTF-8 repair, portable.

   json_escape(src, n, dst, repaired) writes src[0..n) as the inside of a JSON string and returns its length. What JSON
   wants escaped is escaped (short forms where they exist), well-formed UTF-8 is copied, each maximal subpart of an
   ill-formed sequence becomes U+FFFD, as bytes.decode("utf-8", "replace") has it, and is added to *repaired.
   dst must hold the result and FRAMING_PADDING bytes: 6 * n + FRAMING_PADDING is always enough. src and dst do not
   overlap. Nothing outside src[0..n) is read. */
#ifndef FRAMING_JSON_ESCAPE_H
#define FRAMING_JSON_ESCAPE_H

#include "cpu.h"
#include "utf8.h"

/* Eight bytes for each: the text, and its length in the last. Controls first, then quote and backslash. */
#define JSON_U00(high, low) {'\\', 'u', '0', '0', high, low, 0, 6}
#define JSON_SHORT(c) {'\\', c, 0, 0, 0, 0, 0, 2}
static const uint8_t JSON_ESCAPES[34][8] = {
    JSON_U00('0', '0'), JSON_U00('0', '1'), JSON_U00('0', '2'), JSON_U00('0', '3'), JSON_U00('0', '4'),
    JSON_U00('0', '5'), JSON_U00('0', '6'), JSON_U00('0', '7'), JSON_SHORT('b'),    JSON_SHORT('t'),
    JSON_SHORT('n'),    JSON_U00('0', 'b'), JSON_SHORT('f'),    JSON_SHORT('r'),    JSON_U00('0', 'e'),
    JSON_U00('0', 'f'), JSON_U00('1', '0'), JSON_U00('1', '1'), JSON_U00('1', '2'), JSON_U00('1', '3'),
    JSON_U00('1', '4'), JSON_U00('1', '5'), JSON_U00('1', '6'), JSON_U00('1', '7'), JSON_U00('1', '8'),
    JSON_U00('1', '9'), JSON_U00('1', 'a'), JSON_U00('1', 'b'), JSON_U00('1', 'c'), JSON_U00('1', 'd'),
    JSON_U00('1', 'e'), JSON_U00('1', 'f'), JSON_SHORT('"'),    JSON_SHORT('\\'),
};
#undef JSON_U00
#undef JSON_SHORT

/* c is a control, a quote or a backslash; writes eight bytes, returns how many of them count */
static inline size_t json_escape_special(uint8_t c, uint8_t *dst) {
    const uint8_t *escape = JSON_ESCAPES[c < 0x20 ? c : 32 + (c == '\\')];
    memcpy(dst, escape, 8);
    return escape[7];
}

/* Escapes what begins at s < end, moves *dst, returns the bytes taken. */
static inline size_t json_escape_one(const uint8_t *s, const uint8_t *end, uint8_t **dst, size_t *repaired) {
    uint8_t c = *s;
    if (c < 0x80) {
        if (c >= 0x20 && c != '"' && c != '\\')
            *(*dst)++ = c;
        else
            *dst += json_escape_special(c, *dst);
        return 1;
    }
    struct utf8_sequence sequence = utf8_sequence_at(s, end);
    if (sequence.valid) {
        for (size_t i = 0; i < sequence.length; i++)
            (*dst)[i] = s[i];
        *dst += sequence.length;
    } else {
        memcpy(*dst, "\xEF\xBF\xBD", 3);
        *dst += 3;
        ++*repaired;
    }
    return sequence.length;
}

static inline size_t json_escape_scalar(const uint8_t *src, size_t n, uint8_t *dst, size_t *repaired) {
    const uint8_t *end = src + n;
    uint8_t *d = dst;
    while (src < end)
        src += json_escape_one(src, end, &d, repaired);
    return (size_t)(d - dst);
}

#endif
