/* Whatever the order of events: the ledger's borders, memory and counts fit what is in its ring, and what it hands to
   writev is what its records say, byte by byte. Payloads are of exactly their size, and gone as soon as they are popped.
   Entry point as libFuzzer calls it; standalone.c calls it where there is no libFuzzer. */
#include <stdio.h>

#include "ledger.c"

#define PARTITIONS 3
#define MAX_IOV 16
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

/* Whether a line of the value begins here as marker lines do. */
static int like_marker(const ledger_t *l, const ledger_entry_t *e, size_t at) {
    const int several = e->flags & LEDGER_SEVERAL_LINES;
    if (l->marker_prefix_bytes == 0 || (at > 0 && !(several && e->payload[at - 1] == '\n')))
        return 0;
    for (size_t i = 0; i < l->marker_prefix_bytes; i++) {
        if (at + i + 1 >= e->line_bytes)
            return 0;
        const uint8_t byte = e->payload[at + i];
        if ((byte == '\n' && !several ? ' ' : byte) != l->marker_prefix[i])
            return 0;
    }
    return 1;
}

/* The byte at this place of a record's line. */
static uint8_t line_byte(const ledger_t *l, const ledger_entry_t *e, size_t at) {
    if (at + 1 == e->line_bytes)
        return '\n';
    if (like_marker(l, e, at))
        return l->instead;
    return e->payload[at] == '\n' && (e->flags & LEDGER_INNER_NEWLINE) ? ' ' : e->payload[at];
}

/* How far STDOUT can have come. */
static int64_t lines_out(const ledger_t *l) {
    return l->count == LEDGER_COUNT_LINES ? ledger_lines_written(l) : l->mark;
}

static int64_t begun_lines(const ledger_t *l) {
    int64_t lines = 0;
    for (size_t i = 0; l->count == LEDGER_COUNT_LINES && i < l->cursor_bytes; i++)
        lines += line_byte(l, ledger_at(l, l->cursor), i) == '\n';
    return lines;
}

static void consistent(const ledger_t *l) {
    int64_t bytes = 0, in_flight[PARTITIONS] = {0};
    REQUIRE(l->head <= l->answered && l->answered <= l->cursor && l->cursor <= l->tail);
    REQUIRE(l->tail - l->head <= l->max_records);
    REQUIRE(l->cursor_bytes == 0 || l->cursor_bytes < ledger_at(l, l->cursor)->line_bytes);
    REQUIRE(ledger_lines_written(l) == l->mark + begun_lines(l));
    for (int64_t i = l->head; i < l->tail; i++) {
        const ledger_entry_t *e = ledger_at(l, i);
        bytes += e->cost_bytes;
        in_flight[e->partition] += ledger_owns(l, e);
        REQUIRE(i == l->head || i >= l->cursor || ledger_at(l, i - 1)->end <= e->end);
    }
    REQUIRE(l->bytes == bytes);
    for (int32_t i = 0; i < l->partition_count; i++) {
        REQUIRE(l->partitions[i].in_flight == in_flight[i]);
        REQUIRE(l->partitions[i].state != PARTITION_LOST || l->partitions[i].next_offset == -1);
    }
    int64_t sequence = l->head, position = -1;
    REQUIRE(l->fence_count <= LEDGER_FENCES);
    for (unsigned i = 0; i < l->fence_count; i++) {
        const ledger_fence_t *fence = &l->fences[(l->fence_first + i) % LEDGER_FENCES];
        REQUIRE(sequence < fence->sequence && position < fence->stdout_position);
        sequence = fence->sequence;
        position = fence->stdout_position;
    }
    REQUIRE(l->count != LEDGER_COUNT_BYTES || sequence == l->answered);
}

static void write_some(ledger_t *l, script_t *s) {
    struct iovec iov[MAX_IOV];
    int64_t i = l->cursor, limit = l->cursor + draw(s, 64);
    size_t at = l->cursor_bytes, left = draw(s, 4) ? SIZE_MAX : draw(s, 16), written = 0;
    if (limit > l->tail)
        limit = l->tail;
    int n = ledger_gather(l, limit, iov, 2 + (int)draw(s, MAX_IOV - 1));
    REQUIRE(n <= MAX_IOV);
    for (int k = 0; k < n; k++)
        for (size_t j = 0; j < iov[k].iov_len && left > 0; j++, left--, written++) {
            for (; at == ledger_at(l, i)->line_bytes; at = 0)
                REQUIRE(++i < limit);
            REQUIRE(((const uint8_t *)iov[k].iov_base)[j] == line_byte(l, ledger_at(l, i), at++));
        }
    for (int64_t k = l->cursor; n == 0 && k < limit; k++)
        REQUIRE(ledger_at(l, k)->line_bytes == 0);
    ledger_written(l, written, l->tail);
}

static void pop_to(ledger_t *l, int64_t sequence) {
    REQUIRE(sequence <= l->cursor);
    while (l->head < sequence)
        free(ledger_pop(l)->record);
}

static void fence(ledger_t *l, int64_t out) {
    ledger_fence(l, out);
    REQUIRE(l->fences[(l->fence_first + l->fence_count - 1) % LEDGER_FENCES].stdout_position == out);
}

static void rewound(const ledger_t *l) {
    REQUIRE(l->cursor == l->answered && l->cursor_bytes == 0);
    for (int64_t i = l->cursor; i < l->tail; i++) {
        const ledger_entry_t *e = ledger_at(l, i);
        int whose = ledger_owns(l, e) && l->partitions[e->partition].state == PARTITION_OWNED;
        REQUIRE(whose || e->line_bytes == 0);
    }
}

static void rewind_bytes(ledger_t *l, int64_t line_end) {
    ledger_rewind(l, line_end);
    for (unsigned i = 0; i < l->fence_count; i++)
        REQUIRE(l->fences[(l->fence_first + i) % LEDGER_FENCES].stdout_position <= line_end);
}

static void append(ledger_t *l, script_t *s, int64_t *offset, newlines_t newlines) {
    static const uint8_t bytes[] = {'a', 'b', '\n'};
    int32_t partition = (int32_t)draw(s, PARTITIONS);
    size_t size = draw(s, 4) ? draw(s, 6) : draw(s, 40);
    if (partition >= l->partition_count || ledger_room(l) <= 0)
        return;
    uint8_t *value = draw(s, 8) ? malloc(size ? size : 1) : NULL;
    for (size_t i = 0; value != NULL && i < size; i++)
        value[i] = bytes[draw(s, sizeof bytes)];
    ledger_append(l, value, value, value ? size : 0, draw(s, 3), partition, (*offset)++, newlines);
}

/* A record that is to be written next becomes a dead one, or some dead ones get their letters. */
static void mourn(ledger_t *l, script_t *s) {
    if (l->cursor < l->tail && l->cursor_bytes == 0 && !(ledger_at(l, l->cursor)->flags & LEDGER_DEAD))
        ledger_bury(l, ledger_at(l, l->cursor), LEDGER_POISON);
    for (int64_t i = l->head; i < l->tail; i++) {
        ledger_entry_t *e = ledger_at(l, i);
        if (!(e->flags & LEDGER_DEAD))
            continue;
        if (e->flags & LEDGER_VOID && e->letter == 0)
            ledger_unbury(l, e);
        else
            ledger_posted(l, e, draw(s, 4) ? 1 + i : 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script_t s = {data, data + size};
    ledger_t l;
    ledger_count_t count = (ledger_count_t)draw(&s, 3);
    newlines_t newlines = (newlines_t)draw(&s, 3);
    int64_t offset = 0, out = 0, delivered = 0, mark = 0, offsets[PARTITIONS];
    if (ledger_open(&l, draw(&s, 2) ? 100 : 7, 100 * LEDGER_RECORD_OVERHEAD_BYTES, count) != 0)
        abort();
    if (count == LEDGER_COUNT_MARKERS)
        ledger_keep_from(&l, (const uint8_t *)"ab", draw(&s, 3));
    while (s.next < s.end) {
        int32_t partition = (int32_t)draw(&s, PARTITIONS);
        int64_t from = l.cursor + draw(&s, 3);
        switch (draw(&s, 16)) {
        case 0:
            REQUIRE(ledger_assign(&l, partition) == 0);
            break;
        case 1:
            ledger_drain(&l, partition, from);
            if (draw(&s, 4) == 0)
                ledger_leave(&l, from);
            break;
        case 2:
            ledger_revoke(&l, partition, from);
            break;
        case 3:
            if (count == LEDGER_COUNT_BYTES)
                rewind_bytes(&l, delivered + (int64_t)draw(&s, (unsigned)(out - delivered) % 200 + 1));
            else
                ledger_rewind_marks(&l, mark, (int)draw(&s, 2));
            rewound(&l);
            break;
        case 4:
            pop_to(&l, ledger_forfeit(&l));
            REQUIRE(l.head == l.cursor);
            break;
        case 5: /* the outputs up to somewhere are delivered */
            delivered += draw(&s, (unsigned)(out - delivered) % 200 + 1);
            if (count == LEDGER_COUNT_BYTES)
                pop_to(&l, ledger_settle(&l, delivered));
            else
                pop_to(&l, ledger_settle_marks(&l, mark));
            break;
        case 6: /* likewise, in a transaction */
            l.committing = count == LEDGER_COUNT_BYTES ? l.head : ledger_settle_marks(&l, mark);
            ledger_offsets_below(&l, l.committing, offsets);
            break;
        case 7:
            pop_to(&l, l.committing);
            break;
        case 8:
            if (count == LEDGER_COUNT_MARKERS && l.cursor_bytes == 0)
                ledger_mark(&l);
            break;
        case 9:
        case 10: /* the Calculator went on */
            out += 1 + draw(&s, 5);
            if (count != LEDGER_COUNT_BYTES)
                mark = mark < lines_out(&l) ? mark + 1 + (int64_t)draw(&s, (unsigned)(lines_out(&l) - mark))
                                            : lines_out(&l);
            else if (ledger_answer(&l, l.written - draw(&s, 10)))
                fence(&l, out);
            break;
        case 11:
            mourn(&l, &s);
            break;
        case 12:
            write_some(&l, &s);
            break;
        default:
            append(&l, &s, &offset, newlines);
        }
        consistent(&l);
    }
    for (int32_t i = 0; i < l.partition_count; i++)
        ledger_revoke(&l, i, l.cursor);
    pop_to(&l, ledger_forfeit(&l)); /* with what was begun */
    ledger_skip(&l, l.tail);        /* no line is left */
    pop_to(&l, ledger_forfeit(&l));
    consistent(&l);
    REQUIRE(l.head == l.tail && l.bytes == 0);
    ledger_close(&l);
    return 0;
}
