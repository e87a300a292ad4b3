# Exactly-once, the outlet's part: lines and offsets are committed together, or not at all. See cut.h.
#
# librdkafka's transaction calls wait for the broker, or for its main thread, which may wait for one that looks a name
# up. So they are made between two rounds, without the lock; a round decides which (`call`), and what it answered is
# dealt with holding the lock again.

cdef enum:
    CALL_NONE = 0
    CALL_INIT = 1
    CALL_COMMIT = 2
    CALL_ABORT = 3
    CALL_RENEW = 4                  # a fatal error: only a new client goes on
    CALL_BEGIN = 5
    CALL_EXPLAIN = 6                # why the transaction is lost
    CALL_TIMEOUT_MS = 1000          # such a call goes on where it stopped when it is made again
    OFFSETS_TIMEOUT_MS = 5000       # but this one does not: a coordinator that moves needs its time, or costs a run
    CALL_RETRY_MS = 100
    RENEW_MAX_MS = 10000            # between two new clients; doubles from CALL_RETRY_MS until something is committed


cdef bint outlet_may_end(const outlet_t *s, int state) noexcept nogil:
    """Asked for a cut: may the last line that was framed be the last of the transaction?"""
    return state == CUT_ANYWHERE or s.progress.marker.size == 0 or s.unmarked == 0


cdef bint outlet_holds(outlet_t *s) noexcept nogil:
    """Do lines stay in the pipe? Not those up to the next marker, if others before it are in the open transaction.

    It could not end before, would time out in a pause that is longer, and cost a run of the Calculator.
    """
    return s.flow == HOLD and not (s.transactional and s.open and s.unmarked > 0 and s.progress.marker.size > 0
                                   and s.rkt != NULL and not s.fatal and not s.aborting)


cdef bint outlet_may_frame(outlet_t *s) noexcept nogil:
    cdef int state
    if not s.transactional:
        return True
    if outlet_holds(s):
        return False
    state = cut_state(&s.progress.cut)
    if state == CUT_VOID:
        return True         # and what is framed is dropped
    if not s.ready or s.fatal or s.aborting or state == CUT_DELIVERED or state == CUT_OFFSETS \
            or state == CUT_COMMITTED or state == CUT_ABORT:
        return False
    return (state != CUT_ASKED and state != CUT_ANYWHERE) or not outlet_may_end(s, state)


cdef bint outlet_is_void(const outlet_t *s) noexcept nogil:
    return s.transactional and cut_state(&s.progress.cut) == CUT_VOID


cdef bint outlet_may_send_letters(outlet_t *s) noexcept nogil:
    """A letter that comes between a cut and its commit belongs to the next transaction."""
    cdef int state
    if not s.transactional:
        return not s.fatal
    state = cut_state(&s.progress.cut)
    return s.ready and not s.fatal and not s.aborting \
        and (state == CUT_NONE or state == CUT_ASKED or state == CUT_ANYWHERE) and outlet_begin(s)


cdef void outlet_fail(outlet_t *s, int code, const char *why) noexcept nogil:
    """The transaction is lost: drop what is not produced, and have what was produced aborted."""
    cdef int i
    cdef int state = cut_state(&s.progress.cut)
    for i in range(s.pending_count):
        (<batch_t *>s.pending[i]._private).outstanding -= 1
    s.lines_abandoned += s.pending_count
    s.pending_count = 0
    s.group_count = s.groups_taken = 0
    s.aborting = True
    while state != CUT_VOID and not cut_move(&s.progress.cut, state, CUT_VOID):
        state = cut_state(&s.progress.cut)
    outlet_drop_letters(s)      # behind the change of state: the inlet posts none any more
    outlet_drop_offsets(s)
    if state != CUT_VOID:
        notice_post(&s.client.notices, NOTICE_ABORTED, code, why)


cdef void outlet_drop_offsets(outlet_t *s) noexcept nogil:
    cut_drop_offsets(&s.progress.cut)
    s.offsets_sent = False


cdef bint outlet_begin(outlet_t *s) noexcept nogil:
    """Whether a transaction is open; if not, the next call opens one."""
    s.begin_owed = not s.open
    return s.open


cdef void outlet_call_failed(outlet_t *s, void *error) noexcept nogil:
    """Deal with librdkafka's error, as its class prescribes, and destroy it."""
    cdef char why[200]
    cdef int code = rdk.error_code(error)
    snprintf(why, sizeof(why), "%s", rdk.error_string(error))
    if rdk.error_is_retriable(error) and not rdk.error_is_fatal(error) and not rdk.error_txn_requires_abort(error):
        outlet_error(s, code)
        s.call_again_ns = monotonic_ns() + CALL_RETRY_MS * <int64_t>1000000
    else:
        if not rdk.error_txn_requires_abort(error) or rdk.error_is_fatal(error):
            s.fatal = True
            s.renew_ms = min(max(CALL_RETRY_MS, 2 * s.renew_ms), RENEW_MAX_MS)
            s.call_again_ns = monotonic_ns() + s.renew_ms * <int64_t>1000000
        if s.ready:
            outlet_fail(s, code, why)
        else:                   # not even begun: nothing is lost, and the Calculator need not be restarted
            outlet_error(s, code)
    rdk.error_destroy(error)


cdef bint outlet_says_why(const outlet_t *s) noexcept nogil:
    """Does what came back of the lost transaction say why? What librdkafka purged does not."""
    return s.lost_code != RDK_ERR__PURGE_QUEUE and s.lost_code != RDK_ERR__PURGE_INFLIGHT


cdef void outlet_lose(outlet_t *s, void *error) noexcept nogil:
    """Lines of the open transaction came back: it is lost.

    ``error``: of a call that the failed transaction does not allow, or NULL; it is destroyed.
    """
    cdef char why[200]
    cdef int code = s.lost_code
    snprintf(why, sizeof(why), "%s", rdk.err2str(code))
    if error != NULL:
        if rdk.error_txn_requires_abort(error) or rdk.error_is_fatal(error):
            code = rdk.error_code(error)
            snprintf(why, sizeof(why), "%s", rdk.error_string(error))
        rdk.error_destroy(error)
    s.lost_code = 0
    if s.open and not s.aborting:       # else it was given up during the call
        outlet_fail(s, code, why)


cdef void outlet_transact(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Move the transaction on: what can be done at once is done, what waits for the broker becomes the next call."""
    cdef cut_t *cut = &s.progress.cut
    cdef int state = cut_state(cut)
    s.call = CALL_NONE
    if state == CUT_ABORT:
        outlet_fail(s, 0, cut.why)
        state = CUT_VOID
    elif s.lost_code != 0 and s.open and not s.aborting:
        if not outlet_says_why(s):
            s.call = CALL_EXPLAIN
            return
        outlet_lose(s, NULL)
        state = CUT_VOID
    s.lost_code = 0
    if now_ns < s.call_again_ns:
        return
    if s.fatal:
        if s.in_flight + s.letters_flying == 0 and not client_disposal_under_way(&s.disposal):
            s.call = CALL_RENEW
    elif not s.ready:
        s.call = CALL_INIT
    elif s.aborting:
        if not s.open:
            s.aborting = False
        elif s.in_flight + s.letters_flying == 0:       # so that the call has no delivery reports to serve
            s.call = CALL_ABORT
    elif state == CUT_OFFSETS:
        s.call = CALL_COMMIT if s.open else CALL_BEGIN
    elif (state == CUT_ASKED or state == CUT_ANYWHERE) and outlet_may_end(s, state) and outlet_undelivered(s) == 0 \
            and not outlet_has_letters(s):
        cut.mark = s.mark
        if cut_move(cut, state, CUT_DELIVERED):
            progress_wake_inlet(&s.progress)
    elif s.begin_owed and not s.open:
        s.call = CALL_BEGIN


cdef bint outlet_make_client(outlet_t *s, rd_kafka_t **rk, rd_kafka_queue_t **main_queue, char *why,
                             size_t why_size) noexcept nogil:
    """Returns False, and why, if librdkafka makes none now."""
    cdef client_callbacks_t callbacks
    memset(&callbacks, 0, sizeof(callbacks))
    callbacks.on_delivery = on_delivery
    rk[0] = client_new(RDK_PRODUCER, &s.properties, &s.client, &callbacks, why, why_size)
    if rk[0] == NULL:
        return False
    main_queue[0] = rdk.queue_get_main(rk[0])
    client_wakes(main_queue[0], s.wake_fd)
    return True


cdef void outlet_renew(outlet_t *s) noexcept nogil:
    """Replace the client after a fatal error: nothing of it is under way. The lock is held for the change alone."""
    cdef rd_kafka_t *rk = NULL
    cdef rd_kafka_queue_t *main_queue = NULL
    cdef char why[512]
    cdef bint made = outlet_make_client(s, &rk, &main_queue, why, sizeof(why))
    outlet_lock(s)
    if not made:
        notice_post(&s.client.notices, NOTICE_ERROR, RDK_ERR__FATAL, why)
        s.call_again_ns = monotonic_ns() + CALL_RETRY_MS * <int64_t>1000000
        outlet_unlock(s)
        return
    client_disposal_end(&s.disposal)        # it is over
    s.disposal.client = s.rk
    s.disposal.topic = s.rkt
    s.disposal.letters_topic = s.letters_rkt
    s.disposal.main_queue = s.main_queue
    s.rk = rk
    s.main_queue = main_queue
    if s.rkt != NULL:
        s.rkt = partition_topic_new(rk, rdk.topic_name(s.rkt), s.propagate_key)
    if s.letters_rkt != NULL:
        s.letters_rkt = rdk.topic_new(rk, rdk.topic_name(s.letters_rkt), NULL)
    partitions_forget(&s.partitions)
    s.client.brokers_up = -1
    s.renewals += 1
    if s.transactional:
        s.aborts += s.open
        progress_open_transaction(&s.progress, False)
    else:
        outlet_end_groups(s)
        s.retry_at_ns = monotonic_ns() + RETRY_MS * <int64_t>1000000    # should every client end like this one
    s.fatal = s.ready = s.open = s.aborting = False
    outlet_unlock(s)
    client_disposal_begin(&s.disposal, s.wake_fd)


cdef void outlet_make_call(outlet_t *s) noexcept nogil:
    """Without the lock: nobody who gives an order waits for the broker."""
    cdef cut_t *cut = &s.progress.cut
    cdef int call = s.call
    cdef void *error = NULL
    if call == CALL_RENEW:
        outlet_renew(s)
        return
    outlet_lock(s)
    s.call_since_ns = monotonic_ns()
    outlet_unlock(s)
    if call == CALL_INIT:
        error = rdk.init_transactions(s.rk, CALL_TIMEOUT_MS)
    elif call == CALL_BEGIN or call == CALL_EXPLAIN:
        error = rdk.begin_transaction(s.rk)
    elif call == CALL_ABORT:
        error = rdk.abort_transaction(s.rk, CALL_TIMEOUT_MS)
    elif call == CALL_COMMIT:
        if cut.offsets != NULL and not s.offsets_sent:
            error = rdk.send_offsets_to_transaction(
                s.rk, <rd_kafka_topic_partition_list_t *>cut.offsets, cut.group, OFFSETS_TIMEOUT_MS)
            s.offsets_sent = error == NULL
        if error == NULL:
            error = rdk.commit_transaction(s.rk, CALL_TIMEOUT_MS)
    outlet_lock(s)
    s.call_since_ns = 0
    if call == CALL_EXPLAIN:
        outlet_lose(s, error)
    elif error != NULL:
        outlet_call_failed(s, error)
    elif call == CALL_INIT:
        s.ready = True
        s.last_error = 0
    elif call == CALL_BEGIN:
        s.open = True
        s.refusal_noted = False
        progress_open_transaction(&s.progress, True)
    else:
        s.open = False
        progress_open_transaction(&s.progress, False)
        if call == CALL_ABORT:
            s.aborting = False
            s.aborts += 1
        else:
            s.commits += 1
            s.renew_ms = 0
            s.last_error = 0
            outlet_drop_offsets(s)
            cut_move(cut, CUT_OFFSETS, CUT_COMMITTED)
            progress_wake_inlet(&s.progress)
    outlet_unlock(s)
