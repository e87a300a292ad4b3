/* Whatever is noted, asked for, let go of and taken back: each mark has the key noted for it last, and the memory held is
   that of the keys there are. Entry point as libFuzzer calls it; standalone.c calls it where there is no libFuzzer. */
#include <stdio.h>

#include "keys.h"

#define MARKS 8192 /* more than an input has events */
#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s: not so\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *next, *end;
} script_t;

static unsigned draw(script_t *s, unsigned below) { return s->next < s->end ? *s->next++ % below : 0; }

static int64_t sizes[MARKS]; /* -1: none */
static uint8_t fills[MARKS];
static uint8_t key[300000];

static size_t draw_size(script_t *s) {
    switch (draw(s, 16)) {
    case 0:
        return KEYS_CHUNK_BYTES + draw(s, 256) * 900; /* larger than a chunk */
    case 1:
    case 2:
        return KEYS_LARGE_BYTES - 24 + draw(s, 32);
    case 3:
        return 256 * draw(s, 256);
    default:
        return draw(s, 60);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script_t script = {data, data + size}, *s = &script;
    keys_t k = {0};
    int64_t first = 0, next = 1, top = 1; /* marks below first are gone; next is to be noted; none from top on was */
    keys_open(&k);
    for (int i = 0; i < MARKS; i++)
        sizes[i] = -1;
    while (s->next < s->end && next < MARKS - 300) {
        switch (draw(s, 8)) {
        case 0: /* a new run: some are written again, or more lines came out than went in */
            if (draw(s, 2))
                next = next - (int64_t)draw(s, 40) > first ? next - (int64_t)draw(s, 20) : next;
            else
                next += draw(s, 3);
            if (next <= first)
                next = first + 1;
            break;
        case 1:
        case 2: { /* lines come, and ask or do not */
            int64_t mark = first + draw(s, 20);
            const uint8_t *found;
            if (draw(s, 4) == 0) {
                keys_forget(&k, mark);
            } else {
                REQUIRE(keys_find(&k, mark, &found) == sizes[mark]);
                for (int64_t i = 0; i < sizes[mark]; i++)
                    REQUIRE(found[i] == fills[mark]);
            }
            first = mark;
            next = next > first ? next : first + 1;
            break;
        }
        default:
            for (unsigned n = 1 + draw(s, 12); n > 0; n--) {
                size_t bytes = draw_size(s);
                const void *noted = draw(s, 5) == 0 ? NULL : key;
                for (; top > next; top--)
                    sizes[top - 1] = -1; /* what the last run left */
                fills[next] = (uint8_t)draw(s, 256);
                memset(key, fills[next], bytes);
                sizes[next] = noted == NULL ? -1 : (int64_t)bytes;
                REQUIRE(keys_note(&k, next, noted, noted == NULL ? 0 : bytes) == 0);
                next++;
                top = next;
            }
        }
        int64_t live = 0;
        for (int64_t i = first; i < top; i++)
            live += sizes[i] < 0 ? 0 : sizes[i] + (int64_t)sizeof(key_head_t) + 40;
        REQUIRE(k.held_bytes <= 2 * live + 4 * (int64_t)KEYS_CHUNK_BYTES);
    }
    keys_close(&k);
    return 0;
}
