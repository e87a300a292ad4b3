# The outlet: STDOUT -> topic. One thread, no GIL, no Python object per line.

cdef extern from "returned.h" nogil:
    void returned_sort(const delivery_t *, rd_kafka_message_t *, size_t)

cdef extern from "burst.h" nogil:
    ctypedef struct burst_limits_t:
        int max_lines
        size_t max_bytes
        int64_t gather_ns
    size_t burst_bytes_of(size_t)
    burst_limits_t burst_limits(int, size_t, double)

cdef enum:
    LINES_AT_ONCE = 1024            # that are framed before it is looked whether they can be sent
    READ_BYTES = 1048576            # a full pipe of 1 MiB in one read
    EXACT_SIZE_FROM = 16384         # above this the envelope's exact size is worked out instead of six times the line
    PRODUCER_OVERHEAD_BYTES = 512   # what librdkafka counts against message.max.bytes besides the value, generously
    RETRY_MS = 500                  # a record that the broker did not take is offered again after this
    FULL_WAIT_MS = 100
    IDLE_WAIT_MS = 500
    CLOSING_WAIT_MS = 10
    READS_A_ROUND = 8
    FIRST_GROUP_BYTES = 524288      # half of the producer's batch.size
    GROUPS_BEFORE_MORE = 64

# librdkafka's linger.ms: the lines of a burst come within this, and the request has all of them.
HAND_OVER_MS = "1"

# Who gets the lines.
cdef enum:
    HOLD = 0                        # nobody yet: they stay in the pipe
    DISCARD = 1                     # nobody: read, counted, dropped
    PRODUCE = 2


cdef struct outlet_t:
    client_t client                 # first: callbacks find it through the client's opaque
    turnstile_t gate
    progress_t progress
    delivery_t delivery
    rd_kafka_t *rk
    rd_kafka_topic_t *rkt
    rd_kafka_queue_t *main_queue
    bint propagate_key
    uint8_t *key                    # of the line that is framed now
    size_t key_capacity
    # dead letters, see outlet_letters.pxi
    rd_kafka_topic_t *letters_rkt   # NULL: there is no stream for them
    letters_t letters
    int64_t letters_flying, letters_delivered, letters_retry_at_ns
    bint letters_full               # a line that is still being read waits for room among them
    int letter_error                # why the stream does not take them now
    partitions_t partitions
    int wake_fd
    envelope env
    int flow                        # HOLD, DISCARD or PRODUCE
    bint output_json
    bint at_most_once
    size_t max_line_bytes, max_message_bytes
    # STDOUT: buffer[begin:end] is read and not framed yet; buffer[begin:scanned] has no newline
    uint8_t *buffer
    size_t capacity, begin, scanned, end
    size_t dropped                  # bytes behind a line in the buffer that were read and are not in it any more
    int64_t kept_until              # position: lines before it are of runs that are over
    bint seal_owed                  # all that was read is done with, and delivery has not been told
    bint ended, ended_told          # EOF was read; the notice of it was posted
    bint to_the_end                 # the Calculator is gone: read the rest into the buffer, even on HOLD
    bint skipping                   # inside a line over the limit
    bint full                       # librdkafka's queue, the slabs or the batches: wait for deliveries
    # lines framed and not taken by librdkafka yet, and lines that came back undelivered: both keep their order
    burst_limits_t burst
    rd_kafka_message_t *pending
    int pending_count
    size_t pending_bytes
    int64_t pending_since_ns
    rd_kafka_message_t *returned    # those that matter are [returned_first, returned_first + returned_count)
    int returned_first, returned_count, returned_capacity
    # a batch was refused for its size: offered is a group at a time, smaller until the broker takes it (0: no groups)
    size_t group_limit_bytes, group_bytes
    int group_count, group_returned     # of the group under way, and of it those that came back
    int groups_taken                # in a row
    bint group_refused
    int64_t in_flight               # librdkafka has them; its own count includes events that are no records
    int64_t retry_at_ns
    int last_error
    bint stopping, abandoning
    bint fatal                      # an error after which only a new client goes on
    void *owner                     # the Outlet, which makes it
    int64_t renewals
    int call                        # of librdkafka, to be made between two rounds
    int64_t call_again_ns           # after an error
    int renew_ms                    # how long the next new client is waited for
    # exactly-once, see outlet_transaction.pxi
    bint transactional
    bint ready, open, aborting, offsets_sent
    int lost_code                   # why the open transaction cannot be committed any more
    int64_t unmarked                # lines framed since the last marker
    int64_t commits, aborts
    int64_t stop_deadline_ns
    int64_t mark                    # how far STDOUT acknowledges, see progress.h
    int64_t lines_read, bytes_read, markers_echoed, lines_delivered, bytes_produced, lines_discarded, lines_oversize
    int64_t lines_lost, lines_unproducible, lines_abandoned, lines_not_json, lines_repaired, retries, reads
    int64_t full_ns, full_since_ns


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
    if outlet_buries(s) and outlet_bury(s, m.payload, m.len, batch, False, b"supervisor.UnproducibleLine",
                                        rdk.err2str(error)):
        return
    batch.outstanding -= 1
    s.lines_unproducible += 1
    notice_post(&s.client.notices, NOTICE_UNPRODUCIBLE, error, rdk.err2str(error))


cdef void outlet_compact_returned(outlet_t *s) noexcept nogil:
    memmove(s.returned, s.returned + s.returned_first, s.returned_count * sizeof(rd_kafka_message_t))
    s.returned_first = 0


cdef void outlet_return(outlet_t *s, const rd_kafka_message_t *m) noexcept nogil:
    """Keep an undelivered record to offer it again."""
    cdef rd_kafka_message_t *grown
    cdef rd_kafka_message_t *slot
    cdef int capacity
    s.group_returned += s.group_count > 0
    if s.returned_first + s.returned_count == s.returned_capacity:
        if s.returned_first > 0 and s.group_count == 0:     # a group that came back needs the place before the first
            outlet_compact_returned(s)
        else:
            capacity = max(1024, 2 * s.returned_capacity)
            grown = <rd_kafka_message_t *>realloc(s.returned, capacity * sizeof(rd_kafka_message_t))
            if grown == NULL:
                return      # its batch stays outstanding: it is never acknowledged, and its input is read again later
            s.returned = grown
            s.returned_capacity = capacity
    slot = &s.returned[s.returned_first + s.returned_count]
    memset(slot, 0, sizeof(rd_kafka_message_t))
    slot.payload = m.payload
    slot.len = m.len
    slot.key = outlet_key_of(m)
    slot.key_len = m.key_len
    slot._private = m._private
    slot.partition = m.partition
    s.returned_count += 1
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
    partitions_reported(&s.partitions, m.partition)
    if m.err == RDK_ERR_NONE:
        batch.outstanding -= 1
        s.lines_delivered += 1
        s.last_error = 0
    elif s.transactional:
        batch.outstanding -= 1
        s.lines_abandoned += 1
        s.lost_code = m.err
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
    partitions_taken(&s.partitions, partition, taken)
    return taken


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
    cdef int count = s.pending_count
    cdef int n = 0
    cdef int left
    if s.in_flight > 0:
        return False
    if s.group_returned > 0 and s.group_returned < s.returned_count:
        # It was the front, and is again.
        s.returned_first -= s.group_returned
        memmove(s.returned + s.returned_first, s.returned + s.returned_first + s.returned_count,
                s.group_returned * sizeof(rd_kafka_message_t))
    if s.group_refused:
        s.group_refused = False
        s.group_limit_bytes = max(<size_t>1, s.group_bytes // 2) if s.group_count > 0 else FIRST_GROUP_BYTES
        s.groups_taken = 0
    elif s.group_returned == 0:
        s.groups_taken += 1
        if s.groups_taken == GROUPS_BEFORE_MORE:    # the topic may take more by now
            s.groups_taken = 0
            s.group_limit_bytes *= 2
            if s.group_limit_bytes > FIRST_GROUP_BYTES:
                outlet_end_groups(s)
                return outlet_flush_all(s, now_ns)
    s.group_returned = 0
    if s.returned_count > 0:
        first = s.returned + s.returned_first
        count = s.returned_count
    s.group_bytes = 0
    while n < count and (n == 0 or s.group_bytes + first[n].len <= s.group_limit_bytes):
        s.group_bytes += first[n].len
        n += 1
    s.group_count = n
    left = outlet_offer(s, first, n, RDK_PARTITION_UA)
    if s.returned_count > 0:
        memmove(first + n - left, first, left * sizeof(rd_kafka_message_t))
        s.returned_first += n - left
        s.returned_count -= n - left
    else:
        memmove(first + left, first + n, (count - n) * sizeof(rd_kafka_message_t))
        s.pending_count -= n - left
    return s.returned_count + s.pending_count == 0


cdef void outlet_end_groups(outlet_t *s) noexcept nogil:
    """Another topic, another limit."""
    s.group_limit_bytes = s.group_bytes = 0
    s.group_count = s.group_returned = s.groups_taken = 0
    s.group_refused = False


cdef bint outlet_may_begin_burst(const outlet_t *s) noexcept nogil:
    """Is there a partition with nothing under way? Until the topic's are known, all count as one; keys go to them all."""
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
    first = s.returned + s.returned_first
    returned_sort(&s.delivery, first, s.returned_count)
    while n < min(s.returned_count, s.burst.max_lines) and first[n].partition == first[0].partition \
            and (n == 0 or size + burst_bytes_of(first[n].len) <= s.burst.max_bytes):
        size += burst_bytes_of(first[n].len)
        n += 1
    left = outlet_offer(s, first, n, first[0].partition)
    memmove(first + n - left, first, left * sizeof(rd_kafka_message_t))
    s.returned_first += n - left
    s.returned_count -= n - left
    if s.returned_count > 0:
        return False
    s.returned_first = 0
    return True


cdef bint outlet_flush_all(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Offer everything that is due. Returns whether all there is was taken."""
    cdef int count, left
    if s.returned_count > 0 and not outlet_flush_returned(s):
        return False
    if s.pending_count > 0 and outlet_may_begin_burst(s) and (
            outlet_is_burst(s) or now_ns >= s.pending_since_ns + s.burst.gather_ns or outlet_in_a_hurry(s)):
        count = s.pending_count
        if count > 1 and s.pending_bytes > s.burst.max_bytes:
            count -= 1      # the last one would be left over from the request
        left = outlet_offer(s, s.pending, count, RDK_PARTITION_UA)
        if count < s.pending_count:
            s.pending[left] = s.pending[count]
            left += 1
        if left == 1:
            s.pending_bytes = burst_bytes_of(s.pending[0].len)
            s.pending_since_ns = now_ns
        s.pending_count = left
    return s.pending_count == 0


cdef bint outlet_in_a_hurry(outlet_t *s) noexcept nogil:
    """Does somebody wait for the last lines to be delivered?"""
    cdef int state
    if s.stopping or s.flow == HOLD or s.ended:
        return True
    if not s.transactional:
        return False
    state = cut_state(&s.progress.cut)
    return state == CUT_ASKED or state == CUT_ANYWHERE


cdef bint outlet_flush(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Offer what came back, then what is pending. Returns whether all of it was taken."""
    if s.returned_count + s.pending_count == 0:
        return True
    if s.fatal or now_ns < s.retry_at_ns or (s.transactional and not outlet_begin(s)):
        return False
    if s.group_refused or s.group_limit_bytes > 0:
        return outlet_flush_group(s, now_ns)
    return outlet_flush_all(s, now_ns)


cdef int64_t outlet_position(const outlet_t *s, size_t index) noexcept nogil:
    """The STDOUT position of buffer[index]. Read by the outlet's thread, which alone moves read_position.

    Behind a dropped tail it is too low until the buffer has run empty: late for an acknowledgement, never early.
    """
    return s.progress.read_position - <int64_t>(s.end - index + s.dropped)


cdef int64_t outlet_marker(outlet_t *s, const uint8_t *line, size_t n) noexcept nogil:
    """The number of the marker that the line echoes, or -1: what was never written to STDIN is data like any other."""
    cdef int64_t number = marker_number(&s.progress.marker, line, n)
    return number if number <= progress_mark_issued(&s.progress) else -1


cdef int64_t outlet_mark_after(outlet_t *s, const uint8_t *data, size_t n, int64_t *lines) noexcept nogil:
    """The mark as it will be behind the whole lines in ``data``, whose number goes to ``lines``."""
    cdef int64_t mark = s.mark
    cdef const uint8_t *newline = kernels.find_newline(data, n)
    lines[0] = 0
    while newline != NULL:
        if s.progress.marker.size > 0:
            mark = max(mark, outlet_marker(s, data, newline - data))
        else:
            mark += 1
        lines[0] += 1
        n -= newline + 1 - data
        data = newline + 1
        newline = kernels.find_newline(data, n)
    return mark


cdef void outlet_seal_empty(outlet_t *s) noexcept nogil:
    """Nothing read is left to frame: what was dropped behind the last record counts as delivered with it.

    Without this a fence behind a dropped tail would wait for a line that a next run may never print.
    """
    cdef batch_t *batch
    if not s.seal_owed or s.begin != s.end:
        return
    batch = batch_open(&s.delivery)
    if batch == NULL:
        return              # as soon as there is room
    s.seal_owed = False
    s.dropped = 0
    batch_seal(batch, s.progress.read_position, s.mark)
    progress_line_ended(&s.progress, s.progress.read_position, s.mark)


cdef bint outlet_frame_line(outlet_t *s, const uint8_t *line, size_t n) noexcept nogil:
    """Wrap one line into a pending record. Returns False if there is no room: wait for deliveries."""
    cdef size_t need, size, repaired = 0
    cdef int check = JSON_INVALID
    cdef batch_t *batch
    cdef rd_kafka_message_t *m
    cdef uint8_t *envelope_at
    cdef int64_t key_bytes = -1
    if n > s.max_line_bytes:
        return outlet_oversize(s, line)
    if s.flow == DISCARD:
        s.lines_discarded += 1
        return True
    if outlet_is_void(s):
        s.lines_abandoned += 1
        return True
    if s.output_json:
        check = kernels.json_check(line, n)
    if check == JSON_VALID:
        need = envelope_parsed_size(&s.env, n) + FRAMING_PADDING
    elif n >= EXACT_SIZE_FROM:
        need = envelope_raw_size(&s.env, line, n) + FRAMING_PADDING
    else:
        need = envelope_bound(&s.env, n)
    if need > s.max_message_bytes + FRAMING_PADDING and n >= EXACT_SIZE_FROM:
        if outlet_buries(s):
            batch = batch_open(&s.delivery)
            if batch == NULL or not outlet_bury(s, line, n, batch, True, b"supervisor.UnproducibleLine",
                                                b"the line, escaped, is larger than message.max.bytes"):
                return False
            batch.outstanding += 1
            return True
        s.lines_unproducible += 1
        notice_post(&s.client.notices, NOTICE_UNPRODUCIBLE, RDK_ERR_MSG_SIZE_TOO_LARGE,
                    b"the line, escaped, is larger than message.max.bytes")
        return True
    if s.propagate_key:
        key_bytes = outlet_take_key(s)
        need += max(0, key_bytes)
    batch = batch_open(&s.delivery)
    if batch == NULL or slab_reserve(&s.delivery, need) != 0:
        return False
    if batch.slab != NULL and batch.slab != s.delivery.current:
        # A batch keeps one slab alive, so it has lines in one only.
        batch_seal(batch, outlet_position(s, s.begin), s.mark)
        batch = batch_open(&s.delivery)
        if batch == NULL:
            return False
    envelope_at = s.delivery.current.data + s.delivery.current.used
    if check == JSON_VALID:
        size = envelope_write_parsed(&s.env, line, n, envelope_at)
    else:
        size = envelope_write_raw(&s.env, line, n, envelope_at, &repaired)
        s.lines_repaired += repaired > 0
        s.lines_not_json += s.output_json and check == JSON_INVALID
    s.delivery.current.used += size
    batch_add(&s.delivery, batch)
    m = &s.pending[s.pending_count]
    memset(m, 0, sizeof(rd_kafka_message_t))
    m.payload = envelope_at
    m.len = size
    m._private = batch
    if key_bytes >= 0:
        outlet_add_key(s, m, <size_t>key_bytes)
    m.partition = RDK_PARTITION_UA
    if s.pending_count == 0:
        s.pending_bytes = 0
        s.pending_since_ns = monotonic_ns()
    s.pending_count += 1
    s.pending_bytes += burst_bytes_of(size)
    s.bytes_produced += size
    return True


cdef int64_t outlet_take_key(outlet_t *s) noexcept nogil:
    """Copy the key of the line to come; -1: it has none."""
    cdef uint8_t *grown
    cdef int64_t size
    keys_lock(&s.progress.keys)
    size = keys_bytes(&s.progress.keys, s.mark + 1)
    if size > <int64_t>s.key_capacity:
        grown = <uint8_t *>realloc(s.key, size)
        if grown == NULL:
            size = -1
        else:
            s.key = grown
            s.key_capacity = size
    if size > 0:
        memcpy(s.key, keys_data(&s.progress.keys, s.mark + 1), size)
    keys_unlock(&s.progress.keys)
    return size


cdef void outlet_add_key(outlet_t *s, rd_kafka_message_t *m, size_t size) noexcept nogil:
    """Put the key behind the envelope, where it lives as long."""
    m.key = s.delivery.current.data + s.delivery.current.used
    m.key_len = size
    if size > 0:
        memcpy(m.key, s.key, size)
    s.delivery.current.used += size


cdef void *outlet_key_of(const rd_kafka_message_t *m) noexcept nogil:
    """Where a message's key lies in its slab; librdkafka's own copy of it goes with its report."""
    return NULL if m.key == NULL else <uint8_t *>m.payload + m.len


cdef bint outlet_frame(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Take every whole line out of the buffer. Returns False when it stopped for want of room."""
    if s.abandoning:        # what is purged now must not take new lines with it
        return False
    cdef const uint8_t *newline
    cdef size_t next_begin, first_begin
    cdef bint room = True
    cdef batch_t *batch
    cdef int64_t marker
    cdef int framed
    while room:
        if (not outlet_flush(s, now_ns) and outlet_is_burst(s)) or not outlet_may_frame(s):
            return False
        if batch_open(&s.delivery) == NULL:     # before a line is taken: dropped lines move the position too
            return False
        first_begin = s.begin
        framed = 0
        while framed < LINES_AT_ONCE and not outlet_is_burst(s):
            framed += 1
            newline = kernels.find_newline(s.buffer + s.scanned, s.end - s.scanned)
            if newline == NULL:
                s.scanned = s.end
                break
            next_begin = newline - s.buffer + 1
            marker = -1 if s.skipping else outlet_marker(s, s.buffer + s.begin, next_begin - 1 - s.begin)
            if marker < 0 and not s.skipping and not outlet_frame_line(s, s.buffer + s.begin, next_begin - 1 - s.begin):
                s.scanned = next_begin - 1
                room = False
                break
            s.skipping = False
            s.begin = s.scanned = next_begin
            if marker >= 0:
                s.markers_echoed += 1
                s.mark = max(s.mark, marker)
                s.unmarked = 0
                if s.transactional and not outlet_may_frame(s):
                    break       # a transaction may end here, and is to
                continue
            s.lines_read += 1
            if s.progress.marker.size == 0:
                s.mark += 1
            s.unmarked += 1
        if s.begin == first_begin:
            break
        batch = batch_open(&s.delivery)
        if batch != NULL:       # NULL: a change of slab has sealed the last free one
            batch_seal(batch, outlet_position(s, s.begin), s.mark)
        progress_line_ended(&s.progress, outlet_position(s, s.begin), s.mark)
    return room and (outlet_flush(s, now_ns) or not outlet_is_burst(s))


cdef bint outlet_read(outlet_t *s) noexcept nogil:
    """One read of STDOUT into the buffer. Returns whether anything came."""
    cdef ssize_t n
    if s.begin == s.end:
        s.dropped = 0
    if s.begin > 0:
        s.end -= s.begin
        s.scanned -= s.begin
        memmove(s.buffer, s.buffer + s.begin, s.end)
        s.begin = 0
    if s.scanned == s.end and s.end > s.max_line_bytes:     # no newline in all of it
        if not s.skipping:
            if not outlet_oversize(s, s.buffer):
                return False
            s.skipping = True
        s.end = s.scanned = 0
    n = progress_read(&s.progress, s.buffer + s.end, s.capacity - s.end)
    s.reads += 1
    if n > 0:
        s.end += n
        s.bytes_read += n
        envelope_stamp(&s.env, unix_ms())
        return True
    if n == 0 or (errno != EAGAIN and errno != EINTR):
        s.ended = True
    return False


cdef void outlet_serve(outlet_t *s) noexcept nogil:
    """Take the delivery reports, and pass on how far everything is delivered."""
    rdk.poll(s.rk, 0)
    outlet_file_letters(s)
    delivery_advance(&s.delivery)
    progress_deliver(&s.progress, s.delivery.done_end, s.delivery.done_mark)
    if s.abandoning and s.in_flight == 0:
        s.abandoning = False


cdef void outlet_look_for_fatal(outlet_t *s, int64_t now_ns) noexcept nogil:
    """After a fatal error the client sends nothing, and keeps what it has for ever, because nothing times out.

    So it has to give everything back, for a new one. Asked again: an answer may put lines into its queue once more.
    """
    cdef char why[8]
    s.call = CALL_NONE
    s.fatal = s.fatal or rdk.fatal_error(s.rk, why, sizeof(why)) != RDK_ERR_NONE
    if s.fatal and s.in_flight + s.letters_flying > 0:
        rdk.purge(s.rk, RDK_PURGE_QUEUE_AND_INFLIGHT | RDK_PURGE_NON_BLOCKING)
    elif s.fatal and now_ns >= s.call_again_ns:
        s.call = CALL_RENEW


cdef int64_t outlet_undelivered(outlet_t *s) noexcept nogil:
    return s.pending_count + s.returned_count + s.in_flight


cdef int64_t outlet_kept(const outlet_t *s) noexcept nogil:
    """Bytes of whole lines that runs which are over left in the buffer."""
    return max(0, s.kept_until - outlet_position(s, s.begin))


cdef int outlet_round(outlet_t *s) noexcept nogil:
    """Everything that can be done without waiting. Returns the milliseconds to wait for events, -1 to end."""
    cdef int64_t now_ns = monotonic_ns()
    cdef int64_t gathered_ns
    cdef bint room
    cdef int i
    outlet_seal_empty(s)
    outlet_serve(s)
    outlet_send_letters(s, now_ns)
    s.letters_full = False
    if s.transactional:
        outlet_transact(s, now_ns)
    if s.flow == HOLD:
        room = outlet_flush(s, now_ns)
        while s.to_the_end and not s.ended and s.end - s.begin < s.capacity and outlet_read(s):
            pass
        room = room and s.end - s.begin < s.capacity
        if s.ended and not s.ended_told:
            s.ended_told = True
            notice_post(&s.client.notices, NOTICE_STDOUT_ENDED, <int>(s.end - s.begin), b"")
    else:
        room = outlet_frame(s, now_ns)
        for i in range(READS_A_ROUND):
            if not room or s.ended or s.progress.fd < 0 or not outlet_read(s):
                break
            room = outlet_frame(s, now_ns)
            outlet_serve(s)
        room = room and not s.letters_full
        if room and s.ended and not s.ended_told:
            s.ended_told = True
            notice_post(&s.client.notices, NOTICE_STDOUT_ENDED, <int>(s.end - s.begin), b"")
    if room and s.full:
        s.full_ns += now_ns - s.full_since_ns
    elif not room and not s.full:
        s.full_since_ns = now_ns
    s.full = not room
    progress_hold(&s.progress, s.full or s.flow == HOLD)
    if s.stopping and ((outlet_undelivered(s) == 0 and not outlet_has_letters(s)) or now_ns >= s.stop_deadline_ns):
        return -1
    if s.transactional:
        outlet_transact(s, now_ns)      # again: this round may have come to the cut
    else:
        outlet_look_for_fatal(s, now_ns)
    if s.call != CALL_NONE:
        return 0
    if s.stopping or s.abandoning:
        return CLOSING_WAIT_MS
    if s.pending_count + s.returned_count == 0:
        return FULL_WAIT_MS if s.full else IDLE_WAIT_MS
    gathered_ns = s.pending_since_ns + s.burst.gather_ns - now_ns
    if outlet_may_begin_burst(s) and 0 < gathered_ns < FULL_WAIT_MS * <int64_t>1000000:
        return <int>(gathered_ns // 1000000) + 1
    return FULL_WAIT_MS


cdef void outlet_destroy_client(rd_kafka_t *rk, rd_kafka_topic_t *rkt, rd_kafka_topic_t *letters_rkt,
                                rd_kafka_queue_t *main_queue) noexcept nogil:
    if rkt != NULL:
        rdk.topic_destroy(rkt)
    if letters_rkt != NULL:
        rdk.topic_destroy(letters_rkt)
    rdk.queue_io_event_enable(main_queue, -1, NULL, 0)
    rdk.queue_destroy(main_queue)
    rdk.destroy_flags(rk, 0)


cdef void outlet_close(outlet_t *s) noexcept nogil:
    """Purge what could not be delivered, serve its reports, destroy the client: in that order.

    Nobody who wants a snapshot waits for librdkafka: the gate is open while it works.
    """
    cdef rd_kafka_t *rk = s.rk
    cdef rd_kafka_topic_t *rkt = s.rkt
    cdef rd_kafka_topic_t *letters_rkt = s.letters_rkt
    cdef void *error
    cdef int i
    rdk.purge(rk, RDK_PURGE_QUEUE_AND_INFLIGHT)
    for i in range(100):
        turnstile_enter_loop(&s.gate)
        rdk.poll(rk, 0)
        turnstile_leave(&s.gate)
        if rdk.outq_len(rk) == 0:
            break
        wait_wake(s.wake_fd, CLOSING_WAIT_MS)
    turnstile_enter_loop(&s.gate)
    s.lines_abandoned += s.pending_count + s.returned_count
    s.pending_count = s.returned_count = 0
    outlet_drop_letters(s)
    s.rk = NULL
    s.rkt = s.letters_rkt = NULL
    turnstile_leave(&s.gate)
    if s.open:      # readers need not wait for its timeout
        error = rdk.abort_transaction(rk, CALL_TIMEOUT_MS)
        if error != NULL:
            rdk.error_destroy(error)
    outlet_drop_offsets(s)
    live_add(LIVE_lines, s.in_flight + s.letters_flying)
    outlet_destroy_client(rk, rkt, letters_rkt, s.main_queue)


cdef void outlet_run(outlet_t *s) noexcept nogil:
    cdef pollfd waits[2]
    cdef int timeout_ms
    prctl(PR_SET_NAME, b"outlet")        # for top -H and its like
    while True:
        turnstile_enter_loop(&s.gate)
        timeout_ms = outlet_round(s)
        waits[0].fd = s.wake_fd
        waits[0].events = POLLIN
        waits[1].fd = s.progress.fd if s.flow != HOLD and not s.full and not s.ended else -1
        waits[1].events = POLLIN
        turnstile_leave(&s.gate)
        if timeout_ms < 0:
            break
        if s.call != CALL_NONE:
            outlet_make_call(s)
            continue
        poll(waits, 2, timeout_ms)
        if waits[0].revents & POLLIN:
            drain_wakes(s.wake_fd)
    outlet_close(s)
    notice_post(&s.client.notices, NOTICE_CLOSED, 0, b"")


cdef double number_in(dict config, str name, double default) except? -1:
    """The value of a property that the outlet goes by too."""
    try:
        return float(config.get(name, default))
    except ValueError:
        raise ValueError(f"{name} is {config[name]!r}, expected a number") from None


cdef class Outlet:
    """Reads the Calculator's STDOUT, wraps each line in a dataframe and produces it to one topic.

    ``run`` is the body of a thread of its own; every other method may be called from one other thread and takes effect
    before it returns, without waiting for I/O. Lines stay in the pipe (``hold``) until ``produce_to`` or ``discard``.
    """

    cdef outlet_t *s
    cdef bytes topic
    cdef bytes dead_letter_topic
    cdef bytes workspace
    cdef dict config

    def __cinit__(self, *args, **kwargs):
        self.s = <outlet_t *>calloc(1, sizeof(outlet_t))
        if self.s == NULL:
            raise MemoryError
        live_add(LIVE_objects, 1)
        self.s.wake_fd = self.s.client.notices.wake_fd = -1
        progress_open(&self.s.progress)

    def __init__(self, dict config not None, str wsp not None, *, bint output_json,
                 size_t max_line_bytes, size_t max_message_bytes, size_t max_slab_bytes, bytes marker_prefix=b"",
                 bint transactional=False, bint at_most_once=False, int64_t propagate_keys_of=0):
        """``config``: librdkafka properties; ``wsp``: the workspace's uid; ``max_slab_bytes``: bound of the envelopes
        that are not delivered yet; ``marker_prefix``: how the marker lines of the `marker` rule begin;
        ``transactional``: `exactly-once`, ``config`` has a transactional.id;
        ``propagate_keys_of``: PROPAGATE_KEY, the most records in flight whose keys are carried to their lines; 0: none;
        ``at_most_once``: a line that the broker may have is not sent again, ``config`` allows no retries.

        Raises ValueError with librdkafka's reason if it refuses a property.
        """
        cdef outlet_t *s = self.s
        cdef bytes uid = wsp.encode()
        self.workspace = uid
        s.progress.workspace = self.workspace
        s.propagate_key = propagate_keys_of > 0
        s.output_json = output_json
        s.max_line_bytes = max_line_bytes
        s.max_message_bytes = max_message_bytes - PRODUCER_OVERHEAD_BYTES
        s.capacity = max_line_bytes + READ_BYTES
        if notices_open(&s.client.notices) != 0:
            raise OSError(errno, "eventfd")
        turnstile_open(&s.gate)
        kernels_select(cpu_best_isa())
        s.burst = burst_limits(<int>number_in(config, "batch.num.messages", 10000),
                               <size_t>min(number_in(config, "batch.size", 1e6),
                                           number_in(config, "message.max.bytes", 1e6)),
                               number_in(config, "linger.ms", 5))
        s.buffer = <uint8_t *>malloc(s.capacity + FRAMING_PADDING)
        s.pending = <rd_kafka_message_t *>malloc(s.burst.max_lines * sizeof(rd_kafka_message_t))
        if marker_open(&s.progress.marker, <const uint8_t *><const char *>marker_prefix, len(marker_prefix)) != 0:
            raise ValueError("the marker's prefix is too long")
        if s.propagate_key and keys_open(&s.progress.keys, propagate_keys_of) != 0:
            raise MemoryError
        if s.buffer == NULL or s.pending == NULL or delivery_open(&s.delivery, max_slab_bytes) != 0 \
                or envelope_init(&s.env, &kernels, <const uint8_t *><const char *>uid, len(uid)) != 0:
            raise MemoryError
        s.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if s.wake_fd < 0:
            raise OSError(errno, "eventfd")
        s.progress.outlet_wake_fd = s.wake_fd
        s.owner = <void *>self
        s.transactional = transactional
        s.at_most_once = at_most_once
        self.config = config
        self.make_client()

    cdef int make_client(self) except -1:
        cdef outlet_t *s = self.s
        s.rk = client_new(
            RDK_PRODUCER, {**self.config, "linger.ms": HAND_OVER_MS}, &s.client, on_delivery, NULL, NULL)
        s.main_queue = rdk.queue_get_main(s.rk)
        rdk.queue_io_event_enable(s.main_queue, s.wake_fd, &QUEUE_EVENT, sizeof(QUEUE_EVENT))
        return 0

    cdef void renew_client(self) noexcept:
        """Replace the client after a fatal error: nothing of it is under way. At the gate; it takes a moment."""
        cdef outlet_t *s = self.s
        cdef rd_kafka_t *rk = s.rk
        cdef rd_kafka_topic_t *rkt = s.rkt
        cdef rd_kafka_topic_t *letters_rkt = s.letters_rkt
        cdef rd_kafka_queue_t *main_queue = s.main_queue
        try:
            self.make_client()
        except ValueError as error:
            s.call_again_ns = monotonic_ns() + CALL_RETRY_MS * <int64_t>1000000
            notice_post(&s.client.notices, NOTICE_ERROR, RDK_ERR__FATAL, str(error).encode())
            return
        s.rkt = partition_topic_new(s.rk, self.topic, s.propagate_key) if rkt != NULL else NULL
        s.letters_rkt = rdk.topic_new(s.rk, self.dead_letter_topic, NULL) if letters_rkt != NULL else NULL
        partitions_forget(&s.partitions)
        with nogil:
            outlet_destroy_client(rk, rkt, letters_rkt, main_queue)
        s.fatal = s.ready = s.open = s.aborting = False
        s.renewals += 1
        if s.transactional:
            s.aborts += 1
            progress_open_transaction(&s.progress, False)
        else:
            outlet_end_groups(s)
            s.retry_at_ns = monotonic_ns() + RETRY_MS * <int64_t>1000000    # should every client end like this one

    def __dealloc__(self):
        if self.s != NULL:
            if self.s.rk != NULL:       # it never ran
                with nogil:
                    outlet_drop_letters(self.s)
                    outlet_destroy_client(self.s.rk, self.s.rkt, self.s.letters_rkt, self.s.main_queue)
            if self.s.delivery.ring != NULL:
                delivery_close(&self.s.delivery)
            envelope_free(&self.s.env)
            free(self.s.buffer)
            free(self.s.pending)
            free(self.s.returned)
            keys_close(&self.s.progress.keys)
            free(self.s.key)
            free(self.s.partitions.under_way)
            progress_detach(&self.s.progress)
            close_if_open(self.s.wake_fd)
            close_if_open(self.s.client.notices.wake_fd)
            free(self.s)
            live_add(LIVE_objects, -1)

    cdef void enter(self) noexcept:
        with nogil:
            turnstile_enter_caller(&self.s.gate)

    cdef void leave(self) noexcept:
        turnstile_leave(&self.s.gate)
        wake(self.s.wake_fd)

    def run(self) -> None:
        """Until ``stop``: the thread's body. Posts the notice ``closed`` when the client is gone."""
        with nogil:
            outlet_run(self.s)

    def produce_to(self, str topic not None) -> None:
        """Lines go to ``topic`` from now on. RuntimeError while lines for another topic are undelivered."""
        cdef bytes name = topic.encode()
        self.enter()
        try:
            if self.s.rkt == NULL or name != self.topic:
                self.take_topic_away()
                outlet_end_groups(self.s)
                self.s.rkt = partition_topic_new(self.s.rk, name, self.s.propagate_key)
                partitions_forget(&self.s.partitions)
                self.topic = name
            self.s.flow = PRODUCE
            self.s.last_error = 0
        finally:
            self.leave()

    def bury_in(self, str topic) -> None:
        """Dead letters go to ``topic`` from now on; None: nowhere, those of records wait, those of lines are dropped."""
        cdef bytes name = topic.encode() if topic is not None else None
        self.enter()
        if name != self.dead_letter_topic:
            if self.s.letters_rkt != NULL:
                rdk.topic_destroy(self.s.letters_rkt)
            self.s.letters_rkt = rdk.topic_new(self.s.rk, name, NULL) if name is not None else NULL
            self.s.letters_retry_at_ns = 0
            self.s.letter_error = 0
            self.dead_letter_topic = name
            if name is None:
                outlet_drop_lines_letters(self.s)
        self.leave()

    def forget_letters(self) -> None:
        """In a transaction: the inlet that posted letters is gone, and its records are read again with their letters."""
        self.enter()
        if self.s.transactional:
            outlet_drop_letters(self.s)
        self.leave()

    def discard(self) -> None:
        """Lines are read, counted and dropped from now on. RuntimeError while lines for a topic are undelivered."""
        self.enter()
        try:
            self.take_topic_away()
            self.s.flow = DISCARD
        finally:
            self.leave()

    def hold(self) -> None:
        """Lines stay in the pipe from now on; what was read before is still delivered."""
        self.enter()
        self.s.flow = HOLD
        self.leave()

    cdef take_topic_away(self):
        if outlet_undelivered(self.s) > 0:
            raise RuntimeError("lines for the last topic are not delivered yet")
        if self.s.rkt != NULL:
            rdk.topic_destroy(self.s.rkt)
            self.s.rkt = NULL

    def attach(self, int stdout_fd) -> None:
        """A new run of the Calculator: read its STDOUT. Takes ownership of ``stdout_fd`` (non-blocking)."""
        cdef outlet_t *s = self.s
        self.enter()
        s.ended = s.ended_told = s.to_the_end = False
        s.unmarked = 0
        if s.begin == s.end:
            s.skipping = False      # else the end of a line over the limit is still in the buffer
        s.seal_owed = True
        outlet_seal_empty(s)
        progress_attach(&s.progress, stdout_fd)
        self.leave()

    def read_to_end(self) -> None:
        """The Calculator is gone: while lines are held, take what it left in the pipe into the buffer, if it fits.

        The notice ``stdout-ended`` tells when the end was reached.
        """
        self.enter()
        self.s.to_the_end = True
        self.leave()

    def finish(self, *, bint keep_lines, bint keep_tail) -> int:
        """The run is over: close its STDOUT. Returns the length of its unfinished last line in bytes.

        ``keep_lines``: lines that were read and not framed yet wait for a topic; else they are dropped (they must not
        go to the next one). ``keep_tail``: the unfinished line becomes a record all the same (the Calculator ended in
        order); else it is dropped (it died in the middle of it).
        """
        cdef outlet_t *s = self.s
        cdef size_t tail = 0
        cdef int64_t lines
        self.enter()
        progress_detach(&s.progress)
        s.seal_owed = False
        if not keep_lines:
            s.begin = s.scanned = s.end     # its position is told at the next attach, after the inlet's detach
        while tail < s.end - s.begin and s.buffer[s.end - tail - 1] != c'\n':
            tail += 1
        if tail > 0 and keep_tail and not (s.skipping and tail == s.end - s.begin):
            s.buffer[s.end] = c'\n'     # the buffer has FRAMING_PADDING bytes behind its capacity
            s.end += 1
            s.progress.read_position += 1
            if s.flow != HOLD:
                outlet_frame(s, monotonic_ns())     # now, so that the inlet's fences find the line's end
        else:
            s.end -= tail
            s.dropped += tail
            s.scanned = min(s.scanned, s.end)
        s.kept_until = outlet_position(s, s.end)
        s.ended = s.ended_told = True
        progress_expect_mark(&s.progress, outlet_mark_after(s, s.buffer + s.begin, s.end - s.begin, &lines))
        self.leave()
        return tail

    def abandon(self) -> None:
        """Give up every line that is not delivered, and those that runs which are over left in the buffer.

        ``undelivered`` of the snapshot tells when that is done.

        The inlet must have forgotten its fences first (``Inlet.forget``), or records would count as answered
        by lines that never arrived.
        """
        cdef outlet_t *s = self.s
        cdef int i
        cdef size_t kept
        cdef int64_t lines
        self.enter()
        s.abandoning = True
        for i in range(s.pending_count):
            (<batch_t *>s.pending[i]._private).outstanding -= 1
        for i in range(s.returned_count):
            (<batch_t *>s.returned[s.returned_first + i]._private).outstanding -= 1
        s.lines_abandoned += s.pending_count + s.returned_count
        s.pending_count = s.returned_count = s.returned_first = 0
        s.retry_at_ns = 0
        outlet_end_groups(s)
        kept = outlet_kept(s)
        if kept > 0:
            s.mark = outlet_mark_after(s, s.buffer + s.begin, kept, &lines)
            s.lines_abandoned += lines
            s.lines_read += lines
            s.begin += kept
            s.scanned = max(s.scanned, s.begin)
        rdk.purge(s.rk, RDK_PURGE_QUEUE_AND_INFLIGHT | RDK_PURGE_NON_BLOCKING)
        self.leave()

    def abort(self) -> None:
        """Abort the open transaction, and drop every line until the inlet writes its records again.

        A commit that is under way is not stopped: what it covers counts.
        """
        cdef int state
        self.enter()
        state = cut_state(&self.s.progress.cut)
        if state != CUT_OFFSETS and state != CUT_COMMITTED and state != CUT_VOID:
            # The outlet's thread waits at the gate; the inlet's may move it on meanwhile, and nothing comes of that.
            while not cut_move(&self.s.progress.cut, state, CUT_VOID):
                state = cut_state(&self.s.progress.cut)
            outlet_fail(self.s, 0, b"")
        self.leave()

    @property
    def voided(self) -> bool:
        """Whether a transaction was lost and its records are not being written again yet."""
        return cut_state(&self.s.progress.cut) == CUT_VOID

    def stop(self, double deadline_s) -> None:
        """End ``run``: as soon as everything taken is delivered, at the latest in ``deadline_s``."""
        self.enter()
        self.s.stop_deadline_ns = monotonic_ns() + <int64_t>(deadline_s * 1e9)
        self.s.stopping = True
        self.leave()

    @property
    def notice_fd(self) -> int:
        """An eventfd, written when there are notices to take. It lives as long as this object."""
        return self.s.client.notices.wake_fd

    def notices(self) -> list[tuple[str, int, str]]:
        """Take what the thread has to tell: (kind, code, text) each."""
        return take_notices(&self.s.client.notices)

    def snapshot(self) -> dict[str, int]:
        """Counters since the outlet was made, and what is under way now."""
        cdef outlet_t *s = self.s
        self.enter()
        taken = {
            "lines_read": s.lines_read,
            "markers_echoed": s.markers_echoed,
            "bytes_read": s.bytes_read,
            "lines_delivered": s.lines_delivered,
            "bytes_produced": s.bytes_produced,
            "lines_discarded": s.lines_discarded,
            "lines_oversize": s.lines_oversize,
            "lines_unproducible": s.lines_unproducible,
            "lines_abandoned": s.lines_abandoned,
            "lines_lost": s.lines_lost,
            "lines_not_json": s.lines_not_json,
            "lines_repaired": s.lines_repaired,
            "retries": s.retries,
            "undelivered": outlet_undelivered(s),
            "kept_bytes": outlet_kept(s),
            "last_error": s.last_error,
            "dead_letters_delivered": s.letters_delivered,
            "dead_letter_error": s.letter_error,
            "dead_letters_waiting": outlet_letters_waiting(s),
            "clients_renewed": s.renewals,
            "transaction_open": s.open,
            "transactions_committed": s.commits,
            "transactions_aborted": s.aborts,
            "lines_since_marker": s.unmarked,
            "output_full": s.full,
            "output_full_ns": s.full_ns + (monotonic_ns() - s.full_since_ns if s.full else 0),
            "slabs_live": s.delivery.slabs_live,
            "slab_bytes": s.delivery.slab_bytes,
            "reads": s.reads,
            "brokers_up": s.client.brokers_up,
            "notices_dropped": s.client.notices.dropped,
        }
        turnstile_leave(&s.gate)
        return taken
