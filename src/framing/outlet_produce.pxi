# The outlet hands lines to librdkafka: bursts, delivery reports, what comes back, what is refused.

cdef bint is_refusal(int error) noexcept nogil:
    """Is it for what was sent, and not for the broker's state? A batch is refused for one record, or for their sum."""
    return error == RDK_ERR_MSG_SIZE_TOO_LARGE or error == RDK_ERR_RECORD_LIST_TOO_LARGE \
        or error == RDK_ERR_INVALID_RECORD


cdef void outlet_error(outlet_t *s, int error) noexcept nogil:
    """Tell of an error once, not once for each record that meets it."""
    if error != s.last_error:
        s.last_error = error
        notice_post(&s.client.notices, NOTICE_ERROR, error, rdk.err2str(error))


cdef void outlet_drop(outlet_t *s, const rd_kafka_message_t *m, int error) noexcept nogil:
    """The broker does not take it: a dead letter, or nothing."""
    cdef batch_t *batch = <batch_t *>m._private
    cdef uint64_t hash = outlet_hash_frame(s, <const uint8_t *>m.payload, m.len)
    cdef int made = outlet_bury(s, m.payload, m.len, batch, False, hash, b"supervisor.UnproducibleLine",
                                rdk.err2str(error))
    batch.outstanding -= 1
    if made == LETTER_MADE:
        return
    s.lines_unproducible += 1
    notice_post(&s.client.notices, NOTICE_UNPRODUCIBLE, error, rdk.err2str(error))


cdef uint64_t outlet_hash(const outlet_t *s, const uint8_t *line, size_t size) noexcept nogil:
    """What a line is known by when its transaction comes again; 0 where there is none."""
    return refused_hash(line, size) if s.transactional else 0


cdef uint64_t outlet_hash_frame(const outlet_t *s, const uint8_t *frame, size_t size) noexcept nogil:
    """Likewise of a dataframe, without its head, which has the time."""
    return outlet_hash(s, frame + s.env.raw_head_size, size - min(size, s.env.raw_head_size))


cdef void outlet_note_refusal(outlet_t *s, const rd_kafka_message_t *m) noexcept nogil:
    """In a transaction, which is lost by it: the next one offers line by line until the one is found that was it.

    Groups that are taken grow again, up to half of what was refused together.
    """
    if s.group_count == 1:
        refused_add(&s.refused, outlet_hash_frame(s, <const uint8_t *>m.payload, m.len))
        s.group_most_bytes = 0
    elif not s.refusal_noted:
        s.group_most_bytes = max(<size_t>1, (s.group_bytes if s.group_count > 0 else FIRST_GROUP_BYTES) // 2)
        s.group_limit_bytes = 1
    s.refusal_noted = True


cdef void outlet_return(outlet_t *s, const rd_kafka_message_t *m) noexcept nogil:
    """Keep an undelivered record to offer it again."""
    cdef rd_kafka_message_t *slot = returned_add(&s.returned)
    s.group_returned += s.group_count > 0
    slot.payload = m.payload
    slot.len = m.len
    slot.key = outlet_key_of(m)
    slot.key_len = m.key_len
    slot._private = m._private
    slot.partition = m.partition
    s.retries += 1


cdef void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) noexcept nogil:
    """Delivery report; called out of rd_kafka_poll, on the outlet's thread."""
    cdef outlet_t *s = <outlet_t *>opaque
    cdef batch_t *batch = <batch_t *>m._private
    cdef bint purged = m.err == RDK_ERR__PURGE_QUEUE or m.err == RDK_ERR__PURGE_INFLIGHT
    if <uintptr_t>m._private & LETTER_TAG:
        outlet_letter_reported(s, <letter_t *>(<uintptr_t>m._private & ~<uintptr_t>LETTER_TAG), m)
        return
    s.in_flight -= 1
    if partitions_reported(&s.partitions, m.partition, m.err == RDK_ERR_NONE) and not s.stopping:
        outlet_flush(s, monotonic_ns())     # the broker need not wait until all reports are looked at
    if m.err == RDK_ERR_NONE:
        batch.outstanding -= 1
        s.lines_delivered += 1
        s.last_error = 0
    elif s.transactional:
        batch.outstanding -= 1
        s.lines_abandoned += 1
        s.lost_code = m.err
        if is_refusal(m.err):
            outlet_note_refusal(s, m)
    elif s.abandoning:
        batch.outstanding -= 1
        s.lines_abandoned += 1
    elif is_refusal(m.err):
        if s.group_count == 1:
            outlet_drop(s, m, m.err)        # it was alone: it is the one
        else:
            s.group_refused = True
            outlet_return(s, m)
    elif purged and not s.fatal:
        s.lines_abandoned += 1          # the outlet is closing: stays outstanding, so it is never acknowledged
    elif s.at_most_once and rdk.message_status(m) != RDK_MSG_STATUS_NOT_PERSISTED:
        outlet_error(s, m.err)
        batch.outstanding -= 1
        s.lines_lost += 1               # or not: the broker may have it, so it must not be sent again
    elif purged:
        outlet_return(s, m)             # for the next client
    else:
        outlet_error(s, m.err)
        s.retry_at_ns = monotonic_ns() + RETRY_MS * <int64_t>1000000
        outlet_return(s, m)


cdef int outlet_produce(outlet_t *s, rd_kafka_message_t *messages, int count, int32_t partition) noexcept nogil:
    """Hand records to librdkafka, all to one partition. Returns how many it took; ``err`` of the rest says why not."""
    cdef int64_t began_ns = monotonic_ns()
    cdef int taken = 0
    cdef int chosen = partition == RDK_PARTITION_UA
    cdef int i
    if chosen and s.propagate_key:      # each goes where its key belongs
        return rdk.produce_batch(s.rkt, RDK_PARTITION_UA, 0, messages, count)
    if chosen:      # and so it stays while the topic's metadata are not there
        taken = partition_produce_first(s.rkt, messages, &partition, &s.partitions)
        if taken == 0 and not is_refusal(messages[0].err):
            for i in range(1, count):       # none may overtake it
                messages[i].err = messages[0].err
            return 0
    if count > chosen:
        taken += rdk.produce_batch(s.rkt, partition, 0, messages + chosen, count - chosen)
    partitions_taken(&s.partitions, partition, taken, monotonic_ns() - began_ns < HAND_OVER_NS)
    return taken


cdef bint outlet_may_offer(outlet_t *s, int count) noexcept nogil:
    """Make sure that there is room for so many more lines, should they come back: none is lost for want of memory."""
    if returned_reserve(&s.returned, s.in_flight, count) == 0:
        return True
    outlet_error(s, RDK_ERR__CRIT_SYS_RESOURCE)
    s.retry_at_ns = monotonic_ns() + RETRY_MS * <int64_t>1000000
    return False


cdef int outlet_offer(outlet_t *s, rd_kafka_message_t *messages, int count, int32_t partition) noexcept nogil:
    """Offer records to librdkafka. Those it does not take now are moved to the front; returns their number."""
    cdef int i, left = 0
    cdef int taken = outlet_produce(s, messages, count, partition)
    s.in_flight += taken
    if taken == count:
        return 0
    for i in range(count):
        if messages[i].err == RDK_ERR_NONE:
            continue
        if is_refusal(messages[i].err):     # by librdkafka itself: each is looked at by itself
            outlet_drop(s, &messages[i], messages[i].err)
            continue
        if messages[i].err == RDK_ERR__UNKNOWN_PARTITION:
            messages[i].partition = RDK_PARTITION_UA    # the topic was made anew, with fewer of them
        if messages[i].err != RDK_ERR__QUEUE_FULL:
            s.lost_code = messages[i].err
            outlet_error(s, messages[i].err)
            s.retry_at_ns = monotonic_ns() + RETRY_MS * <int64_t>1000000
        messages[left] = messages[i]
        messages[left].err = RDK_ERR_NONE
        left += 1
    return left


cdef bint outlet_flush_group(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Offer one group, when the last one is through. Returns whether all there is was taken.

    A topic's max.message.bytes bounds a whole batch, and the answer does not say which record or how much it would have
    taken. So the limit on a group is halved with every group that is refused: what the topic takes flows on at nearly
    its own batch size, and a record that is refused alone has been found.
    """
    cdef rd_kafka_message_t *first = s.pending
    cdef bint from_returned = s.returned.count > 0
    cdef int count = s.pending_count
    cdef int n = 0
    cdef int left
    if s.in_flight > 0:
        return False
    returned_to_front(&s.returned, s.group_returned)
    if s.group_refused:
        s.group_refused = False
        s.group_limit_bytes = max(<size_t>1, s.group_bytes // 2) if s.group_count > 0 else FIRST_GROUP_BYTES
        s.groups_taken = 0
    elif s.group_returned == 0:
        s.groups_taken += 1
        if s.groups_taken == GROUPS_BEFORE_MORE:    # the topic may take more by now
            s.groups_taken = 0
            s.group_limit_bytes = 2 * max(s.group_limit_bytes, s.group_bytes)
            if s.group_most_bytes > 0:
                s.group_limit_bytes = min(s.group_limit_bytes, s.group_most_bytes)
            elif s.group_limit_bytes > FIRST_GROUP_BYTES:
                outlet_end_groups(s)
                return outlet_flush_all(s, now_ns)
    s.group_returned = 0
    if from_returned:
        first = returned_first(&s.returned)
        count = <int>s.returned.count
    s.group_bytes = 0
    while n < count and (n == 0 or s.group_bytes + first[n].len <= s.group_limit_bytes):
        s.group_bytes += first[n].len
        n += 1
    s.group_count = n
    if not outlet_may_offer(s, n):
        return False
    if from_returned:
        left = outlet_offer(s, returned_first(&s.returned), n, RDK_PARTITION_UA)
        returned_taken(&s.returned, n, left, s.in_flight)
    else:
        left = outlet_offer(s, s.pending, n, RDK_PARTITION_UA)
        memmove(s.pending + left, s.pending + n, (count - n) * sizeof(rd_kafka_message_t))
        s.pending_count -= n - left
    return s.returned.count == 0 and s.pending_count == 0


cdef void outlet_end_groups(outlet_t *s) noexcept nogil:
    """Another topic, another limit."""
    s.group_limit_bytes = s.group_bytes = s.group_most_bytes = 0
    s.group_count = s.group_returned = s.groups_taken = 0
    s.group_refused = False


cdef bint outlet_may_begin_burst(const outlet_t *s) noexcept nogil:
    """Is there a partition with nothing under way? Until the topic is known, all count as one; keys go to all."""
    return s.in_flight == 0 or (s.partitions.busy < s.partitions.known and not s.propagate_key)


cdef bint outlet_is_burst(const outlet_t *s) noexcept nogil:
    return s.pending_count > 0 and (s.pending_count >= s.burst.max_lines or s.pending_bytes >= s.burst.max_bytes)


cdef bint outlet_flush_returned(outlet_t *s) noexcept nogil:
    """Offer what came back to the partitions it was for, a burst at a time, each when the last one is through.

    Returns whether all of it was taken.
    """
    cdef rd_kafka_message_t *first
    cdef size_t size = 0
    cdef int n = 0
    cdef int left
    if s.in_flight > 0:
        return False        # more may come back, and belong before these
    returned_sort(&s.delivery, &s.returned)
    first = returned_first(&s.returned)
    while n < min(<int>s.returned.count, s.burst.max_lines) and first[n].partition == first[0].partition \
            and (n == 0 or size + burst_bytes_of(first[n].len) <= s.burst.max_bytes):
        size += burst_bytes_of(first[n].len)
        n += 1
    if not outlet_may_offer(s, n):
        return False
    first = returned_first(&s.returned)
    left = outlet_offer(s, first, n, first[0].partition)
    returned_taken(&s.returned, n, left, s.in_flight)
    return s.returned.count == 0


cdef bint outlet_flush_all(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Offer everything that is due. Returns whether all there is was taken."""
    cdef int count, left
    if s.returned.count > 0 and not outlet_flush_returned(s):
        return False
    if s.pending_count > 0 and outlet_may_begin_burst(s) and (
            outlet_is_burst(s) or now_ns >= s.handed_over_ns + s.burst.gather_ns or outlet_in_a_hurry(s)):
        count = s.pending_count
        if count > 1 and s.pending_bytes > s.burst.max_bytes:
            count -= 1      # the last one would be left over from the request
        if not outlet_may_offer(s, count):
            return False
        left = outlet_offer(s, s.pending, count, RDK_PARTITION_UA)
        s.handed_over_ns = now_ns
        if count < s.pending_count:
            s.pending[left] = s.pending[count]
            left += 1
        if left == 1:
            s.pending_bytes = burst_bytes_of(s.pending[0].len)
        s.pending_count = left
    return s.pending_count == 0


cdef bint outlet_in_a_hurry(outlet_t *s) noexcept nogil:
    """Does somebody wait for the last lines to be delivered?"""
    cdef int state
    if s.stopping or s.flow == HOLD or s.ended or progress_window_full(&s.progress):
        return True
    if not s.transactional:
        return False
    state = cut_state(&s.progress.cut)
    return state == CUT_ASKED or state == CUT_ANYWHERE


cdef bint outlet_flush(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Offer what came back, then what is pending. Returns whether all of it was taken."""
    if s.returned.count == 0 and s.pending_count == 0:
        return True
    if s.fatal or now_ns < s.retry_at_ns or (s.transactional and not outlet_begin(s)):
        return False
    if letterbox_count(&s.progress.letters) > LETTERS_MAX_LINES:
        return False        # each line that is refused would be one more
    if s.group_refused or s.group_limit_bytes > 0:
        return outlet_flush_group(s, now_ns)
    return outlet_flush_all(s, now_ns)
