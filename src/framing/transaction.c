#include "transaction.h"

#include <stdio.h>

#include "outlet.h"

#define OFFSETS_WAIT_MS 5000

/* Asked for a cut: may the last line that was framed be the last of the transaction? */
static bool may_end(const outlet_t *s, int state) {
    return state == CUT_ANYWHERE || s->progress.marker.size == 0 || s->framer.unmarked == 0;
}

bool transaction_holds(const outlet_t *s) {
    const transaction_t *t = &s->transaction;
    return s->orders.flow == FLOW_HOLD &&
           !(s->config.transactional && t->open && s->framer.unmarked > 0 && s->progress.marker.size > 0 &&
             s->producer.topic != NULL && !s->producer.fatal && !t->aborting);
}

/* Where a quota may be met, and requests are kept small for it, a transaction takes one after the other: what was gathered
 * behind one that is answered with seconds of silence would take as long again, and the transaction with it. */
static bool must_wait_for_answer(const outlet_t *s) {
    const producer_t *p = &s->producer;
    return throttle_window(&p->throttle) < (int64_t)s->config.burst.max_bytes && may_end(s, CUT_ASKED) &&
           (p->in_flight > 0 || p->throttle.until_ns != 0);
}

bool transaction_may_frame(const outlet_t *s) {
    const transaction_t *t = &s->transaction;
    if (!s->config.transactional)
        return true;
    if (transaction_holds(s))
        return false;
    const int state = cut_state(&s->progress.cut);
    if (state != CUT_VOID && must_wait_for_answer(s))
        return false;
    switch (state) {
    case CUT_VOID:
        return true; /* and what is framed is dropped */
    case CUT_DELIVERED:
    case CUT_OFFSETS:
    case CUT_COMMITTED:
    case CUT_ABORT:
        return false;
    case CUT_ASKED:
    case CUT_ANYWHERE:
        return t->ready && !s->producer.fatal && !t->aborting && !may_end(s, state);
    default:
        return t->ready && !s->producer.fatal && !t->aborting;
    }
}

bool transaction_may_send_letters(outlet_t *s) {
    const transaction_t *t = &s->transaction;
    if (!s->config.transactional)
        return !s->producer.fatal;
    const int state = cut_state(&s->progress.cut);
    return t->ready && !s->producer.fatal && !t->aborting &&
           (state == CUT_NONE || state == CUT_ASKED || state == CUT_ANYWHERE) && transaction_begin(s);
}

bool transaction_begin(outlet_t *s) {
    s->transaction.begin_owed = !s->transaction.open;
    return s->transaction.open;
}

/* Into CUT_VOID, which the inlet may be moving on meanwhile. Returns the state that it was in. */
static int make_void(outlet_t *s) {
    cut_t *cut = &s->progress.cut;
    int state = cut_state(cut);
    while (state != CUT_VOID && !cut_move(cut, state, CUT_VOID))
        state = cut_state(cut);
    return state;
}

void transaction_fail(outlet_t *s, int code, const char *why) {
    producer_drop_pending(s);
    splitter_forget_group(&s->splitter);
    s->transaction.aborting = true;
    const int state = make_void(s);
    sender_drop(s); /* behind the change of state: the inlet posts none any more */
    transaction_drop_offsets(s);
    if (state != CUT_VOID)
        outlet_notice(s, NOTICE_ABORTED, code, why);
}

void transaction_give_up(outlet_t *s) {
    cut_t *cut = &s->progress.cut;
    int state = cut_state(cut);
    if (state == CUT_OFFSETS || state == CUT_COMMITTED || state == CUT_VOID)
        return;
    /* The outlet's thread waits for the lock; the inlet's may move it on meanwhile, and nothing comes of that. */
    make_void(s);
    transaction_fail(s, 0, "");
}

void transaction_drop_offsets(outlet_t *s) {
    cut_drop_offsets(&s->progress.cut);
    s->transaction.offsets_sent = false;
}

void transaction_call_failed(outlet_t *s, void *error) {
    const int code = rdk.error_code(error);
    char why[200];
    snprintf(why, sizeof why, "%s", rdk.error_string(error));
    if (rdk.error_is_retriable(error) && !rdk.error_is_fatal(error) && !rdk.error_txn_requires_abort(error)) {
        producer_error(s, code);
        s->call.again_ns = monotonic_ns() + CALL_RETRY_MS * MS;
    } else {
        if (!rdk.error_txn_requires_abort(error) || rdk.error_is_fatal(error)) {
            int renew_ms = 2 * s->call.renew_ms;
            s->producer.fatal = true;
            renew_ms = renew_ms < CALL_RETRY_MS ? CALL_RETRY_MS : renew_ms;
            s->call.renew_ms = renew_ms < CALL_RENEW_MAX_MS ? renew_ms : CALL_RENEW_MAX_MS;
            s->call.again_ns = monotonic_ns() + s->call.renew_ms * MS;
        }
        if (s->transaction.ready)
            transaction_fail(s, code, why);
        else /* not even begun: nothing is lost, and the Calculator need not be restarted */
            producer_error(s, code);
    }
    rdk.error_destroy(error);
}

/* Does what came back of the lost transaction say why? What librdkafka purged does not. */
static bool says_why(const transaction_t *t) {
    return t->lost_code != RDK_ERR__PURGE_QUEUE && t->lost_code != RDK_ERR__PURGE_INFLIGHT;
}

void transaction_lose(outlet_t *s, void *error) {
    transaction_t *t = &s->transaction;
    int code = t->lost_code;
    char why[200];
    snprintf(why, sizeof why, "%s", rdk.err2str(code));
    if (error != NULL) {
        if (rdk.error_txn_requires_abort(error) || rdk.error_is_fatal(error)) {
            code = rdk.error_code(error);
            snprintf(why, sizeof why, "%s", rdk.error_string(error));
        }
        rdk.error_destroy(error);
    }
    t->lost_code = 0;
    if (t->open && !t->aborting) /* else it was given up during the call */
        transaction_fail(s, code, why);
}

/* A broker asks for time, and it may be the one that takes the offsets: it reads nothing before. One that asks for longer
 * than the transaction has is asked at once; it may be another one, after all. */
static bool offsets_wait(const outlet_t *s, int64_t now_ns) {
    const int64_t left_ns = s->producer.throttle.until_ns - now_ns;
    return !s->transaction.offsets_sent && left_ns > 0 && left_ns <= OFFSETS_WAIT_MS * MS;
}

/* What the next call is, if one is due. */
static void choose_call(outlet_t *s, int state, int64_t now_ns) {
    transaction_t *t = &s->transaction;
    cut_t *cut = &s->progress.cut;
    const bool nothing_flies = s->producer.in_flight + s->sender.flying == 0;
    if (s->producer.fatal) {
        if (nothing_flies && !client_disposal_under_way(&s->producer.disposal))
            s->call.next = CALL_RENEW;
    } else if (!t->ready) {
        s->call.next = CALL_INIT;
    } else if (t->aborting) {
        if (!t->open)
            t->aborting = false;
        else if (nothing_flies) /* so that the call has no delivery reports to serve */
            s->call.next = CALL_ABORT;
    } else if (state == CUT_OFFSETS) {
        if (!t->open)
            s->call.next = CALL_BEGIN;
        else if (!offsets_wait(s, now_ns))
            s->call.next = CALL_COMMIT;
    } else if ((state == CUT_ASKED || state == CUT_ANYWHERE) && may_end(s, state) && outlet_undelivered(s) == 0 &&
               !sender_has_letters(s)) {
        cut->mark = s->framer.mark;
        if (cut_move(cut, state, CUT_DELIVERED))
            progress_wake_inlet(&s->progress);
    } else if (t->begin_owed && !t->open) {
        s->call.next = CALL_BEGIN;
    }
}

void transaction_move(outlet_t *s, int64_t now_ns) {
    transaction_t *t = &s->transaction;
    cut_t *cut = &s->progress.cut;
    int state = cut_state(cut);
    s->call.next = CALL_NONE;
    if (state == CUT_ABORT) {
        transaction_fail(s, 0, cut->why);
        state = CUT_VOID;
    } else if (t->lost_code != 0 && t->open && !t->aborting) {
        if (!says_why(t)) {
            s->call.next = CALL_EXPLAIN;
            return;
        }
        transaction_lose(s, NULL);
        state = CUT_VOID;
    }
    t->lost_code = 0;
    if (now_ns >= s->call.again_ns)
        choose_call(s, state, now_ns);
}
