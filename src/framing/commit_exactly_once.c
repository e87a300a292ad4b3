/* `exactly-once`, the inlet's part: when to commit, which offsets, and when the records may go. See cut.h. */
#include <stdlib.h>

#include "inlet.h"
#include "minmax.h"

#define COMMIT_INTERVAL_NS (100 * MS)
#define COMMIT_SOON_NS (5 * MS) /* somebody waits for the end of what is under way */

static bool has_uncommitted(inlet_t *s) {
    return s->ledger.head < s->ledger.cursor || progress_transaction_open(s->progress);
}

static bool may_cut_anywhere(const inlet_t *s) {
    return s->ledger.head == s->ledger.cursor && s->ledger.cursor_bytes == 0;
}

/* Returns whether the cut was still in this state, and the transaction is lost now. */
static bool abort_transaction(inlet_t *s, int state, const char *why) {
    s->progress->cut.why = why;
    if (!cut_move(&s->progress->cut, state, CUT_ABORT))
        return false;
    progress_wake_outlet(s->progress);
    return true;
}

/* Offsets of the records before `sequence`. Returns NULL when memory is short. */
static rd_kafka_topic_partition_list_t *offsets_below(const inlet_t *s, int64_t sequence) {
    const int32_t count = s->ledger.partition_count;
    int64_t *below = malloc(((size_t)count + 1) * sizeof *below);
    if (below == NULL)
        return NULL;
    ledger_offsets_below(&s->ledger, sequence, below);
    rd_kafka_topic_partition_list_t *offsets = rdk.topic_partition_list_new(count + 1);
    for (int32_t i = 0; i < count; i++)
        if (below[i] >= 0)
            rdk.topic_partition_list_add(offsets, s->config.topic, i)->offset = below[i];
    free(below);
    return offsets;
}

/* ``group``: this group's metadata, NULL when it is handed over too. */
static void hand_offsets_of(inlet_t *s, void **group) {
    cut_t *cut = &s->progress->cut;
    if (s->config.ack->check != NULL) {
        s->config.ack->check(s, cut->mark);
        if (s->run.rule_broken) {
            abort_transaction(s, CUT_DELIVERED, "the rule of ACK_MODE=line was broken");
            return;
        }
    }
    const int64_t sequence =
        ledger_buried_before(&s->ledger, ledger_settle_marks(&s->ledger, cut->mark), s->progress->letters.delivered);
    if (sequence == s->ledger.head && !progress_transaction_open(s->progress)) {
        cut_move(cut, CUT_DELIVERED, CUT_NONE);
        progress_wake_outlet(
            s->progress); /* it takes no line before: else it could be asked again each time it looks */
        return;
    }
    rd_kafka_topic_partition_list_t *offsets = offsets_below(s, sequence);
    if (offsets == NULL)
        return; /* the next round tries again */
    s->ledger.committing = sequence;
    if (offsets->cnt > 0) {
        cut->offsets = offsets;
        cut->group = *group;
        *group = NULL;
    } else {
        rdk.topic_partition_list_destroy(offsets);
    }
    if (!cut_move(cut, CUT_DELIVERED, CUT_OFFSETS))
        cut_drop_offsets(cut); /* it was given up meanwhile */
    progress_wake_outlet(s->progress);
}

/* Everything up to the cut is delivered: say which offsets are committed with it. */
static void hand_offsets(inlet_t *s) {
    /* librdkafka's main thread answers, so without the lock, and first: orders may come meanwhile. */
    inlet_unlock(s);
    void *group = rdk.consumer_group_metadata(s->consumer.rk);
    inlet_lock(s);
    if (cut_state(&s->progress->cut) == CUT_DELIVERED)
        hand_offsets_of(s, &group);
    if (group != NULL)
        rdk.consumer_group_metadata_destroy(group);
}

static bool is_waited_for(const inlet_t *s) {
    return s->orders.draining || s->run.closing || s->consumer.revoking != NULL || s->alone.until > 0 ||
           s->attempts.careful_until > 0 || s->ledger.dead > 0;
}

static bool may_abort(int state) {
    return state == CUT_NONE || state == CUT_ASKED || state == CUT_ANYWHERE || state == CUT_DELIVERED;
}

/* Move the commit on. */
static int64_t after_write(inlet_t *s, int64_t now_ns) {
    inlet_transaction_t *t = &s->transaction;
    cut_t *cut = &s->progress->cut;
    const int state = cut_state(cut);
    if (t->abort_owed && may_abort(state)) {
        if (!abort_transaction(s, state, "partitions were given up before their records were done"))
            return COMMIT_SOON_NS;
        t->abort_owed = false;
        return 0;
    }
    if (state == CUT_VOID) {
        t->abort_owed = false;
        return 0;
    }
    if (transaction_take_commit(s))
        return COMMIT_SOON_NS;
    if (state == CUT_DELIVERED) {
        hand_offsets(s);
        return 0;
    }
    if (state != CUT_NONE || !has_uncommitted(s))
        return 0;
    if (now_ns < t->next_cut_ns)
        return t->next_cut_ns - now_ns;
    t->next_cut_ns = now_ns + (is_waited_for(s) ? COMMIT_SOON_NS : COMMIT_INTERVAL_NS);
    if (cut_move(cut, CUT_NONE, may_cut_anywhere(s) ? CUT_ANYWHERE : CUT_ASKED))
        progress_wake_outlet(s->progress);
    return 0;
}

bool transaction_rewind_void(inlet_t *s) {
    if (!s->config.commit->transactional || cut_state(&s->progress->cut) != CUT_VOID)
        return false;
    s->ledger.committing = 0;
    s->transaction.abort_owed = false;
    ledger_recall_letters(&s->ledger);
    return cut_move(&s->progress->cut, CUT_VOID, CUT_NONE);
}

bool transaction_take_commit(inlet_t *s) {
    if (cut_state(&s->progress->cut) != CUT_COMMITTED)
        return false;
    consumer_release(s, s->ledger.committing);
    cut_move(&s->progress->cut, CUT_COMMITTED, CUT_NONE);
    progress_wake_outlet(s->progress);
    return true;
}

static int64_t reach(inlet_t *s) { return ledger_dead_limit(&s->ledger); }

/* No record is under way where a transaction ends anywhere, and none is written until it has. */
static int64_t limit(inlet_t *s, int64_t limit_of_others, int64_t unfinished) {
    if (cut_state(&s->progress->cut) == CUT_ANYWHERE)
        return unfinished;
    return s->progress->marker.size > 0 ? marker_spacing(s, limit_of_others) : limit_of_others;
}

static void partition_lost(inlet_t *s) { s->transaction.abort_owed = true; }

static int64_t letters_limit(inlet_t *s) { return ledger_letters_limit(&s->ledger, true); }

const commit_policy_t commit_exactly_once = {
    .take_ahead = TAKE_BATCH,
    .transactional = true,
    .reach = reach,
    .limit = limit,
    .after_write = after_write,
    .partition_lost = partition_lost,
    .letters_limit = letters_limit,
};
