#include "isolation.h"

#include "inlet.h"

int64_t isolation_read_until(const inlet_t *s) {
    int unread = 0;
    int64_t i = s->ledger.cursor;
    if (s->writer.fd < 0 || s->ledger.count == LEDGER_COUNT_MARKERS || sys.unread_bytes(s->writer.fd, &unread) != 0)
        return i + (s->ledger.cursor_bytes > 0); /* marker lines are in between */
    int64_t left = unread - (int64_t)s->ledger.cursor_bytes;
    if (left < 0)
        return i + 1;
    for (; i > s->ledger.answered && left >= ledger_at(&s->ledger, i - 1)->line_bytes; i--)
        left -= ledger_at(&s->ledger, i - 1)->line_bytes;
    return i;
}

bool isolation_is_on(inlet_t *s) {
    if (s->alone.until == 0)
        return false;
    const bool seen = !ack_sees_no_rest(s);
    if (s->ledger.answered < s->alone.until && seen)
        return true;
    s->alone.until = 0;
    s->consumer.more = true;
    inlet_notice(s, seen ? NOTICE_CLEARED : NOTICE_NOT_ALONE, 0, "");
    return false;
}

int64_t isolation_limit(const inlet_t *s) {
    const int64_t first = ledger_first_line(&s->ledger);
    return s->ledger.cursor <= first ? first + 1 : s->ledger.cursor + (s->ledger.cursor_bytes > 0);
}
