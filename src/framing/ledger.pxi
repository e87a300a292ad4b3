# The ledger's declarations, and a class that lets tests drive it without Kafka, pipes or threads.

cdef extern from "ledger.h" nogil:
    int PARTITION_LOST
    ctypedef enum newlines_t:
        NEWLINES_SPACE, NEWLINES_SPLIT, NEWLINES_REJECT
    ctypedef enum ledger_count_t:
        LEDGER_COUNT_BYTES, LEDGER_COUNT_LINES, LEDGER_COUNT_MARKERS
    ctypedef struct ledger_entry_t:
        int64_t offset
        int32_t partition
    ctypedef struct ledger_partition_t:
        int64_t next_offset, in_flight
        uint8_t state
    ctypedef struct ledger_t:
        int64_t head, answered, cursor, tail
        int64_t dead, unposted
        int64_t written, committing, values_changed, bytes
        ledger_partition_t *partitions
        int32_t partition_count
    int ledger_open(ledger_t *, int64_t, int64_t, ledger_count_t)
    void ledger_keep_from(ledger_t *, const uint8_t *, size_t)
    void ledger_close(ledger_t *)
    int64_t ledger_room(const ledger_t *)
    int64_t ledger_batch(const ledger_t *, int64_t)
    ledger_entry_t *ledger_at(const ledger_t *, int64_t)
    void ledger_note_offset(ledger_t *, const ledger_entry_t *)
    int ledger_assign(ledger_t *, int32_t)
    void ledger_drain(ledger_t *, int32_t, int64_t)
    void ledger_leave(ledger_t *, int64_t)
    void ledger_revoke(ledger_t *, int32_t, int64_t)
    void ledger_append(ledger_t *, void *, const uint8_t *, size_t, size_t, int32_t, int64_t, newlines_t)
    void ledger_posted(ledger_t *, ledger_entry_t *, int64_t)
    void ledger_acknowledge(ledger_t *, int64_t)
    int ledger_gather(const ledger_t *, int64_t, iovec *, int)
    int64_t ledger_written(ledger_t *, size_t, int64_t)
    int64_t ledger_mark(ledger_t *)
    int64_t ledger_lines_written(const ledger_t *)
    int ledger_answer(ledger_t *, int64_t)
    void ledger_fence(ledger_t *, int64_t)
    int64_t ledger_settle(ledger_t *, int64_t)
    ledger_entry_t *ledger_pop(ledger_t *)
    int64_t ledger_rewind(ledger_t *, int64_t)
    int64_t ledger_settle_marks(ledger_t *, int64_t)
    int64_t ledger_rewind_marks(ledger_t *, int64_t, int)
    int64_t ledger_forfeit(ledger_t *)
    void ledger_offsets_below(const ledger_t *, int64_t, int64_t *)

cdef extern from "dead.h" nogil:
    bint ledger_may_pop(const ledger_t *, int64_t)
    bint ledger_bury_first(ledger_t *, int32_t, int64_t)
    int64_t ledger_letters_limit(const ledger_t *, bint)
    int64_t ledger_next_letter(ledger_t *, int64_t)
    void ledger_recall_letters(ledger_t *)
    int64_t ledger_dead_limit(const ledger_t *)
    int64_t ledger_buried_before(ledger_t *, int64_t, int64_t)
    int64_t ledger_lines_in_flight(const ledger_t *)


cdef ledger_count_t ledger_count(str ack_mode) except *:
    if ack_mode == "demand":
        return LEDGER_COUNT_BYTES
    if ack_mode == "line":
        return LEDGER_COUNT_LINES
    if ack_mode == "marker":
        return LEDGER_COUNT_MARKERS
    raise ValueError(f"no such mode of acknowledgement: {ack_mode}")


cdef newlines_t ledger_newlines(str input_newlines) except *:
    if input_newlines == "space":
        return NEWLINES_SPACE
    if input_newlines == "split":
        return NEWLINES_SPLIT
    if input_newlines == "reject":
        return NEWLINES_REJECT
    raise ValueError(f"no such way with newlines: {input_newlines}")


cdef class Ledger:
    """The records in flight, driven by hand: what `Inlet` does between Kafka and a pipe, for tests of the rules.

    Values are kept alive until their record is acknowledged. Positions are bytes in the STDIN and STDOUT streams.
    """

    cdef ledger_t ledger
    cdef dict values
    cdef newlines_t newlines
    cdef bytes marker_prefix
    cdef int64_t letters_delivered

    def __cinit__(self, int64_t max_records, int64_t max_bytes, str input_newlines="space", str ack_mode="demand",
                  bytes marker_prefix=b""):
        live_add(LIVE_objects, 1)
        self.values = {}
        self.marker_prefix = marker_prefix
        self.newlines = ledger_newlines(input_newlines)
        if ledger_open(&self.ledger, max_records, max_bytes, ledger_count(ack_mode)) != 0:
            raise MemoryError
        ledger_keep_from(&self.ledger, <const uint8_t *><const char *>self.marker_prefix, len(marker_prefix))

    def __dealloc__(self):
        ledger_close(&self.ledger)
        live_add(LIVE_objects, -1)

    @property
    def room(self) -> int:
        """How many more records may be taken."""
        return ledger_room(&self.ledger)

    def batch(self, int64_t most) -> int:
        """How many records, at most so many, to take at once."""
        return ledger_batch(&self.ledger, most)

    @property
    def sequence(self) -> tuple[int, int, int, int]:
        """(head, answered, cursor, tail): the borders of the ledger's zones."""
        return self.ledger.head, self.ledger.answered, self.ledger.cursor, self.ledger.tail

    @property
    def in_flight_bytes(self) -> int:
        """Payload and overhead of all records held."""
        return self.ledger.bytes

    @property
    def values_changed(self) -> int:
        """Records taken whose line is not what their value is."""
        return self.ledger.values_changed

    @property
    def written_position(self) -> int:
        """Bytes written to STDIN since the ledger was made."""
        return self.ledger.written

    def assign(self, int32_t partition) -> None:
        """The partition is ours from now on, in a new epoch."""
        if partition < 0 or ledger_assign(&self.ledger, partition) != 0:
            raise MemoryError

    def drain(self, int32_t partition, int64_t start=0) -> None:
        """Write nothing more of the partition from this sequence number on; the rest may still be acknowledged."""
        ledger_drain(&self.ledger, partition, max(self.ledger.cursor, start))

    def leave(self, int64_t start) -> None:
        """Likewise of all partitions that drain, from this sequence number on: a commit of it failed."""
        ledger_leave(&self.ledger, max(self.ledger.cursor, start))

    def revoke(self, int32_t partition, int64_t start=0) -> None:
        """The partition is gone; its acknowledgements no longer count. What is before ``start`` is still written."""
        ledger_revoke(&self.ledger, partition, max(self.ledger.cursor, start))

    def in_flight_of(self, int32_t partition) -> int:
        """Records of the partition's current epoch that are not acknowledged."""
        if not 0 <= partition < self.ledger.partition_count:
            return 0
        return self.ledger.partitions[partition].in_flight

    def append(self, int32_t partition, int64_t offset, value: bytes | None, size_t other_bytes=0) -> None:
        """A record was taken from Kafka; ValueError if its partition was never assigned or there is no room.

        ``other_bytes``: what its key and its headers take.
        """
        cdef const uint8_t *payload = NULL
        if not 0 <= partition < self.ledger.partition_count or ledger_room(&self.ledger) <= 0:
            raise ValueError("no such partition, or no room")
        self.values[self.ledger.tail] = value
        if value is not None:
            payload = <const uint8_t *><const char *>value
        ledger_append(&self.ledger, NULL, payload, len(value or b""), other_bytes, partition, offset, self.newlines)

    def write(self, size_t limit, int max_iov=1024, int64_t before=INT64_MAX) -> bytes:
        """Write up to ``limit`` bytes to STDIN, of records before a sequence number, and return them."""
        cdef iovec iov[1024]
        cdef int i, n = ledger_gather(&self.ledger, min(before, self.ledger.tail), iov, min(max_iov, 1024))
        taken = b"".join([(<const char *>iov[i].iov_base)[:iov[i].iov_len] for i in range(n)])[:limit]
        ledger_written(&self.ledger, len(taken), min(before, self.ledger.tail))
        return taken

    def answer(self, int64_t stdin_position, int64_t stdout_position) -> bool:
        """The Calculator finished its STDIN up to the one position, having written STDOUT up to the other."""
        if not ledger_answer(&self.ledger, stdin_position):
            return False
        ledger_fence(&self.ledger, stdout_position)
        return True

    def deliver(self, int64_t stdout_position) -> list[tuple[int, int]]:
        """STDOUT is delivered up to a position; return (partition, offset) of the records acknowledged by that."""
        return self.pop_to(ledger_settle(&self.ledger, stdout_position))

    @property
    def lines_written(self) -> int:
        """Counting lines: whole lines written, those of a record that is begun among them, counted on as marks are."""
        return ledger_lines_written(&self.ledger)

    def mark(self) -> int:
        """A marker line follows what was written; return its number. Only between two records."""
        return ledger_mark(&self.ledger)

    def deliver_mark(self, int64_t mark) -> list[tuple[int, int]]:
        """Likewise by marks: so many lines of STDOUT, or the echoes up to this marker, are delivered."""
        return self.pop_to(ledger_settle_marks(&self.ledger, mark))

    def forfeit(self) -> list[tuple[int, int]]:
        """Count as done what was written; return it."""
        return self.pop_to(ledger_forfeit(&self.ledger))

    cdef list pop_to(self, int64_t sequence):
        cdef ledger_entry_t *entry
        acknowledged = []
        ledger_acknowledge(&self.ledger, sequence)
        while ledger_may_pop(&self.ledger, self.letters_delivered):
            del self.values[self.ledger.head]
            entry = ledger_pop(&self.ledger)
            acknowledged.append((entry.partition, entry.offset))
        return acknowledged

    def rewind(self, int64_t line_end) -> int:
        """The Calculator is gone and STDOUT's last whole line ended here; return how many records are written again."""
        return ledger_rewind(&self.ledger, line_end)

    def rewind_marks(self, int64_t mark, bint trusted=True) -> int:
        """Likewise by marks: STDOUT came up to this one in all, and can be trusted or not."""
        return ledger_rewind_marks(&self.ledger, mark, trusted)

    def stored(self) -> dict[int, int]:
        """The offset to commit of every partition we own and acknowledged something of."""
        cdef int32_t i
        return {i: self.ledger.partitions[i].next_offset for i in range(self.ledger.partition_count)
                if self.ledger.partitions[i].state != PARTITION_LOST and self.ledger.partitions[i].next_offset >= 0}

    def note_offsets(self, int64_t start) -> None:
        """`at-most-once`: what is here from this sequence number on is to be committed before it is written."""
        cdef int64_t i
        for i in range(max(start, self.ledger.head), self.ledger.tail):
            ledger_note_offset(&self.ledger, ledger_at(&self.ledger, i))

    def offer(self, int64_t mark) -> dict[int, int]:
        """`exactly-once`: a transaction ends at this mark; return the offsets to commit with its lines."""
        cdef int64_t below[64]
        if self.ledger.partition_count > 64:
            raise ValueError("made for tests: 64 partitions at most")
        self.ledger.committing = ledger_buried_before(
            &self.ledger, ledger_settle_marks(&self.ledger, mark), self.letters_delivered)
        ledger_offsets_below(&self.ledger, self.ledger.committing, below)
        return {i: below[i] for i in range(self.ledger.partition_count) if below[i] >= 0}

    def committed(self) -> list[tuple[int, int]]:
        """The transaction is committed; return its records."""
        return self.pop_to(self.ledger.committing)

    def void(self) -> None:
        """The transaction is lost, its letters too; ``rewind_marks`` without trust comes next."""
        self.ledger.committing = 0
        ledger_recall_letters(&self.ledger)

    @property
    def dead(self) -> tuple[int, int]:
        """Records that have a dead letter instead of a line, and those of them that have none yet."""
        return self.ledger.dead, self.ledger.unposted

    @property
    def lines_in_flight(self) -> int:
        """Records that were written, or passed over without a letter, and are not gone."""
        return ledger_lines_in_flight(&self.ledger)

    @property
    def dead_limit(self) -> int:
        """`exactly-once`: writing stops before this record."""
        return ledger_dead_limit(&self.ledger)

    def bury(self, int32_t partition, int64_t offset) -> bool:
        """After a rewind: this record gets a dead letter instead of its line, if it is the first to be written."""
        return ledger_bury_first(&self.ledger, partition, offset)

    def post(self, int64_t number, int count, *, bint transactional=False, int64_t before=INT64_MAX) -> list[int]:
        """Give up to ``count`` records their letters, numbered from this one on; return their sequence numbers.

        ``before``: of records before this one alone.
        """
        cdef int64_t limit = min(before, ledger_letters_limit(&self.ledger, transactional))
        cdef int64_t i = ledger_next_letter(&self.ledger, limit)
        posted = []
        while i >= 0 and len(posted) < count:
            ledger_posted(&self.ledger, ledger_at(&self.ledger, i), number + len(posted))
            posted.append(i)
            i = ledger_next_letter(&self.ledger, limit)
        return posted

    def deliver_letters(self, int64_t number) -> None:
        """The letters up to this number are there; what waits for them goes with the next delivery."""
        self.letters_delivered = number


cdef extern from "attempts.h" nogil:
    enum:
        ATTEMPTS_BYTES
    size_t attempts_format(char *, int64_t, int32_t)
    bint attempts_parse(const void *, size_t, int64_t *, int32_t *)


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
