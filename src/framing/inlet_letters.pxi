# The inlet's part of dead letters: which records get one, and records that are written alone because one of them ends
# the Calculator.


cdef bint inlet_is_buried(const inlet_t *s, const ledger_entry_t *entry) noexcept nogil:
    """Whether nothing is waited for: its dead letter, if it is to have one, is delivered."""
    return not entry.flags & LEDGER_DEAD or 0 < entry.letter <= s.progress.letters.delivered


cdef int64_t inlet_buried_before(inlet_t *s, int64_t sequence) noexcept nogil:
    """How far a transaction that ends at ``sequence`` may commit: with the dead letters delivered, and no other."""
    cdef int64_t i
    if s.ledger.dead == 0:
        return sequence
    for i in range(s.ledger.head, sequence):
        if not inlet_is_buried(s, ledger_at(&s.ledger, i)):
            return i
    # Those that come next wait for no line: their letters are in the transaction, so their offsets have to be, too. The
    # end of a run may have taken the cursor back before them.
    while sequence < s.ledger.tail and ledger_at(&s.ledger, sequence).flags & LEDGER_DEAD \
            and inlet_is_buried(s, ledger_at(&s.ledger, sequence)):
        sequence += 1
    s.ledger.answered = max(s.ledger.answered, sequence)
    s.ledger.cursor = max(s.ledger.cursor, sequence)
    return sequence


cdef int64_t inlet_dead_limit(const inlet_t *s) noexcept nogil:
    """In a transaction, before which record writing stops for the sake of a dead one.

    What is written behind it could be answered, and committed, before its offset can be. So everything before it is
    committed first, then it is passed over with those dead that follow it, and they are committed with their letters.
    """
    cdef int64_t i = s.ledger.head
    if s.ledger.head < s.ledger.tail and ledger_at(&s.ledger, i).flags & LEDGER_DEAD:
        while i < s.ledger.tail and ledger_at(&s.ledger, i).flags & LEDGER_DEAD:
            i += 1
        return max(i, s.ledger.cursor)
    i = s.ledger.cursor
    while i < s.ledger.tail and not ledger_at(&s.ledger, i).flags & LEDGER_DEAD:
        i += 1
    return i


cdef int64_t inlet_lines_in_flight(const inlet_t *s) noexcept nogil:
    """Records with a line that the Calculator may be at work on."""
    cdef int64_t i
    cdef int64_t lines = s.ledger.cursor - s.ledger.head + (s.ledger.cursor_bytes > 0)
    if s.ledger.dead > 0:
        for i in range(s.ledger.head, s.ledger.cursor):
            lines -= ledger_at(&s.ledger, i).flags & LEDGER_DEAD != 0
    return lines


cdef int64_t inlet_letters_limit(inlet_t *s) noexcept nogil:
    """Letters of records before this may be posted now: of those passed over in the writing.

    In a transaction only those that come first: a letter belongs into the transaction that commits its record's offset.
    Where offsets are committed ahead, those that are committed.
    """
    cdef int64_t limit = s.ledger.head
    if s.commit_ahead:
        return min(s.committed, s.ledger.cursor)
    if not s.transactional:
        return s.ledger.cursor
    while limit < s.ledger.cursor and ledger_at(&s.ledger, limit).flags & LEDGER_DEAD:
        limit += 1
    return limit


cdef void inlet_post_letters(inlet_t *s) noexcept nogil:
    cdef ledger_entry_t *entry
    cdef int64_t limit
    if s.ledger.unposted == 0:
        return
    limit = inlet_letters_limit(s)
    s.letters_from = max(s.letters_from, s.ledger.head)
    while s.letters_from < limit:
        entry = ledger_at(&s.ledger, s.letters_from)
        if entry.flags & LEDGER_DEAD and entry.letter == 0:
            if entry.flags & LEDGER_VOID:
                ledger_unbury(&s.ledger, entry)
            elif not inlet_post_letter(s, entry):
                return
        s.letters_from += 1


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


cdef void inlet_recall_letters(inlet_t *s) noexcept nogil:
    """The transaction they were in is lost: they are posted again."""
    cdef ledger_entry_t *entry
    cdef int64_t i
    for i in range(s.ledger.head, s.ledger.tail if s.ledger.dead > 0 else s.ledger.head):
        entry = ledger_at(&s.ledger, i)
        if entry.flags & LEDGER_DEAD:
            ledger_posted(&s.ledger, entry, 0)
    s.letters_from = s.ledger.head


# ------------------------------------------------------------------ records that end the Calculator


cdef int64_t inlet_read_until(inlet_t *s) noexcept nogil:
    """Of what was written to a run that is gone: it read something of each record before this."""
    cdef int unread = 0
    cdef int64_t i = s.ledger.cursor
    cdef int64_t left
    if s.stdin_fd < 0 or s.ledger.count == LEDGER_COUNT_MARKERS or ioctl(s.stdin_fd, FIONREAD, &unread) != 0:
        return i + (s.ledger.cursor_bytes > 0)      # marker lines are in between
    left = unread - <int64_t>s.ledger.cursor_bytes
    if left < 0:
        return i + 1
    while i > s.ledger.answered and left >= ledger_at(&s.ledger, i - 1).line_bytes:
        i -= 1
        left -= ledger_at(&s.ledger, i).line_bytes
    return i


cdef int64_t inlet_first_line(const inlet_t *s) noexcept nogil:
    """The first unanswered record that has a line."""
    cdef int64_t i = s.ledger.answered
    while i < s.ledger.tail and ledger_at(&s.ledger, i).line_bytes == 0:
        i += 1
    return i


cdef bint inlet_alone(inlet_t *s) noexcept nogil:
    """Whether records are written alone now. Ends it when all that are suspected were answered."""
    if s.alone_until == 0:
        return False
    if s.ledger.answered < s.alone_until:
        return True
    s.alone_until = 0
    s.more = True
    notice_post(&s.client.notices, NOTICE_CLEARED, 0, b"")
    return False


cdef int64_t inlet_alone_limit(inlet_t *s) noexcept nogil:
    """Before which record writing stops: one is written when everything before it was answered."""
    cdef int64_t first = inlet_first_line(s)
    return first + 1 if s.ledger.cursor <= first else s.ledger.cursor + (s.ledger.cursor_bytes > 0)
