/* The `demand` rule in the inlet: what ack_demand.h says is done with is answered. */
#include "inlet.h"
#include "minmax.h"

/* The Calculator is done with STDIN up to `position`. STDIN was sampled before; STDOUT is sampled here, after. */
static void answered(inlet_t *s, int64_t position) {
    if (ledger_answer(&s->ledger, position))
        ledger_fence(&s->ledger, progress_written(s->progress));
}

static void attach(inlet_t *s) { s->ledger.mark = progress_mark_issued(s->progress); /* of an inlet before this one */ }

/* Look at the Calculator by the rule; `look_again_ns` says when to do so again. */
static void sample(inlet_t *s) {
    s->ack.look_again_ns = 0;
    if (!inlet_may_write(s))
        return;
    const bool whole = s->ledger.cursor_bytes == 0;
    const demand_seen_t seen = {
        .now_ns = s->writer.looked_ns,
        .written = s->ledger.written,
        .read = s->ledger.written - s->writer.unread_bytes,
        .whole = whole,
        .out_written = s->writer.unread_bytes == 0 && whole ? progress_written(s->progress) : 0,
        .urgent = ack_is_urgent(s),
    };
    s->ack.look_again_ns = demand_look(&s->demand, &seen);
    answered(s, s->demand.done);
    if (s->ledger.answered == s->ledger.cursor && s->ledger.cursor_bytes == 0)
        s->ack.look_again_ns = 0;
}

/* By feed.h, or a batch at a time where only a rest shows what is done. */
static int64_t feed(inlet_t *s, int64_t limit) {
    int64_t fed = limit;
    if (demand_in_shares(&s->demand)) {
        const int64_t unfinished = s->ledger.cursor + (s->ledger.cursor_bytes > 0);
        const int64_t share = shares_limit(&s->writer.shares, s->writer.looked_ns, s->ledger.cursor, s->ledger.written,
                                           s->writer.unread_bytes == 0);
        fed = max_i64(unfinished, min_i64(limit, share));
    }
    if (!demand_in_batches(&s->demand))
        return stdin_fit(s, fed);
    return ledger_fit(&s->ledger, fed, batches_room(&s->demand.batches, s->ledger.written),
                      s->ledger.written == s->demand.batches.from, IOV_BATCH);
}

static int64_t settle(inlet_t *s) { return ledger_settle(&s->ledger, progress_delivered(s->progress)); }

/* It was looked at before the last write. */
static int64_t watch(inlet_t *s, int64_t now_ns) {
    (void)now_ns;
    return s->ack.look_again_ns;
}

static void finish(inlet_t *s) { answered(s, s->ledger.written); }

static int64_t rewind_bytes(inlet_t *s) { return ledger_rewind(&s->ledger, progress_line_end(s->progress)); }

static int64_t forget(inlet_t *s) { return ledger_rewind(&s->ledger, -1); }

const ack_policy_t ack_demand = {
    .count = LEDGER_COUNT_BYTES,
    .attach = attach,
    .sample = sample,
    .feed = feed,
    .settle = settle,
    .watch = watch,
    .finish = finish,
    .rewind = rewind_bytes,
    .forget = forget,
};
