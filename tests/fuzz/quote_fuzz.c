/* A line of any bytes, quoted: one line of text within its room, that begins as the line does, cut between characters.
   Entry point as libFuzzer calls it; standalone.c calls it where there is no libFuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "surplus.h"

#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s: not so\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t length = size > 0 && data[0] & 1 && size < 128 ? size * 3 : size; /* long lines are rare else */
    uint8_t *line = malloc(length ? length : 1);
    char *quoted = malloc(QUOTE_BYTES);
    if (line == NULL || quoted == NULL)
        abort();
    for (size_t i = 0; i < length; i++)
        line[i] = data[i % size];
    quote_line(quoted, line, length);
    size_t n = strnlen(quoted, QUOTE_BYTES), kept = n;
    REQUIRE(n < QUOTE_BYTES);
    if (length >= QUOTE_BYTES) {
        REQUIRE(n >= 3 && memcmp(quoted + n - 3, "...", 3) == 0);
        kept = n - 3;
        REQUIRE((line[kept] & 0xc0) != 0x80 || kept == 0);
    } else {
        REQUIRE(n == length);
    }
    for (size_t i = 0; i < kept; i++) {
        int control = line[i] < 0x20 || line[i] == 0x7f;
        REQUIRE((uint8_t)quoted[i] == (control ? ' ' : line[i]));
    }
    free(line);
    free(quoted);
    return 0;
}
