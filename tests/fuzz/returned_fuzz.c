/* Lines are handed over, delivered, come back in any number and order that librdkafka gives them back in, and memory is
   short at times: no line is lost or doubled, their order holds, and the room is that of what can come back. Entry point
   as libFuzzer calls it; standalone.c calls it where there is no libFuzzer. */
#include <stdio.h>
#include <stdlib.h>

static int short_of_memory;
static void *realloc_or_not(void *memory, size_t size) { return short_of_memory ? NULL : realloc(memory, size); }
#define realloc realloc_or_not
#include "returned.c"
#undef realloc
#include "delivery.c"
#include "live.c"
#include "rdkafka.c"

#define LINES 4096
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

/* Lines are numbered in the order of STDOUT, by their length. */
static size_t under_way[LINES], under_way_count, fresh, delivered;

static void hand_over(size_t line) { under_way[under_way_count++] = line; }

/* All that is under way is reported, in order: delivered, or back. Returns how many came back. */
static size_t report(returned_t *r, script_t *s) {
    size_t back = 0, kind = draw(s, 3);
    for (size_t i = 0; i < under_way_count; i++) {
        if (kind == 0 || (kind == 1 && draw(s, 2))) {
            delivered++;
            continue;
        }
        returned_add(r)->len = under_way[i];
        back++;
    }
    under_way_count = 0;
    return back;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script_t script = {data, data + size}, *s = &script;
    returned_t r = {0};
    size_t group_back = 0, peak = 0;
    under_way_count = fresh = delivered = 0;
    while (s->next < s->end && fresh < LINES - 256) {
        size_t count = 1 + draw(s, 255), n, left;
        short_of_memory = draw(s, 4) == 0;
        returned_to_front(&r, group_back);
        group_back = 0;
        for (size_t i = 1; i < r.count; i++)
            REQUIRE(returned_first(&r)[i - 1].len < returned_first(&r)[i].len);
        n = r.count > 0 && r.count < count ? r.count : count;
        size_t capacity = r.capacity;
        if (returned_reserve(&r, under_way_count, n) != 0) {
            REQUIRE(short_of_memory && r.capacity == capacity);
            continue; /* nothing is handed over, and nothing is lost */
        }
        REQUIRE(r.first + r.count + under_way_count + n <= r.capacity);
        if (r.count == 0) { /* new lines; perhaps behind others that are under way */
            for (size_t i = 0; i < n; i++)
                hand_over(fresh++);
        } else {
            left = draw(s, 8) == 0 ? draw(s, (unsigned)n + 1) : 0; /* librdkafka's queue is full: the last stay */
            for (size_t i = 0; i < n - left; i++)
                hand_over(returned_first(&r)[i].len);
            memmove(returned_first(&r), returned_first(&r) + n - left, left * sizeof *r.messages);
            returned_taken(&r, n, left, under_way_count);
        }
        size_t can_return = r.count + under_way_count;
        peak = can_return > peak ? can_return : peak;
        REQUIRE(r.first + can_return <= r.capacity);
        REQUIRE(r.capacity <= 2 * peak + 4 * RETURNED_KEPT);
        if (r.count > 0 || draw(s, 3))
            group_back = report(&r, s);
        REQUIRE(r.count + under_way_count + delivered == fresh);
    }
    returned_clear(&r);
    return 0;
}
