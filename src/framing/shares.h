/* A window written in shares, where only reading on shows what is done (write_marks.h) and a rest cannot be seen.
 *
 * A window that was written at once would stand still when it has been read: nothing more may be written, and so nothing
 * shows that it is done with. So the next share is written when the one before has been read for longer than the age of a
 * write mark, and lies in the next mark. With three shares under way the first one is known to be done.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "write_marks.h"

#define SHARES 4 /* of a window */
#define SHARE_READ_NS (MARK_AGE_NS + SAMPLE_APART_NS)

typedef struct {
    int64_t records, bytes; /* of one share, at the most */
    int64_t from_record, from_byte;
    int64_t read_since_ns; /* it has been read; 0: it has not */
} shares_t;

/* A new run: its first record has number ``record``, and its STDIN begins at ``position``. */
static inline void shares_reset(shares_t *s, int64_t max_records, int64_t max_bytes, int64_t record, int64_t position) {
    *s = (shares_t){.records = max_records / SHARES > 0 ? max_records / SHARES : 1,
                    .bytes = max_bytes / SHARES > 0 ? max_bytes / SHARES : 1,
                    .from_record = record,
                    .from_byte = position};
}

/* Before which record writing stops now: up to ``cursor`` and ``written`` it is written, ``all_read`` of it. */
static inline int64_t shares_limit(shares_t *s, int64_t now_ns, int64_t cursor, int64_t written, bool all_read) {
    const bool used_up = cursor - s->from_record >= s->records || written - s->from_byte >= s->bytes;
    if (!used_up)
        return s->from_record + s->records;
    if (!all_read) {
        s->read_since_ns = 0;
    } else if (s->read_since_ns == 0) {
        s->read_since_ns = now_ns;
    } else if (now_ns - s->read_since_ns >= SHARE_READ_NS) {
        s->from_record = cursor;
        s->from_byte = written;
        s->read_since_ns = 0;
        return cursor + s->records;
    }
    return cursor;
}
