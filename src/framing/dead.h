/* Dead records in the ledger: each has a letter instead of a line, and nothing behind one goes before its letter is there.
 *
 * As pure as the ledger. Letters have numbers that only grow; `delivered` is the number up to which all are delivered.
 */
#pragma once

#include "ledger.h"

/* Whether nothing is waited for: its dead letter, if it is to have one, is delivered. */
static inline int ledger_is_buried(const ledger_entry_t *e, int64_t delivered) {
    return !(e->flags & LEDGER_DEAD) || (0 < e->letter && e->letter <= delivered);
}

/* Whether the first record may go: it is acknowledged, and buried. */
static inline int ledger_may_pop(const ledger_t *l, int64_t delivered) {
    return l->head < l->settled && ledger_is_buried(ledger_at(l, l->head), delivered);
}

/* The first unanswered record that has a line, or the tail. */
static inline int64_t ledger_first_line(const ledger_t *l) {
    int64_t i = l->answered;
    while (i < l->tail && ledger_at(l, i)->line_bytes == 0)
        i++;
    return i;
}

/* After a rewind: the record is dead if it is the first to be written again, else nothing, its partition was lost since.
 * Returns whether it is. */
static inline int ledger_bury_first(ledger_t *l, int32_t partition, int64_t offset) {
    int64_t first = ledger_first_line(l);
    ledger_entry_t *e = ledger_at(l, first);
    if (first == l->tail || e->partition != partition || e->offset != offset)
        return 0;
    ledger_bury(l, e, LEDGER_POISON);
    if (l->letters_from > first)
        l->letters_from = first;
    return 1;
}

/* Before which record a letter may be posted: of those passed over in the writing. In a transaction only of those that come
 * first: a letter belongs into the transaction that commits its record's offset. */
static inline int64_t ledger_letters_limit(const ledger_t *l, int transactional) {
    int64_t limit = l->head;
    if (!transactional)
        return l->cursor;
    while (limit < l->cursor && ledger_at(l, limit)->flags & LEDGER_DEAD)
        limit++;
    return limit;
}

/* The next record before `limit` that is to get a letter; -1: none. One that became void gets none. */
static inline int64_t ledger_next_letter(ledger_t *l, int64_t limit) {
    if (l->letters_from < l->head)
        l->letters_from = l->head;
    for (; l->letters_from < limit; l->letters_from++) {
        ledger_entry_t *e = ledger_at(l, l->letters_from);
        if (!(e->flags & LEDGER_DEAD) || e->letter != 0)
            continue;
        if (!(e->flags & LEDGER_VOID))
            return l->letters_from;
        ledger_unbury(l, e);
    }
    return -1;
}

/* The transaction that the letters were in is lost: they are posted again. */
static inline void ledger_recall_letters(ledger_t *l) {
    for (int64_t i = l->head; l->dead > 0 && i < l->tail; i++) {
        ledger_entry_t *e = ledger_at(l, i);
        if (e->flags & LEDGER_DEAD)
            ledger_posted(l, e, 0);
    }
    l->letters_from = l->head;
}

/* In a transaction, before which record writing stops for the sake of a dead one.
 *
 * What is written behind it could be answered, and committed, before its offset can be. So everything before it is
 * committed first, then it is passed over with those dead that follow it, and they are committed with their letters. */
static inline int64_t ledger_dead_limit(const ledger_t *l) {
    int64_t i = l->head;
    if (l->dead == 0)
        return l->tail;
    while (i < l->tail && !(ledger_at(l, i)->flags & LEDGER_DEAD))
        i++;
    if (i > l->head && i >= l->cursor)
        return i;
    while (i < l->tail && ledger_at(l, i)->flags & LEDGER_DEAD)
        i++;
    return i > l->cursor ? i : l->cursor;
}

/* How far a transaction that ends at `sequence` may commit: with the dead letters delivered, and no other. */
static inline int64_t ledger_buried_before(ledger_t *l, int64_t sequence, int64_t delivered) {
    if (l->dead == 0)
        return sequence;
    for (int64_t i = l->head; i < sequence; i++)
        if (!ledger_is_buried(ledger_at(l, i), delivered))
            return i;
    /* Those that come next wait for no line: their letters are in the transaction, so their offsets have to be, too. The end
     * of a run may have taken the cursor back before them, and before void ones among them. */
    while (sequence < l->tail && ledger_at(l, sequence)->flags & (LEDGER_DEAD | LEDGER_VOID) &&
           ledger_is_buried(ledger_at(l, sequence), delivered))
        sequence++;
    if (l->answered < sequence)
        l->answered = sequence;
    if (l->cursor < sequence)
        l->cursor = sequence;
    return sequence;
}

/* Records with a line that the Calculator may be at work on. */
static inline int64_t ledger_lines_in_flight(const ledger_t *l) {
    int64_t lines = l->cursor - l->head + (l->cursor_bytes > 0);
    for (int64_t i = l->head; l->dead > 0 && i < l->cursor; i++)
        lines -= (ledger_at(l, i)->flags & LEDGER_DEAD) != 0;
    return lines;
}
