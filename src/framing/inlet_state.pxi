# What an inlet is made of; the rules of its modes and its rounds are in the files that follow.

cdef enum:
    TAKE_BATCH = 512                # records taken at once, and at most this many wait to be written
    TAKE_AHEAD = 8192               # likewise where they are committed first, which takes a while
    IOV_BATCH = 1024                # IOV_MAX
    WRITES_A_ROUND = 16             # before anything else is looked at
    PIPE_LEAST_BYTES = 4096
    IDLE_TIMEOUT_MS = 500           # consumer_poll at least twice a second, well inside max.poll.interval.ms
    CLOSE_STEP_MS = 10

cdef int64_t MS = 1000000
cdef int64_t STORE_INTERVAL_NS = 100 * MS       # acknowledged offsets are handed to librdkafka, which commits them


cdef extern from "feed.h" nogil:
    ctypedef struct feed_t:
        int64_t allowed_bytes
    void feed_reset(feed_t *, int64_t, int64_t)
    bint feed_is_full_speed(const feed_t *)
    void feed_holds_back(feed_t *, bint, int64_t, int64_t, int64_t)
    void feed_look(feed_t *, int64_t, int64_t, int64_t)
    int64_t feed_room(const feed_t *, int64_t, int64_t)
    int64_t feed_again_ns(const feed_t *, int64_t)

cdef extern from "shares.h" nogil:
    ctypedef struct shares_t:
        pass
    void shares_reset(shares_t *, int64_t, int64_t, int64_t, int64_t)
    int64_t shares_limit(shares_t *, int64_t, int64_t, int64_t, bint)

cdef extern from "calculator_probe.h" nogil:
    int PROBE_WORK, PROBE_IDLE, PROBE_MAYBE_IDLE, PROBE_UNSEEN
    ctypedef struct calculator_probe_t:
        int64_t looks
    int calculator_probe_look(calculator_probe_t *)

cdef extern from "batches.h" nogil:
    ctypedef struct batches_t:
        int64_t from_ "from"
    int64_t batches_room(const batches_t *, int64_t)

cdef extern from "ack_demand.h" nogil:
    ctypedef struct demand_seen_t:
        int64_t now_ns, written, read, out_written
        bint whole, urgent
    ctypedef struct demand_t:
        calculator_probe_t probe
        batches_t batches
        int64_t idle_ns, done, looks
        int reader
    uint64_t demand_samples(const demand_t *)
    void demand_sampled(demand_t *, uint64_t, bint)
    void demand_attach(demand_t *, pid_t, const ino_t *, int64_t, int64_t)
    void demand_writes(demand_t *, int64_t, int64_t)
    bint demand_in_batches(const demand_t *)
    bint demand_is_unseen(const demand_t *)
    bint demand_in_shares(const demand_t *)
    int64_t demand_look(demand_t *, const demand_seen_t *)
    int demand_note(const demand_t *)

cdef extern from "attempts.h" nogil:
    enum:
        ATTEMPTS_BYTES, ATTEMPTS_MAX
        ATTEMPT_NONE, ATTEMPT_FRESH, ATTEMPT_FIRST, ATTEMPT_DUE, ATTEMPT_SENT, ATTEMPT_NOTED, ATTEMPT_BURIED
    ctypedef struct attempt_t:
        int64_t committed, first, clearing
        int64_t own_first
        int32_t before, attempts
        int state
    size_t attempts_format(char *, int64_t, int32_t)
    bint attempts_parse(const void *, size_t, int64_t *, int32_t *)
    void attempt_begin(attempt_t *)
    void attempt_know(attempt_t *, int64_t, const void *, size_t)
    void attempt_sent(attempt_t *)

cdef int64_t LAG_INTERVAL_NS = 100 * MS         # the lag is worked out this often at most


# What Python sees of it, all in one moment between two rounds.
cdef struct inlet_counters_t:
    int64_t assigned_partitions, unplaced_partitions, readable_partitions
    int64_t records_read, bytes_read, tombstones, values_changed, lines_written, bytes_written, acknowledged, replayed
    int64_t in_flight_records, in_flight_bytes, unacknowledged, unanswered
    int64_t protocol_violations, markers_written, echo_owed, rule_broken, written_alone, written_carefully
    int64_t dead_in_flight, lines_in_flight
    int64_t stdin_unread_bytes, stdin_full, stdin_full_ns, stdin_broken
    int64_t rounds, probes, watch_note, feed_bytes, brokers_up, group_steady, notices_dropped
    int64_t full_since_ns       # becomes stdin_full_ns when it is looked at


cdef struct inlet_t:
    client_t client             # first: callbacks find it through the client's opaque
    turnstile_t gate
    counters_t published        # an inlet_counters_t
    lag_t lag
    int64_t next_lag_ns, lag_acknowledged   # `acknowledged` when it was worked out
    int readable                # likewise: of so many of our partitions the last answer to a fetch was no refusal
    ledger_t ledger
    progress_t *progress
    rd_kafka_t *rk
    rd_kafka_queue_t *records   # every partition's queue is forwarded to it
    rd_kafka_queue_t *consumer_queue
    rd_kafka_queue_t *answers   # to what is asked about the topic
    # which topic it is: see inlet_identity.pxi
    int64_t identity[2]
    bint asked                  # an answer is under way
    bint replaced
    int64_t next_question_ns
    int64_t unsure_until_ns     # nothing is taken until the topic is known to be the same
    # where partitions are read from: see inlet_places.pxi
    rd_kafka_topic_partition_list_t *unplaced   # ours, and where to read them from is not known yet
    int64_t next_places_ns
    offsets_question_t question
    int64_t answer_by_ns        # the group waits for our answer to a rebalance until then; 0: it does not
    bint places_stale           # a partition that it is about was given up meanwhile
    bint places_failed          # an error was told
    int64_t first_offset        # of a partition without a committed offset: RDK_OFFSET_BEGINNING or RDK_OFFSET_END
    rd_kafka_topic_partition_list_t *revoking   # asked back by the group; given up when drained or at the deadline
    int64_t revoke_deadline_ns
    const char *topic
    int wake_fd
    # the Calculator's run
    int stdin_fd                # -1: none, or closed
    int leftover_fd             # a read end opened at close_stdin only, to count what the Calculator left unread
    unsigned run                # counts attach and what ends it: a descriptor's number may come again
    bint exited                 # its process is gone: what is seen of its pipes now says nothing about it
    bint attached, blocked, closing, stdin_broken
    bint rule_broken            # counting lines: nothing is acknowledged in this run any more
    int64_t mark_before         # counting lines: of the runs before this one
    int64_t mark_seen
    uint8_t marker_line[MARKER_LINE_MAX_BYTES]
    size_t marker_bytes, marker_left    # of the marker being written; 0 left: of none
    int64_t unmarked_since_ns
    bint echo_owed              # the Calculator waits for input and has not echoed a marker
    demand_t demand             # what is seen of the Calculator; its rule is that of `demand`
    feed_t feed                 # how much is written ahead of it
    int unread_bytes            # in STDIN, at the last look
    int64_t looked_ns           # when that was, or a little later
    int64_t look_again_ns       # `demand`: in how many ns to look again; 0: there is nothing to look for
    int64_t run_from            # bytes written before this run
    shares_t shares
    bint held_back              # a record waits for the feed or for a rest
    int64_t empty_since_ns      # a line or an echo is looked for: STDIN empty and nothing to write since; 0: it is not
    int64_t idle_since_ns       # likewise, and no sign of work since
    int64_t next_probe_ns
    int64_t full_since_ns       # records wait for the Calculator, in the pipe and behind it; 0: they do not
    int64_t read_until          # of the run that ended last: it read something of each record before this one
    int64_t alone_until         # records before this one are written alone, one of them ends the Calculator; 0: none is
    char poison_why[240]        # of the last one found
    # attempts that survive us: see inlet_attempts.pxi
    attempt_t *attempts
    int32_t attempts_count
    int32_t fresh, firsts, notes_due    # partitions in these states
    bint notes_to_clear, notes_awaited, notes_failure_told
    int notes_sent              # commits that are not answered
    rd_kafka_queue_t *notes     # their answers
    int64_t notes_deadline_ns, notes_again_ns
    int64_t careful_until       # records before this one are written alone, and noted before; 0: none is
    int64_t careful_end_ns
    int poison_max_attempts
    bint has_dead_letters
    int64_t keys_until, keys_mark   # the keys of records before this one are noted, up to this mark; 0: none is
    # orders
    bint paused, draining, stopping
    int64_t stop_deadline_ns
    # settings
    int64_t idle_ns, feed_ahead_ns, revoke_grace_ns
    newlines_t newlines
    bint propagate_key
    bint commit_ahead
    bint transactional
    int64_t next_cut_ns
    bint abort_owed             # a partition went while lines of its records were in the transaction
    int64_t committed           # commit_ahead: records below this sequence number may be written
    int64_t commit_target       # the commit under way moves it to there; -1: none is
    int64_t next_commit_ns
    # bookkeeping
    int64_t next_store_ns
    bint more                   # the record queue had more than was taken
    int assigned
    int64_t records_read, bytes_read, lines_written, bytes_written, acknowledged, replayed, tombstones
    int64_t rules_broken
    int64_t full_ns, rounds, probes  # probes: of `line` and `marker`
    rd_kafka_message_t **taken
    iovec *iov


cdef bint inlet_may_write(inlet_t *s) noexcept nogil:
    return s.stdin_fd >= 0 and not s.stdin_broken and not s.exited and not s.rule_broken
