/* Whatever the bytes: every level gives what the portable kernels give, and a dataframe is always valid JSON.
   Buffers are of exactly the size that the contracts ask for, so that an address checker sees the first byte too many.
   Entry point as libFuzzer calls it; standalone.c calls it where there is no libFuzzer. */
#include <stdio.h>

#include "envelope.h"
#include "kernels.c"

#define REQUIRE(condition)                                                                               \
    do {                                                                                                 \
        if (!(condition)) {                                                                              \
            fprintf(stderr, "%s:%d: %s: not so at level %s\n", __FILE__, __LINE__, #condition, k->name); \
            abort();                                                                                     \
        }                                                                                                \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *exactly(size_t size) {
    uint8_t *p = malloc(size ? size : 1);
    if (!p)
        abort();
    return size ? p : p + 1; /* nothing of an empty one may be touched */
}
static void release(uint8_t *p, size_t size) { free(size ? p : p - 1); }

/* A line as json_check wants it; what follows the newline must not matter. */
static uint8_t *padded(const uint8_t *line, size_t n, int filler) {
    uint8_t *p = exactly(n + FRAMING_PADDING);
    memcpy(p, line, n);
    p[n] = '\n';
    memset(p + n + 1, filler, FRAMING_PADDING - 1);
    return p;
}

static int check_padded(const kernels_t *k, const uint8_t *line, size_t n, int filler) {
    uint8_t *p = padded(line, n, filler);
    int verdict = k->json_check(p, n);
    release(p, n + FRAMING_PADDING);
    return verdict;
}

static void same_newlines(const kernels_t *k, const uint8_t *src, size_t n) {
    const kernels_t *reference = &KERNELS[ISA_SCALAR];
    REQUIRE(k->find_newline(src, n) == reference->find_newline(src, n));
}

static void same_escape(const kernels_t *k, const uint8_t *src, size_t n) {
    const kernels_t *reference = &KERNELS[ISA_SCALAR];
    size_t room = 6 * n + FRAMING_PADDING, wanted_repairs = 0, repairs = 0;
    uint8_t *wanted = exactly(room);
    size_t size = reference->json_escape(src, n, wanted, &wanted_repairs);
    uint8_t *escaped = exactly(size + FRAMING_PADDING);
    REQUIRE(json_escaped_size(k, src, n) == size);
    REQUIRE(k->json_escape(src, n, escaped, &repairs) == size);
    REQUIRE(memcmp(escaped, wanted, size) == 0);
    REQUIRE(repairs == wanted_repairs);
    REQUIRE(k->utf8_valid(src, n) == (repairs == 0));
    REQUIRE(k->utf8_valid(escaped, size));
    release(wanted, room);
    release(escaped, size + FRAMING_PADDING);
}

static void envelope_is_json(const kernels_t *k, const uint8_t *src, size_t n, bool is_value) {
    struct envelope envelope;
    size_t repaired = 0, uid_size = n < 40 ? n : 40;
    int64_t ts_ms = 0;
    memcpy(&ts_ms, src, n < sizeof ts_ms ? n : sizeof ts_ms);
    if (envelope_init(&envelope, k, src, uid_size) != 0)
        abort();
    envelope_stamp(&envelope, ts_ms);
    size_t size = envelope_raw_size(&envelope, src, n);
    uint8_t *frame = exactly(size + FRAMING_PADDING);
    REQUIRE(size + FRAMING_PADDING <= envelope_bound(&envelope, n));
    REQUIRE(envelope_write_raw(&envelope, src, n, frame, &repaired) == size);
    REQUIRE(check_padded(k, frame, size, ' ') == JSON_VALID);
    release(frame, size + FRAMING_PADDING);
    if (is_value) {
        size = envelope_parsed_size(&envelope, n);
        frame = exactly(size + FRAMING_PADDING);
        REQUIRE(envelope_write_parsed(&envelope, src, n, frame) == size);
        /* one level deeper than the line: at the limit of depth our own check says no where a peer would not */
        REQUIRE(check_padded(k, frame, size, '"') == JSON_VALID || memchr(src, '[', n) || memchr(src, '{', n));
        release(frame, size + FRAMING_PADDING);
    }
    envelope_free(&envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *src = exactly(size);
    memcpy(src, data, size);
    int verdict = check_padded(&KERNELS[ISA_SCALAR], src, size, 0);
    for (enum isa level = ISA_SCALAR; level <= cpu_best_isa(); level++) {
        const kernels_t *k = kernels_for(level);
        same_newlines(k, src, size);
        same_escape(k, src, size);
        REQUIRE(check_padded(k, src, size, '"') == verdict);
        REQUIRE(check_padded(k, src, size, 0xFF) == verdict);
        envelope_is_json(k, src, size, verdict != JSON_INVALID);
    }
    release(src, size);
    return 0;
}
