# The outlet's part of dead letters: it takes those of records out of the box, makes those of lines, and sends them all.

cdef enum:
    LETTER_RETRY_MS = 1000              # after an error that may pass
    LETTER_REFUSED_RETRY_MS = 10000     # after a refusal: somebody has to raise a limit first
    LETTER_TAG = 1                      # in the opaque of a letter, which is no batch

cdef enum:
    LETTER_NO_ROOM
    LETTER_NONE
    LETTER_MADE


cdef bint outlet_buries(const outlet_t *s) noexcept nogil:
    return s.letters_rkt != NULL and s.flow != DISCARD


cdef int outlet_bury(outlet_t *s, const void *value, size_t n, batch_t *batch, bint copied, uint64_t hash,
                     const char *cause, const char *why) noexcept nogil:
    """A line that cannot become a record gets a dead letter: one more of its batch is outstanding then.

    ``hash`` knows it again in a transaction, else 0. Returns LETTER_NO_ROOM for its copy, LETTER_NONE if there is no
    stream that takes it, LETTER_MADE.
    """
    cdef letter_t *letter
    cdef int64_t held = letterbox_bytes(&s.progress.letters)
    if not outlet_buries(s) or (hash != 0 and refused_has(&s.refused_letters, hash)):
        return LETTER_NONE
    if copied and held > 0 and held + <int64_t>n > LETTERS_MAX_BYTES:
        return LETTER_NO_ROOM
    letter = letter_new(&s.progress.letters, value, n, NULL, 0, copied)
    if letter == NULL:
        return LETTER_NO_ROOM
    letter.batch = batch
    letter.hash = hash
    batch.outstanding += 1
    letter.headers = letter_headers(&s.progress, b"KAFKA_PRODUCE", cause, why, rdk.topic_name(s.letters_rkt)
                                    if s.rkt == NULL else rdk.topic_name(s.rkt))
    letters_add(&s.letters, letter)
    return LETTER_MADE


cdef bint outlet_bury_copy(outlet_t *s, const uint8_t *value, size_t n, uint64_t hash, const char *cause,
                           const char *why) noexcept nogil:
    """A line that is not a record yet: a dead letter, or dropped and said. False: no room, wait."""
    cdef batch_t *batch
    cdef int made = LETTER_NONE
    if outlet_buries(s) and not outlet_is_void(s):
        batch = batch_open(&s.delivery)
        made = LETTER_NO_ROOM if batch == NULL else outlet_bury(
            s, value, n, batch, True, hash, cause, why)
    if made == LETTER_NONE:
        s.lines_unproducible += 1
        notice_post(&s.client.notices, NOTICE_UNPRODUCIBLE, RDK_ERR_MSG_SIZE_TOO_LARGE, why)
    return made != LETTER_NO_ROOM


cdef bint outlet_oversize(outlet_t *s, const uint8_t *line) noexcept nogil:
    """A line over the limit: its beginning becomes a dead letter, or all of it is dropped. False: no room, wait."""
    if outlet_buries(s) and not outlet_is_void(s) and not outlet_bury_copy(
            s, line, s.max_line_bytes, outlet_hash(s, line, s.max_line_bytes), b"supervisor.LineTooLong",
            b"the line is longer than MAX_LINE_BYTES; this is its beginning"):
        s.letters_full = True
        return False
    s.lines_oversize += 1
    notice_post(&s.client.notices, NOTICE_OVERSIZE_LINE, <int>s.max_line_bytes, b"")
    return True


cdef void outlet_free_letter(outlet_t *s, letter_t *letter) noexcept nogil:
    rdk.headers_destroy(<rd_kafka_headers_t *>letter.headers)
    letter_free(&s.progress.letters, letter)


cdef void outlet_letter_failed(outlet_t *s, letter_t *letter, int error) noexcept nogil:
    """It was not taken. A line's is then dropped, as where there is no stream for it; a record's is offered again.

    A broker refuses a whole request for one of its records, or for their sum: who was refused alone is meant.
    """
    cdef bint refused = is_refusal(error)
    cdef int64_t again_ns = monotonic_ns() + MS * (LETTER_REFUSED_RETRY_MS if refused else LETTER_RETRY_MS)
    if refused and not letter.alone:
        s.letters_alone = True
        return
    if refused and letter.batch != NULL:
        refused_add(&s.refused_letters, letter.hash)    # should it come again: with its transaction
        s.lines_unproducible += 1
        notice_post(&s.client.notices, NOTICE_UNPRODUCIBLE, error, rdk.err2str(error))
        letter.state = LETTER_DELIVERED
        return
    if error != s.letter_error:
        s.letter_error = error
        notice_post(&s.client.notices, NOTICE_LETTER_REFUSED, error, rdk.err2str(error))
    if s.transactional:
        s.letters_retry_at_ns = again_ns
    else:
        letter.again_ns = again_ns


cdef void outlet_letter_reported(outlet_t *s, letter_t *letter, const rd_kafka_message_t *m) noexcept nogil:
    """Its delivery report."""
    s.letters_flying -= 1
    letter.state = LETTER_WAITS
    if letter.given_up:
        if letter.batch != NULL:
            letter.batch.outstanding -= 1
        outlet_free_letter(s, letter)
    elif m.err == RDK_ERR_NONE:
        letter.state = LETTER_DELIVERED
        s.letters_delivered += 1
        s.letter_error = 0
    elif s.at_most_once and not is_refusal(m.err) and rdk.message_status(m) != RDK_MSG_STATUS_NOT_PERSISTED:
        letter.state = LETTER_DELIVERED
        s.lines_lost += 1       # or not: the broker may have it, so it must not be sent again
    elif m.err != RDK_ERR__PURGE_QUEUE and m.err != RDK_ERR__PURGE_INFLIGHT:   # then it is sent again at once
        outlet_letter_failed(s, letter, m.err)
    if m.err != RDK_ERR_NONE and s.transactional:
        s.lost_code = m.err     # and what it was in is lost: it comes again with its record


cdef void outlet_take_posted(outlet_t *s) noexcept nogil:
    cdef letterbox_t *box = &s.progress.letters
    cdef letter_t *letter
    pthread_mutex_lock(&box.lock)
    letter = letters_take(&box.posted)
    while letter != NULL:
        letters_add(&s.letters, letter)
        letter = letters_take(&box.posted)
    pthread_mutex_unlock(&box.lock)


cdef void outlet_send_letters(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Hand the letters that wait to librdkafka, and let go of those that are delivered."""
    cdef letter_t *letter
    outlet_take_posted(s)
    if s.letters_rkt == NULL and s.letters.first != NULL:
        outlet_drop_lines_letters(s)    # one that was in flight when the stream went may have come back
    outlet_file_letters(s)
    letter = outlet_next_letter(s, s.letters.first, now_ns)
    if letter == NULL or s.letters_rkt == NULL or now_ns < s.letters_retry_at_ns or not outlet_may_send_letters(s):
        return
    while letter != NULL and not (s.letters_alone and s.letters_flying > 0) and outlet_send_letter(s, letter):
        letter = outlet_next_letter(s, letter.next, now_ns)


cdef letter_t *outlet_next_letter(const outlet_t *s, letter_t *letter, int64_t now_ns) noexcept nogil:
    """The first from this one on that can be offered now, or NULL."""
    while letter != NULL and (letter.state != LETTER_WAITS or now_ns < letter.again_ns):
        letter = letter.next
    return letter


cdef void outlet_retry_letters(outlet_t *s) noexcept nogil:
    """All that wait can be offered at once: their stream is another one."""
    cdef letter_t *letter = s.letters.first
    while letter != NULL:
        letter.again_ns = 0
        letter = letter.next


cdef bint outlet_send_letter(outlet_t *s, letter_t *letter) noexcept nogil:
    """Returns whether the next one may be tried."""
    cdef rd_kafka_headers_t *headers = rdk.headers_copy(<rd_kafka_headers_t *>letter.headers)
    cdef int error = rdk.producev(
        s.rk, RDK_V_RKT, s.letters_rkt, RDK_V_PARTITION, RDK_PARTITION_UA,
        RDK_V_VALUE, <void *>letter.value, letter.value_bytes, RDK_V_KEY, <void *>letter.key, letter.key_bytes,
        RDK_V_OPAQUE, <void *>(<uintptr_t>letter | LETTER_TAG), RDK_V_HEADERS, headers, RDK_V_END)
    letter.alone = s.letters_alone or error != RDK_ERR_NONE
    if error == RDK_ERR_NONE:
        letter.state = LETTER_FLIES
        live_add(LIVE_headers, -1)      # librdkafka's now
        s.letters_flying += 1
        return True
    rdk.headers_destroy(headers)
    if error == RDK_ERR__QUEUE_FULL:
        return False
    outlet_letter_failed(s, letter, error)
    return True


cdef void outlet_file_letters(outlet_t *s) noexcept nogil:
    """Let go of those that are delivered: what waits for them may be acknowledged. Records' letters in their order."""
    cdef letters_t rest
    cdef letter_t *letter
    cdef bint gap = False       # a record's letter before this one is not delivered
    if s.letters.first == NULL:
        return
    memset(&rest, 0, sizeof(rest))
    letter = letters_take(&s.letters)
    while letter != NULL:
        if letter.state != LETTER_DELIVERED or (gap and letter.batch == NULL):
            gap = gap or letter.batch == NULL
            letters_add(&rest, letter)
        else:
            if letter.batch != NULL:
                letter.batch.outstanding -= 1
            else:
                s.progress.letters.delivered = letter.number
                progress_wake_inlet(&s.progress)
            outlet_free_letter(s, letter)
        letter = letters_take(&s.letters)
    s.letters = rest
    if rest.first == NULL:
        s.letters_alone = False


cdef void outlet_drop_lines_letters(outlet_t *s) noexcept nogil:
    """There is no stream for them any more: the lines are dropped, as if there had never been one."""
    cdef letter_t *letter = s.letters.first
    while letter != NULL:
        if letter.batch != NULL and letter.state == LETTER_WAITS:
            letter.state = LETTER_DELIVERED
            s.lines_unproducible += 1
            notice_post(&s.client.notices, NOTICE_UNPRODUCIBLE, 0, b"the dead letter stream that it waited for is gone")
        letter = letter.next
    outlet_file_letters(s)


cdef int64_t outlet_letters_waiting(outlet_t *s) noexcept nogil:
    cdef letter_t *letter = s.letters.first
    cdef int64_t waiting = s.progress.letters.posted.first != NULL
    while letter != NULL:
        waiting += 1
        letter = letter.next
    return waiting


cdef void outlet_drop_letters(outlet_t *s) noexcept nogil:
    """Nobody waits for them any more: their transaction is lost, or the outlet ends."""
    cdef letter_t *letter
    if s.transactional:     # so their numbers are done with
        s.progress.letters.delivered = s.progress.letters.issued
    outlet_take_posted(s)
    letter = letters_take(&s.letters)
    while letter != NULL:
        s.lines_abandoned += letter.batch != NULL
        if letter.state == LETTER_FLIES:
            letter.given_up = True      # until its report librdkafka reads what the batch keeps
        else:
            if letter.batch != NULL:
                letter.batch.outstanding -= 1
            outlet_free_letter(s, letter)
        letter = letters_take(&s.letters)


cdef bint outlet_has_letters(outlet_t *s) noexcept nogil:
    return s.letters.first != NULL or s.progress.letters.posted.first != NULL
