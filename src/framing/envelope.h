/* The dataframe around a line:
     {"wsp":"<workspace>","ts":<ms>,"raw":"<line, escaped>"}      any line
     {"wsp":"<workspace>","ts":<ms>,"parsed":<line>}              a line that json_check accepts
   Everything before the line is written out once for each time stamp, not for each line. */
#ifndef FRAMING_ENVELOPE_H
#define FRAMING_ENVELOPE_H

#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define ENVELOPE_RAW_KEY ",\"raw\":\""
#define ENVELOPE_PARSED_KEY ",\"parsed\":"
#define ENVELOPE_MAX_TS 20 /* a sign and 19 digits */
#define ENVELOPE_COPY 32   /* heads are copied in steps of this */

struct envelope {
    const kernels_t *kernels;
    uint8_t *raw_head;    /* up to and with the opening quote of raw */
    uint8_t *parsed_head; /* up to and with the colon of parsed; one allocation with raw_head */
    size_t raw_head_size, parsed_head_size;
    size_t prefix_size; /* the part of both that does not depend on the time stamp */
    size_t max_head_size;
    int64_t ts_ms;
};

/* Time stamp of the lines to come, Unix time in ms. Meant for once per chunk read. */
static inline void envelope_stamp(struct envelope *envelope, int64_t ts_ms) {
    if (ts_ms == envelope->ts_ms)
        return;
    uint8_t digits[ENVELOPE_MAX_TS], *first = digits + sizeof digits;
    uint64_t rest = ts_ms < 0 ? -(uint64_t)ts_ms : (uint64_t)ts_ms;
    do {
        *--first = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (ts_ms < 0)
        *--first = '-';
    size_t ts_size = (size_t)(digits + sizeof digits - first);
    size_t raw_key_size = sizeof ENVELOPE_RAW_KEY - 1, parsed_key_size = sizeof ENVELOPE_PARSED_KEY - 1;
    size_t at = envelope->prefix_size;
    memcpy(envelope->raw_head + at, first, ts_size);
    memcpy(envelope->parsed_head + at, first, ts_size);
    at += ts_size;
    memcpy(envelope->raw_head + at, ENVELOPE_RAW_KEY, raw_key_size);
    memcpy(envelope->parsed_head + at, ENVELOPE_PARSED_KEY, parsed_key_size);
    envelope->raw_head_size = at + raw_key_size;
    envelope->parsed_head_size = at + parsed_key_size;
    envelope->ts_ms = ts_ms;
}

/* For the workspace of that uid, stamped 0. Returns 0, or -1 if there is no memory. End with envelope_free. */
static inline int envelope_init(struct envelope *envelope, const kernels_t *k, const uint8_t *wsp, size_t n) {
    static const char start[] = "{\"wsp\":\"", middle[] = "\",\"ts\":";
    size_t repaired = 0, wsp_size = json_escaped_size(k, wsp, n);
    size_t prefix_size = sizeof start - 1 + wsp_size + sizeof middle - 1;
    size_t max_head_size = prefix_size + ENVELOPE_MAX_TS + sizeof ENVELOPE_PARSED_KEY;
    /* room for the escape's whole stores and for copying heads in whole steps */
    size_t room = (max_head_size / ENVELOPE_COPY + 1) * ENVELOPE_COPY + FRAMING_PADDING;
    uint8_t *heads = calloc(2, room);
    if (!heads)
        return -1;
    uint8_t *at = heads;
    memcpy(at, start, sizeof start - 1);
    at += sizeof start - 1;
    at += k->json_escape(wsp, n, at, &repaired);
    memcpy(at, middle, sizeof middle - 1);
    memcpy(heads + room, heads, prefix_size);
    *envelope = (struct envelope){
        .kernels = k,
        .raw_head = heads,
        .parsed_head = heads + room,
        .prefix_size = prefix_size,
        .max_head_size = max_head_size,
        .ts_ms = -1,
    };
    envelope_stamp(envelope, 0);
    return 0;
}

static inline void envelope_free(struct envelope *envelope) {
    free(envelope->raw_head);
    *envelope = (struct envelope){0};
}

/* Bytes to set aside for any line of n bytes, in either form: worst case, with what stores run past the end. */
static inline size_t envelope_bound(const struct envelope *envelope, size_t n) {
    return envelope->max_head_size + 6 * n + 2 + FRAMING_PADDING;
}

/* What envelope_write_raw and envelope_write_parsed will return. With FRAMING_PADDING added: bytes to set aside. */
static inline size_t envelope_raw_size(const struct envelope *envelope, const uint8_t *line, size_t n) {
    return envelope->raw_head_size + json_escaped_size(envelope->kernels, line, n) + 2;
}
/* Of that, what an empty line has. */
static inline size_t envelope_head_size(const struct envelope *envelope) { return envelope->raw_head_size + 2; }
static inline size_t envelope_parsed_size(const struct envelope *envelope, size_t n) {
    return envelope->parsed_head_size + n + 1;
}

static inline uint8_t *envelope_copy_head(uint8_t *dst, const uint8_t *head, size_t size) {
    for (size_t i = 0; i < size; i += ENVELOPE_COPY)
        memcpy(dst + i, head + i, ENVELOPE_COPY);
    return dst + size;
}

/* Returns the size of the dataframe; adds to *repaired as json_escape does. */
static inline size_t envelope_write_raw(const struct envelope *envelope, const uint8_t *line, size_t n, uint8_t *dst,
                                        size_t *repaired) {
    uint8_t *d = envelope_copy_head(dst, envelope->raw_head, envelope->raw_head_size);
    d += envelope->kernels->json_escape(line, n, d, repaired);
    memcpy(d, "\"}", 2);
    return (size_t)(d + 2 - dst);
}

/* Only for a line that json_check found to be a value. */
static inline size_t envelope_write_parsed(const struct envelope *envelope, const uint8_t *line, size_t n,
                                           uint8_t *dst) {
    uint8_t *d = envelope_copy_head(dst, envelope->parsed_head, envelope->parsed_head_size);
    memcpy(d, line, n);
    d[n] = '}';
    return (size_t)(d + n + 1 - dst);
}

#endif
