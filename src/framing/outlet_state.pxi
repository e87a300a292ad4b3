# What an outlet is made of.

cdef extern from "returned.h" nogil:
    ctypedef struct returned_t:
        rd_kafka_message_t *messages
        size_t first, count, capacity
    rd_kafka_message_t *returned_first(const returned_t *)
    int returned_reserve(returned_t *, size_t, size_t)
    rd_kafka_message_t *returned_add(returned_t *)
    void returned_taken(returned_t *, size_t, size_t, size_t)
    void returned_to_front(returned_t *, size_t)
    void returned_clear(returned_t *)
    void returned_sort(const delivery_t *, returned_t *)

cdef extern from "refused.h" nogil:
    ctypedef struct refused_t:
        int count
    uint64_t refused_hash(const uint8_t *, size_t)
    bint refused_has(const refused_t *, uint64_t)
    void refused_add(refused_t *, uint64_t)

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
    HAND_OVER_NS = 500000

# librdkafka's linger.ms: lines handed over within this are in one request, and no request goes before it is over.
# A full burst of 100-byte lines takes 0.3 ms.
HAND_OVER_MS = str(HAND_OVER_NS / 1e6)

# Who gets the lines.
cdef enum:
    HOLD = 0                        # nobody yet: they stay in the pipe
    DISCARD = 1                     # nobody: read, counted, dropped
    PRODUCE = 2


# What Python sees of it, all in one moment between two rounds.
cdef struct outlet_counters_t:
    int64_t lines_read, markers_echoed, bytes_read, lines_delivered, bytes_produced, lines_discarded, lines_oversize
    int64_t lines_unproducible, lines_abandoned, lines_lost, lines_not_json, lines_repaired, retries
    int64_t undelivered, kept_bytes, last_error
    int64_t dead_letters_delivered, dead_letter_error, dead_letters_waiting, dead_letters_in_flight
    int64_t clients_renewed, transaction_open, transactions_committed, transactions_aborted, lines_since_marker
    int64_t output_full, output_full_ns, slabs_live, slab_bytes, returned_bytes, key_bytes, reads, brokers_up
    int64_t notices_dropped
    int64_t full_since_ns, call_since_ns        # become output_full_ns and call_ms when they are looked at


cdef struct outlet_t:
    client_t client                 # first: callbacks find it through the client's opaque
    turnstile_t gate
    counters_t published        # an outlet_counters_t
    progress_t progress
    delivery_t delivery
    properties_t properties         # of every client
    rd_kafka_t *rk
    rd_kafka_topic_t *rkt
    rd_kafka_queue_t *main_queue
    bint propagate_key
    uint8_t *key                    # of the line that is framed now
    size_t key_capacity
    # dead letters, see outlet_letters.pxi
    rd_kafka_topic_t *letters_rkt   # NULL: there is no stream for them
    letters_t letters
    int64_t letters_flying, letters_delivered
    int64_t letters_retry_at_ns     # in a transaction, which takes those that were refused with it
    bint letters_alone              # some were refused together: they are offered one at a time
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
    bint first_owed                 # the first line of this run was not framed yet
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
    int64_t handed_over_ns          # when lines were handed over last
    returned_t returned
    # a batch was refused for its size: offered is a group at a time, smaller until the broker takes it (0: no groups)
    size_t group_limit_bytes, group_bytes
    size_t group_most_bytes             # in a transaction: a group of twice that was refused; 0: none was
    int group_count, group_returned     # of the group under way, and of it those that came back
    int groups_taken                # in a row
    bint group_refused
    int64_t in_flight               # librdkafka has them; its own count includes events that are no records
    int64_t retry_at_ns
    int last_error
    bint stopping, abandoning
    bint fatal                      # an error after which only a new client goes on
    client_disposal_t disposal      # of the one before it
    int64_t renewals
    int call                        # of librdkafka, to be made between two rounds
    int64_t call_since_ns           # it has been under way since; 0: none is
    int64_t call_again_ns           # after an error
    int renew_ms                    # how long the next new client is waited for
    # exactly-once, see outlet_transaction.pxi
    bint transactional
    bint ready, open, aborting, offsets_sent
    bint begin_owed                 # something waits for a transaction to be open
    bint refusal_noted              # of the open transaction
    refused_t refused               # lines that are not offered again
    refused_t refused_letters       # and dead letters of lines
    int lost_code                   # why the open transaction cannot be committed any more
    int64_t unmarked                # lines framed since the last marker
    int64_t commits, aborts
    int64_t stop_deadline_ns
    int64_t mark                    # how far STDOUT acknowledges, see progress.h
    int64_t lines_read, bytes_read, markers_echoed, lines_delivered, bytes_produced, lines_discarded, lines_oversize
    int64_t lines_lost, lines_unproducible, lines_abandoned, lines_not_json, lines_repaired, retries, reads
    int64_t full_ns, full_since_ns
