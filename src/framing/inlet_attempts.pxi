# Attempts that survive the Supervisor, see attempts.h: noted before a partition's first record is written, and read
# with the committed offsets. Nothing of it costs a record anything once each partition's first one is written.
#
# A record that an earlier instance ended with, or one behind it, may be what ends it. So an instance that finds such a
# note is careful: it writes one record at a time, each when all before it is acknowledged and its own attempt is noted.
# Only a record that is about to be written alone gets a second attempt, so nothing is accused for what others did; and
# one that was alone POISON_MAX_ATTEMPTS times when the Supervisor ended becomes a dead letter when it is taken again.
#
# While it is careful, offsets go with the notes alone: librdkafka's automatic commit knows nothing of them, and would
# wipe out the note of a record that is being tried.

cdef extern from "<string.h>" nogil:
    char *strdup(const char *)

cdef enum:
    CAREFUL_RECORDS = 512           # so many are written alone; the one that is looked for is hardly further away
    CAREFUL_S = 10                  # nor longer than this, twice as long after each further end without progress:
    CAREFUL_MOST_S = 60             # some programs need a second for each record that is alone
    NOTE_WAIT_MS = 1000             # a note that cannot be committed stops the flow no longer
    NOTE_AGAIN_MS = 100


cdef attempt_t *inlet_attempt(inlet_t *s, int32_t partition) noexcept nogil:
    """The partition's, made if need be; NULL when memory is short: then nothing is noted."""
    cdef attempt_t *grown
    cdef int32_t i
    if partition >= s.attempts_count:
        grown = <attempt_t *>realloc(s.attempts, (partition + 1) * sizeof(attempt_t))
        if grown == NULL:
            return NULL
        for i in range(s.attempts_count, partition + 1):
            memset(&grown[i], 0, sizeof(attempt_t))
            grown[i].own_first = -1
            grown[i].state = ATTEMPT_NONE
        s.attempts = grown
        s.attempts_count = partition + 1
    return &s.attempts[partition]


cdef void inlet_set_attempt(inlet_t *s, attempt_t *a, int state) noexcept nogil:
    """The one place where a state changes, and what is counted of them."""
    s.fresh += (state == ATTEMPT_FRESH) - (a.state == ATTEMPT_FRESH)
    s.firsts += (state == ATTEMPT_FIRST) - (a.state == ATTEMPT_FIRST)
    s.notes_due += (state == ATTEMPT_DUE) - (a.state == ATTEMPT_DUE)
    a.state = state


cdef void inlet_begin_attempt(inlet_t *s, int32_t partition) noexcept nogil:
    """The partition was assigned to us."""
    cdef attempt_t *a = inlet_attempt(s, partition)
    if a == NULL or s.commit_ahead:     # at-most-once writes nothing twice
        return
    inlet_set_attempt(s, a, ATTEMPT_NONE)
    attempt_begin(a)
    s.fresh += 1


cdef void inlet_know_attempt(inlet_t *s, const rd_kafka_topic_partition_t *committed) noexcept nogil:
    """What stands with the committed offset; what another program wrote there says nothing."""
    cdef attempt_t *a = inlet_attempt(s, committed.partition)
    if a == NULL or a.state != ATTEMPT_FRESH or committed.offset < 0:
        return
    attempt_know(a, committed.offset, committed.metadata, committed.metadata_size)


cdef void inlet_first_record(inlet_t *s, int64_t sequence) noexcept nogil:
    """A record of a fresh partition was taken: if it has a line, it is the first one. What is known of it?"""
    cdef ledger_entry_t *entry = ledger_at(&s.ledger, sequence)
    cdef attempt_t *a = inlet_attempt(s, entry.partition)
    cdef char where[80]
    if a == NULL:
        return
    if a.committed < 0:         # also of one without a line: its dead letter may not be there yet
        a.committed = entry.offset
    if entry.line_bytes == 0:
        return
    if a.first != entry.offset:
        a.before = 0
    a.first = entry.offset
    inlet_set_attempt(s, a, ATTEMPT_FIRST)
    if a.before == 0:
        return
    snprintf(where, sizeof(where), "partition %d, offset %lld", entry.partition, <long long>entry.offset)
    if a.before > s.poison_max_attempts and s.has_dead_letters:
        snprintf(s.poison_why, sizeof(s.poison_why),
                 "the Supervisor ended with the Calculator %d times, and each time but the first it had written this "
                 "record alone", a.before)
        ledger_bury(&s.ledger, entry, LEDGER_POISON)
        inlet_set_attempt(s, a, ATTEMPT_BURIED)
        notice_post(&s.client.notices, NOTICE_SURVIVED_POISON, a.before, where)
        return
    s.careful_end_ns = monotonic_ns() + min(CAREFUL_S << min(a.before - 1, 10), CAREFUL_MOST_S) * 1000 * MS
    # One that is known to be what is looked for is enough.
    s.careful_until = max(s.careful_until, sequence + (1 if a.before > s.poison_max_attempts else CAREFUL_RECORDS))
    notice_post(&s.client.notices, NOTICE_SURVIVED_SUSPECT, a.before, where)


cdef int64_t inlet_noted_limit(inlet_t *s, int64_t limit, int64_t now_ns) noexcept nogil:
    """Before which record writing stops, that was to stop before `limit`."""
    cdef int64_t cursor = s.ledger.cursor
    cdef bint awaited = s.notes_awaited
    if s.ledger.cursor_bytes > 0:
        return cursor + 1
    if s.careful_until > 0 and ((s.ledger.head == cursor and cursor >= s.careful_until)
                                or now_ns >= s.careful_end_ns or inlet_sees_no_rest(s)):
        s.careful_until = 0
        s.more = True
        s.notes_to_clear = not s.transactional      # a transaction did it with the offsets
        notice_post(&s.client.notices, NOTICE_CLEARED, 0, b"")
    if s.careful_until > 0 and s.ledger.head == s.ledger.tail and inlet_has_uncleared(s):
        s.notes_to_clear = True     # nothing follows that would take it along
    if s.notes_to_clear and not inlet_notes_are_there(s, now_ns):
        return cursor
    if limit <= cursor:
        return limit
    if s.careful_until > 0 and not s.notes_awaited:
        limit = inlet_careful_limit(s, limit)
        if limit <= cursor:
            return cursor
    if s.careful_until == 0 and s.firsts > 0 and not s.notes_awaited:
        inlet_note_firsts(s)
    if not inlet_notes_are_there(s, now_ns):
        return cursor
    # One that was given up just now was to be written alone: the next look sees to that.
    return cursor if awaited and s.careful_until > 0 else limit


cdef bint inlet_notes_are_there(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Commit what is due. Returns whether nothing is to be waited for."""
    if not (s.notes_awaited or s.notes_due > 0 or s.notes_to_clear):
        return True
    if s.notes_deadline_ns == 0:
        s.notes_deadline_ns = now_ns + NOTE_WAIT_MS * MS
    if s.notes_sent > 0:
        # A late one could take the offset back: in a transaction that would double lines, so it is waited for.
        if s.transactional or now_ns < s.notes_deadline_ns:
            return False
        inlet_give_notes_up(s, b"no answer")
        return True
    if now_ns < s.notes_again_ns:
        return False
    inlet_commit_notes(s, now_ns)
    return not s.notes_awaited and s.notes_due == 0


cdef int64_t inlet_careful_limit(inlet_t *s, int64_t limit) noexcept nogil:
    cdef int64_t cursor = s.ledger.cursor
    cdef int64_t next = cursor
    if s.ledger.head < cursor:
        return cursor           # what was written is not acknowledged
    while next < limit and ledger_at(&s.ledger, next).line_bytes == 0:
        next += 1
    if next == limit:
        return limit
    inlet_note_alone(s, ledger_at(&s.ledger, next))
    return next + 1


cdef void inlet_note_alone(inlet_t *s, const ledger_entry_t *entry) noexcept nogil:
    """This one is written next, and alone."""
    cdef attempt_t *a = inlet_attempt(s, entry.partition)
    if a == NULL or a.state == ATTEMPT_NONE or not ledger_owns(&s.ledger, entry):
        return
    if a.first == entry.offset and (a.state == ATTEMPT_DUE or a.state == ATTEMPT_SENT or a.state == ATTEMPT_NOTED):
        return
    if a.first != entry.offset:
        a.before = 0
    a.first = entry.offset
    if a.committed < 0:
        a.committed = entry.offset
    a.attempts = min(max(1, a.before) + 1, ATTEMPTS_MAX - 1)
    inlet_set_attempt(s, a, ATTEMPT_DUE)


cdef void inlet_note_firsts(inlet_t *s) noexcept nogil:
    """The first records of these partitions are written next, among others."""
    cdef int32_t i
    for i in range(s.attempts_count):
        if s.attempts[i].state == ATTEMPT_FIRST:
            s.attempts[i].attempts = max(1, s.attempts[i].before)     # written among others it proves nothing more
            inlet_set_attempt(s, &s.attempts[i], ATTEMPT_DUE)


cdef void inlet_add_note(inlet_t *s, rd_kafka_topic_partition_list_t *offsets, int32_t partition, int64_t offset,
                         int64_t first, int32_t attempts) noexcept nogil:
    """An offset to commit; without attempts it has no metadata."""
    cdef rd_kafka_topic_partition_t *p = rdk.topic_partition_list_add(offsets, s.topic, partition)
    cdef char text[ATTEMPTS_BYTES]
    p.offset = offset
    if attempts > 0:
        p.metadata_size = attempts_format(text, first, attempts)
        p.metadata = strdup(text)       # librdkafka frees it
        if p.metadata == NULL:
            p.metadata_size = 0


cdef void inlet_commit_notes(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Send what is due, and with it what has come to its end."""
    cdef rd_kafka_topic_partition_list_t *offsets
    cdef attempt_t *a
    cdef int64_t next_offset
    cdef int error
    cdef int32_t i
    offsets = rdk.topic_partition_list_new(s.attempts_count + 1)
    for i in range(s.attempts_count):
        a = &s.attempts[i]
        next_offset = s.ledger.partitions[i].next_offset
        if a.state == ATTEMPT_DUE:
            if next_offset >= 0:        # what was acknowledged meanwhile is not taken back
                a.committed = next_offset
            inlet_add_note(s, offsets, i, a.committed, a.first, a.attempts)
            attempt_sent(a)
            inlet_set_attempt(s, a, ATTEMPT_SENT)
        elif inlet_is_uncleared(s, i):
            # It was acknowledged. Left to a later commit it would be counted with the one that is written now.
            inlet_add_note(s, offsets, i, next_offset, 0, 0)
            a.clearing = next_offset
    s.notes_to_clear = False
    if offsets.cnt > 0:
        s.notes_awaited = True
        error = rdk.commit_queue(s.rk, offsets, s.notes, NULL, NULL)
        if error != RDK_ERR_NONE:
            inlet_notes_failed(s, now_ns, error)
        else:
            s.notes_sent += 1
    else:
        inlet_notes_are_over(s)
    rdk.topic_partition_list_destroy(offsets)


cdef void inlet_take_notes(inlet_t *s, int64_t now_ns) noexcept nogil:
    """Take the answer to a commit of notes when it is there."""
    cdef void *event
    cdef rd_kafka_topic_partition_list_t *offsets
    cdef int error
    cdef int i
    if s.notes_sent == 0:
        return
    event = rdk.queue_poll(s.notes, 0)
    if event == NULL:
        return
    error = rdk.event_error(event)
    offsets = rdk.event_topic_partition_list(event)
    for i in range(offsets.cnt if offsets != NULL else 0):
        if error == RDK_ERR_NONE:
            error = offsets.elems[i].err
    rdk.event_destroy(event)
    s.notes_sent -= 1
    if not s.notes_awaited or s.notes_sent > 0:
        return
    if error != RDK_ERR_NONE:
        inlet_notes_failed(s, now_ns, error)
        return
    for i in range(s.attempts_count):
        if s.attempts[i].clearing >= 0:
            s.attempts[i].committed = s.attempts[i].clearing
            s.attempts[i].before = 0
    inlet_notes_are_over(s)


cdef bint inlet_has_moved_on(inlet_t *s, int32_t partition) noexcept nogil:
    """Was something acknowledged since the note? After a log that was cut off, the offset may be a smaller one."""
    cdef int64_t next_offset = s.ledger.partitions[partition].next_offset
    return next_offset >= 0 and next_offset != s.attempts[partition].committed


cdef bint inlet_is_undecided(const inlet_t *s, int32_t partition) noexcept nogil:
    """Whether a transaction that has not ended yet holds an offset of it: a commit beside it would win over it."""
    cdef int64_t sequence
    for sequence in range(s.ledger.head, s.ledger.committing):
        if ledger_at(&s.ledger, sequence).partition == partition:
            return True
    return False


cdef bint inlet_is_uncleared(inlet_t *s, int32_t partition) noexcept nogil:
    """Whether the partition has moved on from the record that stands beside its offset."""
    cdef attempt_t *a = &s.attempts[partition]
    return (a.state == ATTEMPT_NOTED or a.state == ATTEMPT_BURIED) and not s.transactional \
        and inlet_has_moved_on(s, partition)


cdef bint inlet_has_gone_back(inlet_t *s) noexcept nogil:
    """Whether less is acknowledged than is committed: librdkafka's automatic commit takes no offset back."""
    cdef int32_t i
    for i in range(s.attempts_count):
        if inlet_is_uncleared(s, i) and s.ledger.partitions[i].next_offset < s.attempts[i].committed:
            return True
    return False


cdef bint inlet_has_uncleared(inlet_t *s) noexcept nogil:
    cdef int32_t i
    for i in range(s.attempts_count):
        if inlet_is_uncleared(s, i):
            return True
    return False


cdef void inlet_notes_are_over(inlet_t *s) noexcept nogil:
    cdef int32_t i
    for i in range(s.attempts_count):
        if s.attempts[i].state == ATTEMPT_SENT or s.attempts[i].state == ATTEMPT_DUE:
            inlet_set_attempt(s, &s.attempts[i], ATTEMPT_NOTED)
        s.attempts[i].clearing = -1
    s.notes_awaited = s.notes_to_clear = False
    s.notes_deadline_ns = s.notes_again_ns = 0


cdef void inlet_notes_failed(inlet_t *s, int64_t now_ns, int error) noexcept nogil:
    """Try again for a moment: a group that comes together takes no commit, and takes it soon."""
    cdef int32_t i
    if now_ns >= s.notes_deadline_ns:
        inlet_give_notes_up(s, rdk.err2str(error))
        return
    for i in range(s.attempts_count):
        if s.attempts[i].state == ATTEMPT_SENT:
            inlet_set_attempt(s, &s.attempts[i], ATTEMPT_DUE)
        if s.attempts[i].clearing >= 0:
            s.attempts[i].clearing = -1
            s.notes_to_clear = True
    s.notes_awaited = False
    s.notes_again_ns = now_ns + NOTE_AGAIN_MS * MS


cdef void inlet_give_notes_up(inlet_t *s, const char *why) noexcept nogil:
    """The flow goes on: should the Supervisor end with the record that is written now, it is not counted."""
    cdef char text[200]
    if not s.notes_failure_told:
        s.notes_failure_told = True
        snprintf(text, sizeof(text), "attempts at the first record of a partition cannot be noted with its offset: %s",
                 why)
        notice_post(&s.client.notices, NOTICE_LOG, 4, text)
    inlet_notes_are_over(s)


cdef int64_t inlet_notes_due_ns(inlet_t *s, int64_t now_ns) noexcept nogil:
    """In how many ns to look again, if no event comes before; 0: for nothing."""
    if not inlet_may_write(s) or s.paused or s.draining or s.closing:
        return 0
    if s.notes_awaited or s.notes_due > 0 or s.notes_to_clear:
        return max(MS, (s.notes_deadline_ns if s.notes_sent > 0 else s.notes_again_ns) - now_ns) \
            if not (s.notes_sent > 0 and s.transactional) else 0
    if s.careful_until > 0 and s.ledger.tail > s.ledger.cursor:
        return NOTE_AGAIN_MS * MS       # also for the end of care by time
    return 0


cdef void inlet_end_attempts(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) noexcept nogil:
    """We give the partitions up in order: an attempt without progress was none.

    What others noted stays, but at an orderly end of ours, which may be the beginning of a better Calculator.
    """
    cdef rd_kafka_topic_partition_list_t *offsets = rdk.topic_partition_list_new(partitions.cnt + 1)
    cdef bint may_commit = not s.replaced and not rdk.assignment_lost(s.rk)
    cdef attempt_t *a
    cdef int32_t partition
    cdef int i
    for i in range(partitions.cnt):
        partition = partitions.elems[i].partition
        a = inlet_attempt(s, partition)
        if a == NULL:
            continue
        if (a.state == ATTEMPT_SENT or a.state == ATTEMPT_NOTED) and may_commit \
                and not inlet_has_moved_on(s, partition) and not inlet_is_undecided(s, partition):
            inlet_add_note(s, offsets, partition, a.committed, a.first, 0 if s.stopping else a.before)
        inlet_set_attempt(s, a, ATTEMPT_NONE)
    if offsets.cnt > 0:
        if rdk.commit_queue(s.rk, offsets, s.notes, NULL, NULL) == RDK_ERR_NONE:
            s.notes_sent += 1
    rdk.topic_partition_list_destroy(offsets)


cdef void inlet_forget_attempts(inlet_t *s) noexcept nogil:
    """They were at records of another topic."""
    cdef int32_t i
    for i in range(s.attempts_count):
        inlet_set_attempt(s, &s.attempts[i], ATTEMPT_NONE)
    s.careful_until = s.notes_deadline_ns = s.notes_again_ns = 0
    s.notes_to_clear = s.notes_awaited = False


def attempts_metadata(int64_t offset, int32_t attempts) -> bytes:
    """What is committed beside a partition's offset: so many attempts at the record at ``offset``."""
    cdef char text[ATTEMPTS_BYTES]
    cdef size_t size = attempts_format(text, offset, attempts)
    return text[:size]


def attempts_of(bytes metadata not None) -> tuple[int, int] | None:
    """(offset, attempts) out of such metadata; None of any other."""
    cdef int64_t offset
    cdef int32_t attempts
    if attempts_parse(<const char *>metadata, len(metadata), &offset, &attempts):
        return offset, attempts
    return None
