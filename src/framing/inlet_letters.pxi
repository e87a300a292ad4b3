# The inlet's part of dead letters, by the rules of dead.h, and records that are written alone because one of them ends
# the Calculator.


cdef int64_t inlet_letters_limit(inlet_t *s) noexcept nogil:
    """Letters of records before this may be posted now: where offsets are committed ahead, not before they are."""
    cdef int64_t limit = ledger_letters_limit(&s.ledger, s.transactional)
    return min(s.committed, limit) if s.commit_ahead else limit


cdef void inlet_post_letters(inlet_t *s) noexcept nogil:
    cdef int64_t limit, i
    if s.ledger.unposted == 0:
        return
    limit = inlet_letters_limit(s)
    i = ledger_next_letter(&s.ledger, limit)
    while i >= 0 and inlet_post_letter(s, ledger_at(&s.ledger, i)):
        i = ledger_next_letter(&s.ledger, limit)


cdef bint inlet_post_letter(inlet_t *s, ledger_entry_t *entry) noexcept nogil:
    """Returns False if there is no room for it now, or its transaction is lost."""
    cdef letterbox_t *box = &s.progress.letters
    cdef rd_kafka_message_t *m = <rd_kafka_message_t *>entry.record
    cdef rd_kafka_headers_t *headers = NULL
    cdef letter_t *letter
    cdef char number[24]
    cdef int64_t held = letterbox_bytes(box)
    cdef bint posted
    if box.issued - box.delivered >= LETTERS_MAX or (held > 0 and held + <int64_t>m.len > LETTERS_MAX_BYTES):
        return False
    letter = letter_new(box, m.payload, m.len, m.key, m.key_len, True)
    if letter == NULL:
        return False
    if rdk.message_headers(m, &headers) == RDK_ERR_NONE:
        headers = rdk.headers_copy(headers)
    else:
        headers = rdk.headers_new(8)
    if entry.flags & LEDGER_POISON:
        letter_headers_add(headers, s.progress, b"TASK_PUT", b"supervisor.CalculatorFailure", s.poison_why, s.topic)
    elif entry.flags & LEDGER_LIKE_MARKER and not entry.flags & LEDGER_INNER_NEWLINE:
        letter_headers_add(headers, s.progress, b"VALUE_CONVERTER", b"supervisor.MarkerInValue",
                           b"the value begins with MARKER_PREFIX, and INPUT_NEWLINES is reject", s.topic)
    else:
        letter_headers_add(headers, s.progress, b"VALUE_CONVERTER", b"supervisor.NewlineInValue",
                           b"the value has a newline inside, and INPUT_NEWLINES is reject", s.topic)
    snprintf(number, sizeof(number), "%d", entry.partition)
    rdk.header_add(headers, b"__connect.errors.partition", -1, number, -1)
    snprintf(number, sizeof(number), "%lld", <long long>entry.offset)
    rdk.header_add(headers, b"__connect.errors.offset", -1, number, -1)
    letter.headers = headers
    pthread_mutex_lock(&box.lock)
    # Looked at under the lock: a lost transaction drops what was posted before, and nothing may come in between.
    posted = not s.transactional or cut_state(&s.progress.cut) != CUT_VOID
    if posted:
        ledger_posted(&s.ledger, entry, letterbox_post(box, letter))
    pthread_mutex_unlock(&box.lock)
    if not posted:
        rdk.headers_destroy(headers)
        letter_free(box, letter)
        return False
    s.next_cut_ns = 0       # nothing behind it can be committed before
    progress_wake_outlet(s.progress)
    return True


# ------------------------------------------------------------------ records that end the Calculator


cdef int64_t inlet_read_until(inlet_t *s) noexcept nogil:
    """Of what was written to a run that is gone: it read something of each record before this."""
    cdef int unread = 0
    cdef int64_t i = s.ledger.cursor
    cdef int64_t left
    if s.stdin_fd < 0 or s.ledger.count == LEDGER_COUNT_MARKERS or sys.unread_bytes(s.stdin_fd, &unread) != 0:
        return i + (s.ledger.cursor_bytes > 0)      # marker lines are in between
    left = unread - <int64_t>s.ledger.cursor_bytes
    if left < 0:
        return i + 1
    while i > s.ledger.answered and left >= ledger_at(&s.ledger, i - 1).line_bytes:
        i -= 1
        left -= ledger_at(&s.ledger, i).line_bytes
    return i


cdef bint inlet_alone(inlet_t *s) noexcept nogil:
    """Whether records are written alone now. Ends it when all that are suspected were answered, or where nothing shows
    that a record which nothing follows is done with."""
    if s.alone_until == 0:
        return False
    cdef bint seen = not inlet_sees_no_rest(s)
    if s.ledger.answered < s.alone_until and seen:
        return True
    s.alone_until = 0
    s.more = True
    notice_post(&s.client.notices, NOTICE_CLEARED if seen else NOTICE_NOT_ALONE, 0, b"")
    return False


cdef int64_t inlet_alone_limit(inlet_t *s) noexcept nogil:
    """Before which record writing stops: one is written when everything before it was answered."""
    cdef int64_t first = ledger_first_line(&s.ledger)
    return first + 1 if s.ledger.cursor <= first else s.ledger.cursor + (s.ledger.cursor_bytes > 0)
