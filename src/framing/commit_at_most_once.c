/* `at-most-once`: a record is written only after the commit of its offset was confirmed, so it is never written twice. */
#include "inlet.h"
#include "minmax.h"

#define COMMIT_RETRY_NS (100 * MS)

bool commit_owes_lines(const inlet_t *s) { return s->ledger.cursor < max_i64(s->ahead.committed, s->ahead.target); }

static void failed(inlet_t *s, int error) {
    for (int32_t i = 0; i < s->ledger.partition_count; i++) /* asked for again, whether newer records come or not */
        s->ledger.partitions[i].dirty = s->ledger.partitions[i].next_offset >= 0;
    s->ahead.target = -1;
    /* Their offsets are not asked for again: who gets them reads them. */
    ledger_leave(&s->ledger, consumer_void_from(s));
    s->ahead.next_ns = monotonic_ns() + COMMIT_RETRY_NS;
    inlet_notice(s, NOTICE_ERROR, error, rdk.err2str(error));
}

/* Commit what was taken and is not committed, one commit at a time. */
static void before_write(inlet_t *s, int64_t now_ns) {
    commit_ahead_t *ahead = &s->ahead;
    if (inlet_holds(s)) /* what is not committed by now is left to who reads it next */
        return;
    if (s->consumer.revoking != NULL) /* the last commit's answer is waited for */
        return;
    if (ahead->target >= 0 || ahead->committed >= s->ledger.tail || now_ns < ahead->next_ns)
        return;
    for (int64_t i = ahead->committed; i < s->ledger.tail; i++)
        ledger_note_offset(&s->ledger, ledger_at(&s->ledger, i));
    rd_kafka_topic_partition_list_t *offsets = commit_new_offsets(s);
    if (offsets == NULL) { /* all void: their partitions were lost in between */
        ahead->committed = s->ledger.tail;
        return;
    }
    ahead->target = s->ledger.tail;
    const int error = rdk.commit(s->consumer.rk, offsets, 1);
    rdk.topic_partition_list_destroy(offsets);
    if (error != RDK_ERR_NONE)
        failed(s, error);
}

void commit_reported(rd_kafka_t *rk, int error, rd_kafka_topic_partition_list_t *offsets, void *opaque) {
    inlet_t *s = opaque;
    (void)rk;
    if (s->ahead.target < 0)
        return;
    for (int i = 0; offsets != NULL && i < offsets->cnt && error == RDK_ERR_NONE; i++)
        error = offsets->elems[i].err;
    if (error != RDK_ERR_NONE) {
        failed(s, error);
        return;
    }
    s->ahead.committed = s->ahead.target;
    s->ahead.target = -1;
}

/* Nobody else will ever read a record that was committed. */
static int64_t limit(inlet_t *s, int64_t limit_of_others, int64_t unfinished) {
    (void)limit_of_others;
    return max_i64(unfinished, s->ahead.committed);
}

/* What it committed is its own for good, what it did not is left. */
static bool drained(const inlet_t *s) { return s->ahead.target < 0; }

/* Not before their offsets are committed. */
static int64_t letters_limit(inlet_t *s) {
    return min_i64(s->ahead.committed, ledger_letters_limit(&s->ledger, false));
}

const commit_policy_t commit_at_most_once = {
    .take_ahead = TAKE_AHEAD,
    .never_twice = true,
    .settles = true,
    .before_write = before_write,
    .limit = limit,
    .drained = drained,
    .letters_limit = letters_limit,
};
