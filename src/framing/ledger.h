/* The ledger: every record in flight, in the order it is written to the Calculator's STDIN.
 *
 * Pure bookkeeping: no I/O, no librdkafka, no locks; one thread owns it (the inlet's). Four monotonic sequence numbers
 * cut the ring into zones:
 *
 *     head ......... answered ......... cursor ......... tail
 *      | output not     | in the pipe or    | taken from   |
 *      | yet delivered  | the Calculator    | Kafka, unwritten
 *
 * - append moves tail; written moves cursor; answer moves answered (the Calculator came back for more); settle returns
 *   how far head may go (the output written by then is delivered); pop moves head.
 * - What is acknowledged is `settled`; head follows it, but stops at a dead record until its dead letter is delivered.
 * - rewind moves cursor back to answered: after a crash those records are written again, from memory.
 * - A dead record has no line: it goes to the dead letter stream, and its offset moves when it is there.
 * - Counting bytes (`demand`), an entry ends at a position of STDIN, and what the Calculator has taken of it answers.
 *   Otherwise it ends at a mark, a number that only grows: counting lines (`line`) that of its last line, and so many lines
 *   of STDOUT answer; counting markers (`marker`) that of the marker line that follows it, and its echo answers.
 * - forfeit: what was written counts as done, whatever became of it (`at-most-once`).
 * - A fence is a pair (sequence, STDOUT position): records below the sequence are acknowledged once the output up to the
 *   position is delivered. Fences are kept in a short ring; when it is full the newest one is overwritten by a later,
 *   which covers it.
 * - Offsets: each partition has an epoch, raised when it is assigned and when it is lost. A record whose epoch is not its
 *   partition's current one never moves an offset.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* What one record in flight costs besides its payload: librdkafka's op and our entry. Counted against max_bytes. */
#define LEDGER_RECORD_OVERHEAD_BYTES 512
#define LEDGER_FENCES 64
#define LEDGER_LEAST_RECORDS 4 /* there is room for, whatever the window */

enum {
    LEDGER_INNER_NEWLINE = 1, /* has '\n' before its last byte: written as a space */
    LEDGER_ENDS_IN_NEWLINE = 2,
    LEDGER_SEVERAL_LINES = 8, /* the same, written as it is */
    LEDGER_VOID = 4,          /* its partition was lost before it was written: no line, no offset */
    LEDGER_DEAD = 16,         /* no line, but a dead letter */
    LEDGER_POISON = 32,       /* dead because it ended the Calculator, not for its newlines */
    LEDGER_LIKE_MARKER = 64,  /* a line of it begins as marker lines do: written with another first byte */
};

/* What becomes of a '\n' inside a value. */
typedef enum { NEWLINES_SPACE, NEWLINES_SPLIT, NEWLINES_REJECT } newlines_t;

typedef struct {
    void *record; /* owner's handle, released by the owner after pop */
    union {
        const uint8_t *payload; /* line_bytes, less the newline that we add */
        int64_t letter;         /* dead: the number of its dead letter, 0 before it has one */
    };
    int64_t offset;
    int64_t end;         /* bytes of STDIN up to and with it, or its mark; valid below cursor */
    uint32_t line_bytes; /* 0: a tombstone, a void or a dead entry has no line */
    uint32_t cost_bytes;
    int32_t partition;
    uint16_t epoch;
    uint16_t flags;
} ledger_entry_t;

/* What tells how far the Calculator is done with its STDIN. */
typedef enum { LEDGER_COUNT_BYTES, LEDGER_COUNT_LINES, LEDGER_COUNT_MARKERS } ledger_count_t;

typedef enum { PARTITION_LOST, PARTITION_OWNED, PARTITION_DRAINING } partition_state_t;

typedef struct {
    int64_t next_offset; /* the offset to store: one past the last acknowledged record; -1: none yet */
    int64_t in_flight;   /* entries of the current epoch in the ring */
    uint16_t epoch;
    uint8_t state;   /* partition_state_t */
    uint8_t dirty;   /* next_offset was not stored yet */
    uint8_t stopped; /* a record of this epoch was left to who gets the partition: no offset moves past it */
} ledger_partition_t;

typedef struct {
    int64_t sequence;
    int64_t stdout_position;
} ledger_fence_t;

typedef struct {
    ledger_entry_t *ring;
    int64_t mask;
    int64_t head, settled, answered, cursor, tail;
    int64_t dead,
        unposted;         /* entries that have a dead letter instead of a line, and those of them that are to get it */
    int64_t letters_from; /* every dead entry before this one has its letter */
    size_t cursor_bytes;  /* bytes of the entry at cursor that are written already */
    int64_t begun_lines;  /* counting lines: whole lines among them */
    int64_t written;      /* position in the STDIN byte stream */
    int64_t
        mark; /* of the last whole line written, counted on from the lines that came out so far; or of the last marker */
    int64_t committing; /* a commit of what is below it is under way; at most settled: none is */
    int64_t unmarked;   /* counting markers: entries passed since the last one */
    ledger_count_t count;
    const uint8_t *marker_prefix; /* as no line of a value may begin */
    size_t marker_prefix_bytes;   /* 0: any may */
    uint8_t instead;              /* of the prefix's first byte */
    int64_t values_changed;       /* so many were taken whose line is not what they are */
    int64_t max_records, max_bytes, bytes;
    ledger_partition_t *partitions;
    int32_t partition_count;
    ledger_fence_t fences[LEDGER_FENCES];
    unsigned fence_first, fence_count;
} ledger_t;

static inline ledger_entry_t *ledger_at(const ledger_t *l, int64_t sequence) { return &l->ring[sequence & l->mask]; }

/* 0, or -1 when memory is short. The ring is rounded up to a power of two. */
int ledger_open(ledger_t *l, int64_t max_records, int64_t max_bytes, ledger_count_t count);

/* Marker lines begin like this: no line of a value does. The prefix has no newline, and outlives the ledger. */
void ledger_keep_from(ledger_t *l, const uint8_t *marker_prefix, size_t bytes);

void ledger_close(ledger_t *l);

/* How many more records may be taken; a single record larger than max_bytes is let in when the ledger is empty. */
static inline int64_t ledger_room(const ledger_t *l) {
    return l->bytes >= l->max_bytes ? 0 : l->max_records - (l->tail - l->head);
}

/* How many records to take at once, at most `most`: if they are like those in flight, the last of them reaches max_bytes. */
static inline int64_t ledger_batch(const ledger_t *l, int64_t most) {
    int64_t room = ledger_room(l), in_flight = l->tail - l->head;
    if (room > most)
        room = most;
    if (room <= 0 || in_flight == 0)
        return room;
    int64_t fitting = (l->max_bytes - l->bytes) / (l->bytes / in_flight) + 1;
    return fitting < room ? fitting : room;
}

/* The partition's slot, made if need be; NULL when memory is short. */
ledger_partition_t *ledger_partition(ledger_t *l, int32_t partition);

int ledger_assign(ledger_t *l, int32_t partition);

static inline int ledger_owns(const ledger_t *l, const ledger_entry_t *e) {
    return e->partition < l->partition_count && l->partitions[e->partition].epoch == e->epoch &&
           l->partitions[e->partition].state != PARTITION_LOST && !(e->flags & LEDGER_VOID);
}

/* Whether its dead letter is under way: that counts like a line that was written. */
static inline int ledger_has_letter(const ledger_entry_t *e) { return e->flags & LEDGER_DEAD && e->letter != 0; }

/* Make the entries from sequence `from` on that belong to `partition` void: they will have no line and move no offset.
 * An entry that is partly written is not: its rest will be written, so it is answered, and counts. */
void ledger_void_from(ledger_t *l, int64_t from, int32_t partition);

/* The partition is to be given up: of what is at `from` or behind nothing is written; what was written may still be
 * acknowledged. `from` is the cursor, or behind it where records were committed already. */
void ledger_drain(ledger_t *l, int32_t partition, int64_t from);

/* A commit of records of partitions that are to be given up failed: of what is at `from` or behind nothing is written. */
void ledger_leave(ledger_t *l, int64_t from);

/* The partition is gone: acknowledgements of its records no longer count. */
void ledger_revoke(ledger_t *l, int32_t partition, int64_t from);

/* Of a record that is not written: it gets a dead letter instead of its line. */
static inline void ledger_bury(ledger_t *l, ledger_entry_t *e, unsigned why) {
    e->flags |= (uint16_t)(LEDGER_DEAD | why);
    e->line_bytes = 0;
    e->letter = 0;
    l->dead++;
    l->unposted++;
}

static inline void ledger_posted(ledger_t *l, ledger_entry_t *e, int64_t letter) {
    l->unposted -= (e->letter == 0) - (letter == 0);
    e->letter = letter;
}

/* The dead letter is not to be sent: its partition was lost, and who gets it reads it. */
static inline void ledger_unbury(ledger_t *l, ledger_entry_t *e) {
    e->flags &= (uint16_t)~LEDGER_DEAD;
    l->unposted -= e->letter == 0;
    l->dead--;
}

/* Does a line that begins here begin as marker lines do? A '\n' inside is compared as what it is written as: `newline`. */
static inline int ledger_is_like_marker(const ledger_t *l, const uint8_t *p, const uint8_t *end, uint8_t newline) {
    if (l->marker_prefix_bytes == 0 || (size_t)(end - p) < l->marker_prefix_bytes)
        return 0;
    for (size_t i = 0; i < l->marker_prefix_bytes; i++)
        if ((p[i] == '\n' ? newline : p[i]) != l->marker_prefix[i])
            return 0;
    return 1;
}

/* The first line at `p` or behind it that does, where each '\n' ends one; NULL: none. A line begins at `p` if one begins
 * the value or a '\n' is before it. */
static inline const uint8_t *ledger_like_marker(const ledger_t *l, const uint8_t *value, const uint8_t *p,
                                                const uint8_t *end) {
    const uint8_t *at = p;
    if (p == value) {
        if (ledger_is_like_marker(l, p, end, '\n'))
            return p;
    } else {
        at--;
    }
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (ledger_is_like_marker(l, at, end, '\n'))
            return at;
    }
    return NULL;
}

/* Add a record just taken. `payload` NULL is a tombstone: no line. `other_bytes`, of its key and headers, count as the
 * value's do. The caller has checked ledger_room. */
static inline void ledger_append(ledger_t *l, void *record, const uint8_t *payload, size_t size, size_t other_bytes,
                                 int32_t partition, int64_t offset, newlines_t newlines) {
    ledger_entry_t *e = ledger_at(l, l->tail);
    ledger_partition_t *p = &l->partitions[partition];
    unsigned flags = 0;
    size_t line_bytes = 0;
    if (payload != NULL) {
        const uint8_t *newline = size ? memchr(payload, '\n', size) : NULL;
        if (newline != NULL) {
            if (payload[size - 1] == '\n')
                flags |= LEDGER_ENDS_IN_NEWLINE;
            if (newline != payload + size - 1)
                flags |= newlines == NEWLINES_SPLIT ? LEDGER_SEVERAL_LINES : LEDGER_INNER_NEWLINE;
        }
        line_bytes = size + !(flags & LEDGER_ENDS_IN_NEWLINE);
        const uint8_t *end = payload + line_bytes - 1;
        if (l->marker_prefix_bytes > 0 && end > payload &&
            (flags & LEDGER_SEVERAL_LINES ? ledger_like_marker(l, payload, payload, end) != NULL
                                          : ledger_is_like_marker(l, payload, end, ' ')))
            flags |= LEDGER_LIKE_MARKER;
    }
    *e = (ledger_entry_t){.record = record,
                          .payload = payload,
                          .offset = offset,
                          .line_bytes = (uint32_t)line_bytes,
                          .cost_bytes = (uint32_t)(size + other_bytes) + LEDGER_RECORD_OVERHEAD_BYTES,
                          .partition = partition,
                          .epoch = p->epoch,
                          .flags = (uint16_t)flags};
    if (flags & (LEDGER_INNER_NEWLINE | LEDGER_LIKE_MARKER)) {
        if (newlines == NEWLINES_REJECT)
            ledger_bury(l, e, 0);
        else
            l->values_changed++;
    }
    p->in_flight++;
    l->bytes += e->cost_bytes;
    l->tail++;
    if (p->state != PARTITION_OWNED)
        ledger_void_from(l, l->tail - 1, partition);
}

/* Of a value that is written with other bytes in places: the next such place at `p` or behind it; NULL: none. */
static inline const uint8_t *ledger_next_change(const ledger_t *l, const ledger_entry_t *e, const uint8_t *p,
                                                const uint8_t *end) {
    if (e->flags & LEDGER_SEVERAL_LINES)
        return ledger_like_marker(l, e->payload, p, end);
    if (e->flags & LEDGER_LIKE_MARKER && p == e->payload)
        return p;
    return e->flags & LEDGER_INNER_NEWLINE ? memchr(p, '\n', (size_t)(end - p)) : NULL;
}

/* Fill `iov` with what is to be written next, straight from the payloads; returns the number filled.
 * Stops before `limit` (a sequence number): all of [cursor, limit) or as much as fits. */
static inline int ledger_gather(const ledger_t *l, int64_t limit, struct iovec *iov, int max_iov) {
    static const uint8_t newline = '\n', space = ' ';
    size_t skip = l->cursor_bytes;
    int n = 0;
    for (int64_t i = l->cursor; i < limit && n + 2 <= max_iov; i++, skip = 0) {
        const ledger_entry_t *e = ledger_at(l, i);
        if (e->line_bytes == 0)
            continue;
        const uint8_t *p = e->payload + skip;
        size_t body = e->line_bytes - 1; /* all but the final newline, ours or its own */
        if (e->flags & (LEDGER_INNER_NEWLINE | LEDGER_LIKE_MARKER)) {
            const uint8_t *end = e->payload + body;
            while (p < end && n + 2 <= max_iov) {
                const uint8_t *q = ledger_next_change(l, e, p, end);
                if (q != p)
                    iov[n++] = (struct iovec){(void *)(uintptr_t)p, (size_t)((q ? q : end) - p)};
                p = q ? q : end;
                if (q != NULL) {
                    int begins = e->flags & LEDGER_LIKE_MARKER && (q == e->payload || *q != '\n');
                    iov[n++] = (struct iovec){(void *)(uintptr_t)(begins ? &l->instead : &space), 1};
                    p++;
                }
            }
            if (p < end || n == max_iov)
                break;
        } else if (skip < body) {
            iov[n++] = (struct iovec){(void *)(uintptr_t)p, body - skip};
        }
        iov[n++] = (struct iovec){(void *)(uintptr_t)&newline, 1};
    }
    return n;
}

/* Before which record writing stops, of those before `limit`, if `room` bytes may be written; the rest of one that was begun
 * always may, and `one`: a single record of any size may as well. Looks no further than `most` records. */
static inline int64_t ledger_fit(const ledger_t *l, int64_t limit, int64_t room, int one, int64_t most) {
    int64_t i = l->cursor;
    if (l->cursor_bytes > 0 && i < limit) {
        room -= ledger_at(l, i++)->line_bytes - (int64_t)l->cursor_bytes;
        one = 0;
    }
    for (; i < limit && i - l->cursor < most; i++) {
        const int64_t line_bytes = ledger_at(l, i)->line_bytes;
        if (line_bytes > room && line_bytes > 0 && !one)
            break;
        room -= line_bytes;
        one = one && line_bytes == 0;
    }
    return i;
}

static inline int64_t ledger_lines_of(const ledger_entry_t *e) {
    if (e->line_bytes == 0 || !(e->flags & LEDGER_SEVERAL_LINES))
        return e->line_bytes > 0;
    int64_t lines = 1;
    const uint8_t *last = e->payload + e->line_bytes - 1, *at = e->payload;
    while (at < last && (at = memchr(at, '\n', (size_t)(last - at))) != NULL) {
        lines++;
        at++;
    }
    return lines;
}

/* Whole lines among `size` bytes of the entry at the cursor, from `cursor_bytes` on, its last byte not among them. Where
 * newlines are written as spaces there are none. */
static inline int64_t ledger_lines_in(const ledger_t *l, size_t size) {
    const ledger_entry_t *e = ledger_at(l, l->cursor);
    int64_t lines = 0;
    if (l->count != LEDGER_COUNT_LINES || !(e->flags & LEDGER_SEVERAL_LINES))
        return 0;
    const uint8_t *at = e->payload + l->cursor_bytes, *end = at + size;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        lines++;
        at++;
    }
    return lines;
}

/* Counting lines: how many whole lines are written, counted on as the mark is. Those of a record that is begun are among
 * them: the Calculator may have answered them. */
static inline int64_t ledger_lines_written(const ledger_t *l) { return l->mark + l->begun_lines; }

/* The entry at the cursor is no longer begun. */
static inline void ledger_unbegin(ledger_t *l) {
    l->cursor_bytes = 0;
    l->begun_lines = 0;
}

/* The entry at the cursor is written; `position` is that of STDIN behind it. */
static inline void ledger_pass(ledger_t *l, int64_t position) {
    ledger_entry_t *e = ledger_at(l, l->cursor);
    switch (l->count) {
    case LEDGER_COUNT_BYTES:
        e->end = position;
        break;
    case LEDGER_COUNT_LINES:
        e->end = l->mark += ledger_lines_of(e);
        break;
    case LEDGER_COUNT_MARKERS:
        e->end = l->mark + 1;
        l->unmarked++;
        break;
    }
    ledger_unbegin(l);
    l->cursor++;
}

/* Entries without a line are passed over, up to `limit`: there is nothing of them to write. */
static inline void ledger_skip(ledger_t *l, int64_t limit) {
    while (l->cursor < limit && ledger_at(l, l->cursor)->line_bytes == 0)
        ledger_pass(l, l->written);
}

/* `bytes` more were written to STDIN, of entries before `limit`. Returns the number of records completed. Entries without
 * a line are passed over. */
static inline int64_t ledger_written(ledger_t *l, size_t bytes, int64_t limit) {
    int64_t before = l->cursor;
    l->written += (int64_t)bytes;
    while (l->cursor < limit) {
        size_t left = ledger_at(l, l->cursor)->line_bytes - l->cursor_bytes;
        if (bytes < left) {
            l->begun_lines += ledger_lines_in(l, bytes);
            l->cursor_bytes += bytes;
            break;
        }
        bytes -= left;
        ledger_pass(l, l->written - (int64_t)bytes);
    }
    return l->cursor - before;
}

/* A marker follows what was written, now, between two entries. Returns its number. */
static inline int64_t ledger_mark(ledger_t *l) {
    l->unmarked = 0;
    return ++l->mark;
}

/* The Calculator has finished everything up to `position` of its STDIN (bytes, or a mark). Returns 1 if that covers further records. */
static inline int ledger_answer(ledger_t *l, int64_t position) {
    int64_t before = l->answered;
    while (l->answered < l->cursor && ledger_at(l, l->answered)->end <= position)
        l->answered++;
    return l->answered != before;
}

/* What was answered so far is acknowledged when STDOUT up to `stdout_position` is delivered. */
static inline void ledger_fence(ledger_t *l, int64_t stdout_position) {
    unsigned last = (l->fence_first + l->fence_count - 1) % LEDGER_FENCES;
    if (l->fence_count > 0 && (l->fence_count == LEDGER_FENCES || l->fences[last].stdout_position == stdout_position)) {
        l->fences[last] = (ledger_fence_t){l->answered, stdout_position};
        return;
    }
    l->fences[(l->fence_first + l->fence_count) % LEDGER_FENCES] = (ledger_fence_t){l->answered, stdout_position};
    l->fence_count++;
}

/* Returns the sequence number up to which records are acknowledged now that STDOUT up to `delivered` is delivered. */
static inline int64_t ledger_settle(ledger_t *l, int64_t delivered) {
    int64_t sequence = l->settled;
    while (l->fence_count > 0 && l->fences[l->fence_first].stdout_position <= delivered) {
        sequence = l->fences[l->fence_first].sequence;
        l->fence_first = (l->fence_first + 1) % LEDGER_FENCES;
        l->fence_count--;
    }
    return sequence;
}

/* The offset behind this record may be committed. */
static inline void ledger_note_offset(ledger_t *l, const ledger_entry_t *e) {
    ledger_partition_t *p = &l->partitions[e->partition];
    if (!ledger_owns(l, e) || p->stopped || e->offset < p->next_offset)
        return;
    p->next_offset = e->offset + 1;
    p->dirty = 1;
}

/* Of each partition, the offset that may be committed when everything before `sequence` is done, or -1. */
void ledger_offsets_below(const ledger_t *l, int64_t sequence, int64_t *offsets);

/* Everything before `sequence` is acknowledged. */
static inline void ledger_acknowledge(ledger_t *l, int64_t sequence) {
    if (sequence > l->settled)
        l->settled = sequence;
}

/* Take the first record out, acknowledged; its offset is noted if its partition is still the same epoch's. The entry
 * stays readable until the next append. */
static inline ledger_entry_t *ledger_pop(ledger_t *l) {
    ledger_entry_t *e = ledger_at(l, l->head++);
    ledger_acknowledge(l, l->head); /* an end pops what is not */
    if (e->flags & LEDGER_DEAD) {
        l->unposted -= e->letter == 0;
        l->dead--;
    }
    l->bytes -= e->cost_bytes;
    if (ledger_owns(l, e)) {
        ledger_note_offset(l, e);
        l->partitions[e->partition].in_flight--;
    } else if (l->partitions[e->partition].epoch == e->epoch) {
        l->partitions[e->partition].stopped = 1;
    }
    return e;
}

/* The Calculator is gone and STDOUT ended at `line_end` (the end of its last whole line): fences beyond it can never be
 * met, so the records behind them count as unanswered again, and all unanswered records are written anew. Records whose
 * partition is no longer owned are not. Returns how many records will be written again. */
int64_t ledger_rewind(ledger_t *l, int64_t line_end);

/* Likewise, by marks: STDOUT came up to `mark` in all, dropped lines included. What that answers waits for its delivery, if
 * it can be `trusted`: not where more lines came out than went in. */
int64_t ledger_rewind_marks(ledger_t *l, int64_t mark, int trusted);

/* Returns the sequence number up to which records are acknowledged now that STDOUT is delivered up to `mark`. */
static inline int64_t ledger_settle_marks(ledger_t *l, int64_t mark) {
    int64_t sequence = l->settled;
    ledger_answer(l, mark);
    while (sequence < l->answered && ledger_at(l, sequence)->end <= mark)
        sequence++;
    return sequence;
}

/* What was written, the record that was begun included, counts as done. Returns the sequence number up to which. */
static inline int64_t ledger_forfeit(ledger_t *l) {
    l->cursor += l->cursor_bytes > 0;
    ledger_unbegin(l);
    l->unmarked = 0;
    l->answered = l->cursor;
    l->fence_count = 0;
    return l->cursor;
}
