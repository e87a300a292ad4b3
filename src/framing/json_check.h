/* Is a line one JSON value? Strict RFC 8259 without building anything; portable string scan here, the check itself in
   json_check_body.h.

   json_check(p, n): p[n] is '\n' and p[n .. n + FRAMING_PADDING) is readable; a line's own newline in a read buffer
   with that much room behind its end serves. What stands behind p[n] has no influence. */
#ifndef FRAMING_JSON_CHECK_H
#define FRAMING_JSON_CHECK_H

#include <math.h>
#include <stdlib.h>

#include "kernels.h"
#include "utf8.h"

/* Refused although RFC 8259 allows it, because common decoders would raise: deeper nesting than 512 levels, of which
   the envelope is one; numbers that overflow a double, which are refused or become infinite; and escaped lone
   surrogates, which are no text. */
#define JSON_MAX_DEPTH 511
#define JSON_SAFE_EXPONENT 308 /* 10^308 fits into a double */

/* Whether the number at p, which ends at a byte that belongs to no number, overflows a double. The C locale's point is
   the one of JSON, and nobody here calls setlocale for numbers. */
static __attribute__((noinline)) bool json_overflows(const uint8_t *p) {
    return strtod((const char *)p, NULL) == HUGE_VAL;
}

static inline bool json_is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Of RFC 8259's four; a newline ends the line. */
static inline bool json_is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

/* Four hex digits at p, or -1; stops reading at the first byte that is none. */
static inline int32_t json_hex4(const uint8_t *p) {
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], letter = (uint8_t)((c | 0x20) - 'a');
        if (json_is_digit(c))
            value = value << 4 | (c - '0');
        else if (letter < 6)
            value = value << 4 | (letter + 10);
        else
            return -1;
    }
    return value;
}

/* p at a backslash; returns what follows the escape (of a surrogate: the pair), or NULL */
static inline const uint8_t *json_skip_escape(const uint8_t *p) {
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u': {
        int32_t unit = json_hex4(p + 2);
        if (unit < 0 || (unit & 0xFC00) == 0xDC00)
            return NULL;
        if ((unit & 0xFC00) != 0xD800)
            return p + 6;
        if (p[6] != '\\' || p[7] != 'u')
            return NULL;
        unit = json_hex4(p + 8);
        return unit >= 0 && (unit & 0xFC00) == 0xDC00 ? p + 12 : NULL;
    }
    default:
        return NULL;
    }
}

/* p behind an opening quote; returns what follows the closing one, or NULL */
static inline const uint8_t *json_skip_string_scalar(const uint8_t *p) {
    for (;;) {
        uint8_t c = *p;
        if (c == '"')
            return p + 1;
        if (c < 0x20)
            return NULL; /* the newline behind the line, too */
        if (c >= 0x80) {
            struct utf8_sequence sequence = utf8_sequence_at(p, p + 4); /* does not reach over that newline */
            if (!sequence.valid)
                return NULL;
            p += sequence.length;
        } else if (c == '\\') {
            p = json_skip_escape(p);
            if (!p)
                return NULL;
        } else {
            p++;
        }
    }
}

#endif
