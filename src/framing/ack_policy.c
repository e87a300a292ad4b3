/* What the modes of acknowledgement have in common. */
#include "ack_policy.h"

#include "inlet.h"

const ack_policy_t *ack_policy_of(ledger_count_t count) {
    return count == LEDGER_COUNT_BYTES ? &ack_demand : count == LEDGER_COUNT_LINES ? &ack_line : &ack_marker;
}

void ack_watch_stdin(inlet_t *s, int64_t mark, int64_t now_ns, int64_t look_ns) {
    ack_watch_t *watch = &s->ack;
    int unread = 0;
    if (s->ledger.cursor_bytes == 0 && sys.unread_bytes(s->writer.fd, &unread) == 0 && unread == 0 &&
        !progress_held(s->progress) && watch->empty_since_ns != 0 && mark == watch->mark_seen)
        return;
    watch->mark_seen = mark;
    watch->empty_since_ns = watch->idle_since_ns = now_ns;
    watch->next_probe_ns = now_ns + look_ns;
}

int64_t ack_rewind_marks(inlet_t *s) {
    const bool trusted = !transaction_rewind_void(s) && !s->run.rule_broken;
    return ledger_rewind_marks(&s->ledger, progress_mark_expected(s->progress), trusted);
}

int64_t ack_forget_marks(inlet_t *s) { return ledger_rewind_marks(&s->ledger, s->ledger.mark, false); }

/* In the other modes the rule of `demand` takes no look, so nothing is unseen, and nothing is fed in batches. */

bool ack_sees_no_rest(const inlet_t *s) { return demand_is_unseen(&s->demand); }

bool ack_is_urgent(const inlet_t *s) {
    const bool window_fills =
        ledger_room(&s->ledger) <= s->ledger.max_records / 2 || s->ledger.bytes > s->ledger.max_bytes / 2;
    const bool batch_is_over = s->writer.held_back && demand_in_batches(&s->demand);
    return window_fills || batch_is_over || s->orders.draining || s->run.closing || s->consumer.revoking != NULL ||
           s->alone.until > 0 || s->attempts.careful_until > 0;
}
