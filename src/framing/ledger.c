/* The ledger's rare events: it is opened, partitions come and go, a run begins anew. See ledger.h. */
#include "ledger.h"

int ledger_open(ledger_t *l, int64_t max_records, int64_t max_bytes, ledger_count_t count) {
    int64_t capacity = LEDGER_LEAST_RECORDS;
    memset(l, 0, sizeof *l);
    while (capacity < max_records)
        capacity <<= 1;
    l->ring = calloc((size_t)capacity, sizeof *l->ring);
    l->mask = capacity - 1;
    l->max_records = max_records;
    l->max_bytes = max_bytes;
    l->count = count;
    return l->ring == NULL ? -1 : 0;
}

void ledger_keep_from(ledger_t *l, const uint8_t *marker_prefix, size_t bytes) {
    l->marker_prefix = marker_prefix;
    l->marker_prefix_bytes = bytes;
    l->instead = bytes > 0 && marker_prefix[0] == ' ' ? '_' : ' ';
}

void ledger_close(ledger_t *l) {
    free(l->ring);
    free(l->partitions);
    memset(l, 0, sizeof *l);
}

ledger_partition_t *ledger_partition(ledger_t *l, int32_t partition) {
    if (partition >= l->partition_count) {
        int32_t count = partition + 1;
        ledger_partition_t *grown = realloc(l->partitions, (size_t)count * sizeof *grown);
        if (grown == NULL)
            return NULL;
        for (int32_t i = l->partition_count; i < count; i++)
            grown[i] = (ledger_partition_t){.next_offset = -1};
        l->partitions = grown;
        l->partition_count = count;
    }
    return &l->partitions[partition];
}

int ledger_assign(ledger_t *l, int32_t partition) {
    ledger_partition_t *p = ledger_partition(l, partition);
    if (p == NULL)
        return -1;
    *p = (ledger_partition_t){.next_offset = -1, .epoch = (uint16_t)(p->epoch + 1), .state = PARTITION_OWNED};
    return 0;
}

void ledger_void_from(ledger_t *l, int64_t from, int32_t partition) {
    for (int64_t i = from; i < l->tail; i++) {
        ledger_entry_t *e = ledger_at(l, i);
        if (e->partition != partition || (e->flags & LEDGER_VOID) || ledger_has_letter(e) ||
            (i == l->cursor && l->cursor_bytes > 0))
            continue;
        if (l->partitions[partition].epoch == e->epoch)
            l->partitions[partition].in_flight--;
        e->flags |= LEDGER_VOID;
        e->line_bytes = 0;
    }
}

void ledger_drain(ledger_t *l, int32_t partition, int64_t from) {
    ledger_partition_t *p = ledger_partition(l, partition);
    if (p == NULL || p->state != PARTITION_OWNED)
        return;
    p->state = PARTITION_DRAINING;
    ledger_void_from(l, from, partition);
}

void ledger_leave(ledger_t *l, int64_t from) {
    for (int32_t i = 0; i < l->partition_count; i++)
        if (l->partitions[i].state == PARTITION_DRAINING)
            ledger_void_from(l, from, i);
}

void ledger_revoke(ledger_t *l, int32_t partition, int64_t from) {
    ledger_partition_t *p = ledger_partition(l, partition);
    if (p == NULL)
        return;
    ledger_void_from(l, from, partition);
    *p = (ledger_partition_t){.next_offset = -1, .epoch = (uint16_t)(p->epoch + 1), .state = PARTITION_LOST};
}

void ledger_offsets_below(const ledger_t *l, int64_t sequence, int64_t *offsets) {
    for (int32_t i = 0; i < l->partition_count; i++)
        offsets[i] = -1;
    for (int64_t i = l->head; i < sequence; i++) {
        const ledger_entry_t *e = ledger_at(l, i);
        if (ledger_owns(l, e) && e->offset >= offsets[e->partition])
            offsets[e->partition] = e->offset + 1;
    }
}

/* Everything unanswered is written anew. Records whose partition is no longer owned are not. Returns how many will be. */
static int64_t ledger_restart(ledger_t *l) {
    int64_t again = l->cursor - l->answered + (l->cursor_bytes > 0);
    l->cursor = l->answered;
    ledger_unbegin(l);
    l->unmarked = 0;
    for (int64_t i = l->cursor; i < l->tail; i++) {
        ledger_entry_t *e = ledger_at(l, i);
        ledger_partition_t *p = &l->partitions[e->partition];
        if (e->flags & LEDGER_VOID || (ledger_has_letter(e) && p->epoch == e->epoch))
            e->line_bytes = 0;
        else if (p->epoch != e->epoch || p->state != PARTITION_OWNED) {
            if (p->epoch == e->epoch)
                p->in_flight--;
            e->flags |= LEDGER_VOID;
            e->line_bytes = 0;
        }
    }
    return again;
}

int64_t ledger_rewind(ledger_t *l, int64_t line_end) {
    while (l->fence_count > 0) {
        const ledger_fence_t *last = &l->fences[(l->fence_first + l->fence_count - 1) % LEDGER_FENCES];
        if (last->stdout_position <= line_end)
            break;
        l->fence_count--;
    }
    l->answered =
        l->fence_count == 0 ? l->settled : l->fences[(l->fence_first + l->fence_count - 1) % LEDGER_FENCES].sequence;
    return ledger_restart(l);
}

int64_t ledger_rewind_marks(ledger_t *l, int64_t mark, int trusted) {
    if (trusted)
        ledger_answer(l, mark);
    else
        l->answered = l->committing > l->settled ? l->committing : l->settled;
    if (l->count == LEDGER_COUNT_LINES)
        l->mark = mark;
    return ledger_restart(l);
}
