# The outlet takes lines out of STDOUT: read, newline scan, envelope into a slab.

cdef enum:
    KEY_NONE = -1
    KEY_NO_MEMORY = -2
    KEY_KEPT_BYTES = 65536          # for the key of the line that is framed; room for a larger one is given back


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
    cdef uint64_t hash
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
        return outlet_bury_copy(s, line, n, outlet_hash(s, line, n), b"supervisor.UnproducibleLine",
                                b"the line, escaped, is larger than message.max.bytes")
    if s.propagate_key:
        key_bytes = outlet_take_key(s)
        if key_bytes == KEY_NO_MEMORY:
            return False        # without its key it would go to another partition
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
    if s.refused.count > 0:
        hash = outlet_hash_frame(s, envelope_at, size)
        if refused_has(&s.refused, hash):
            return outlet_bury_copy(s, envelope_at, size, hash, b"supervisor.UnproducibleLine",
                                    b"the outgoing topic does not take a record of this size")
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
    s.pending_count += 1
    s.pending_bytes += burst_bytes_of(size)
    s.bytes_produced += size
    return True


cdef int64_t outlet_take_key(outlet_t *s) noexcept nogil:
    """Copy the key of the line to come. Returns its length, KEY_NONE or KEY_NO_MEMORY."""
    cdef const uint8_t *key = NULL
    cdef uint8_t *resized
    cdef int64_t size
    keys_lock(&s.progress.keys)
    size = keys_find(&s.progress.keys, s.mark + 1, &key)
    if size > <int64_t>s.key_capacity or (s.key_capacity > KEY_KEPT_BYTES and size <= KEY_KEPT_BYTES):
        resized = <uint8_t *>realloc(s.key, max(size, <int64_t>KEY_KEPT_BYTES))
        if resized != NULL:
            s.key = resized
            s.key_capacity = max(size, <int64_t>KEY_KEPT_BYTES)
    if size > <int64_t>s.key_capacity:
        size = KEY_NO_MEMORY
    elif size > 0:
        memcpy(s.key, key, size)
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


cdef void outlet_note_lines(outlet_t *s, size_t at, int64_t mark) noexcept nogil:
    """The lines in buffer[at:begin] were framed, the first behind this mark: note those that explain a broken rule."""
    cdef int64_t surplus = progress_lines_written(&s.progress) + 1
    cdef const uint8_t *newline
    if s.progress.marker.size > 0 or (not s.first_owed and not mark < surplus <= s.mark):
        return
    while at < s.begin:
        newline = kernels.find_newline(s.buffer + at, s.begin - at)
        if newline == NULL:     # cannot be
            return
        mark += 1
        if mark == surplus:
            surplus_note(&s.progress.surplus, mark, s.buffer + at, newline - (s.buffer + at))
        if s.first_owed and outlet_position(s, at) >= s.kept_until:
            s.first_owed = False
            surplus_note_first(&s.progress.surplus, s.buffer + at, newline - (s.buffer + at))
        at = newline - s.buffer + 1


cdef bint outlet_frame(outlet_t *s, int64_t now_ns) noexcept nogil:
    """Take every whole line out of the buffer. Returns False when it stopped for want of room."""
    if s.abandoning:        # what is purged now must not take new lines with it
        return False
    cdef const uint8_t *newline
    cdef size_t next_begin, first_begin
    cdef bint room = True
    cdef batch_t *batch
    cdef int64_t marker, first_mark
    cdef int framed
    while room:
        if (not outlet_flush(s, now_ns) and outlet_is_burst(s)) or not outlet_may_frame(s):
            return False
        if batch_open(&s.delivery) == NULL:     # before a line is taken: dropped lines move the position too
            return False
        first_begin = s.begin
        first_mark = s.mark
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
        outlet_note_lines(s, first_begin, first_mark)      # before the inlet hears of them
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
