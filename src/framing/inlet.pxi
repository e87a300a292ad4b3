# The inlet's shell: orders, counters and notices. What it does is in inlet.h and the C files of its parts.

cdef extern from "ack_policy.h" nogil:
    ctypedef struct ack_policy_t:
        pass
    const ack_policy_t *ack_policy_of(ledger_count_t)

cdef extern from "commit_policy.h" nogil:
    ctypedef struct commit_policy_t:
        pass
    const commit_policy_t commit_at_least_once, commit_at_most_once, commit_exactly_once

cdef extern from "inlet_report.h" nogil:
    ctypedef struct inlet_counters_t:
        int64_t assigned_partitions, unplaced_partitions, readable_partitions
        int64_t records_read, bytes_read, tombstones, values_changed, lines_written, bytes_written, acknowledged
        int64_t replayed
        int64_t in_flight_records, in_flight_bytes, unacknowledged, unanswered
        int64_t protocol_violations, markers_written, echo_owed, rule_broken, written_alone, written_carefully
        int64_t dead_in_flight, lines_in_flight
        int64_t stdin_unread_bytes, stdin_full, stdin_full_ns, stdin_broken
        int64_t rounds, probes, watch_note, feed_bytes, brokers_up, group_steady, notices_dropped
        int64_t throttles, throttled_ms, throttled_last_ms, throttled_broker
        int64_t full_since_ns
    ctypedef struct inlet_report_t:
        lag_t lag

cdef extern from "inlet.h" nogil:
    ctypedef struct inlet_config_t:
        const char *topic
        int64_t first_offset, idle_ns, feed_ahead_ns, revoke_grace_ns
        newlines_t newlines
        bint propagate_key
        const ack_policy_t *ack
        const commit_policy_t *commit
    ctypedef struct inlet_t:
        client_t client
        inlet_config_t config
        inlet_report_t report
        progress_t *progress
    inlet_t *inlet_new()
    int inlet_open(inlet_t *, int64_t, int64_t)
    void inlet_run(inlet_t *)
    void inlet_dispose(inlet_t *)
    void report_read(inlet_t *, inlet_counters_t *)
    int consumer_open(inlet_t *, const properties_t *, char *, size_t)

cdef extern from "inlet_orders.h" nogil:
    void inlet_attach(inlet_t *, int, pid_t)
    void inlet_close_stdin(inlet_t *)
    void inlet_exited(inlet_t *)
    bint inlet_broke_rule(inlet_t *)
    int64_t inlet_detach(inlet_t *, bint)
    bint inlet_suspect(inlet_t *, int32_t *, int64_t *)
    void inlet_isolate(inlet_t *)
    void inlet_bury(inlet_t *, int32_t, int64_t, const char *)
    void inlet_judge_by(inlet_t *, int, bint)
    void inlet_forget(inlet_t *)
    bint inlet_recall(inlet_t *)
    int inlet_take_stdin(inlet_t *)
    void inlet_join_later(inlet_t *, bint)
    void inlet_pause(inlet_t *, bint)
    int inlet_log_in_with(inlet_t *, const char *, const char *)
    void inlet_drain(inlet_t *, bint)
    void inlet_stop(inlet_t *, int64_t)


cdef class Inlet:
    """Reads one topic as a member of the group and writes each record's value as a line to the Calculator's STDIN.

    Records stay in the ledger until the rule of their acknowledgement says that the Calculator is done with them and
    the outlet that what it had written by then is delivered; only then does their offset move. ``run`` is the body of a
    thread of its own; every other method may be called from one other thread and takes effect before it returns,
    without waiting.
    """

    cdef inlet_t *s
    cdef Outlet outlet
    cdef bytes topic

    def __cinit__(self, *args, **kwargs):
        self.s = inlet_new()
        if self.s == NULL:
            raise MemoryError

    def __init__(self, dict config not None, str topic not None, Outlet outlet not None, *,
                 int64_t max_in_flight_records, int64_t max_in_flight_bytes, double ack_idle_s, double feed_ahead_s,
                 double revoke_grace_s, str input_newlines not None, str ack_mode not None,
                 bint commit_ahead, bint transactional=False):
        """``config``: librdkafka properties, with a cooperative partition.assignment.strategy and auto.offset.reset;
        ``ack_idle_s``: how long nothing may go on before that is a rest where background work cannot be told apart;
        ``feed_ahead_s``: how much of the Calculator's working time is written ahead of it;
        ``ack_mode``: the rule that acknowledges, `demand`, `line` or `marker`; ``input_newlines``: a newline inside a
        value is a `space`, `split`s it, or makes it a dead letter (`reject`);
        ``commit_ahead``: `at-most-once`; ``transactional``: `exactly-once`, as the outlet is.

        Raises ValueError with librdkafka's reason if it refuses a property.
        """
        cdef inlet_t *s = self.s
        self.outlet = outlet
        self.topic = topic.encode()
        s.config.topic = self.topic
        s.config.first_offset = RDK_OFFSET_BEGINNING if config["auto.offset.reset"] == "earliest" else RDK_OFFSET_END
        s.progress = &outlet.s.progress
        s.config.idle_ns = <int64_t>(ack_idle_s * 1e9)
        s.config.feed_ahead_ns = <int64_t>(feed_ahead_s * 1e9)
        s.config.revoke_grace_ns = <int64_t>(revoke_grace_s * 1e9)
        s.config.newlines = ledger_newlines(input_newlines)
        s.config.propagate_key = s.progress.keys.carried
        s.config.ack = ack_policy_of(ledger_count(ack_mode))
        s.config.commit = &commit_at_most_once if commit_ahead else \
            &commit_exactly_once if transactional else &commit_at_least_once
        if inlet_open(s, max_in_flight_records, max_in_flight_bytes) != 0:
            if errno == ENOMEM:
                raise MemoryError
            raise OSError(errno, "eventfd")
        self.join(config)

    cdef int join(self, dict config) except -1:
        """Make the client; raise ValueError naming the property that librdkafka refuses, with its reason."""
        cdef char why[512]
        cdef properties_t properties
        cdef int refused
        memset(&properties, 0, sizeof(properties))
        try:
            properties_of(config, &properties)
            with nogil:
                refused = consumer_open(self.s, &properties, why, sizeof(why))
        finally:
            properties_free(&properties)
        if refused != 0:
            raise ValueError((<bytes>why).decode("utf-8", "replace"))
        return 0

    def __dealloc__(self):
        if self.s != NULL:
            inlet_dispose(self.s)

    def run(self) -> None:
        """Until ``stop``: the thread's body. Posts the notice ``closed`` when the client is gone."""
        with nogil:
            inlet_run(self.s)

    def join_later(self) -> None:
        """Before ``run``: it joins the group only when it is told to ``join_group``."""
        with nogil:
            inlet_join_later(self.s, True)

    def join_group(self) -> None:
        """Become a member of the group, if it is none yet."""
        with nogil:
            inlet_join_later(self.s, False)

    def attach(self, int stdin_fd, int pid) -> None:
        """Write to this STDIN of the Calculator, beginning with what the last run left unanswered.

        Takes ownership of ``stdin_fd`` (non-blocking); ``pid`` leads its session. Another inlet may have written to it
        before: all that it wrote is done.
        """
        with nogil:
            inlet_attach(self.s, stdin_fd, pid)

    def close_stdin(self) -> None:
        """Write nothing more but the rest of a record that was begun, then give the Calculator its EOF."""
        with nogil:
            inlet_close_stdin(self.s)

    def exited(self) -> None:
        """The run's process is gone: write no more, and take no sample, which could be of what it left behind."""
        with nogil:
            inlet_exited(self.s)

    def broke_rule(self) -> bool:
        """After the outlet took the run's STDOUT to its end, before ``detach``: whether it broke the `line` rule.

        Such a run says nothing of the record that was first in it.
        """
        cdef bint broke
        with nogil:
            broke = inlet_broke_rule(self.s)
        return broke

    def detach(self, *, bint finished) -> int:
        """The run is over, and its STDOUT was taken to the end. Return how many records the next run gets again.

        ``finished``: the Calculator ended by itself, in order, at the end of its STDIN; if it left nothing unread, all
        that was written counts as answered. Otherwise its last sample counts.
        """
        cdef int64_t again
        with nogil:
            again = inlet_detach(self.s, finished)
        return again

    def suspect(self) -> tuple[int, int] | None:
        """After ``detach``: (partition, offset) of the first record to be written again, if the run had read of it."""
        cdef int32_t partition = 0
        cdef int64_t offset = 0
        cdef bint found
        with nogil:
            found = inlet_suspect(self.s, &partition, &offset)
        return (partition, offset) if found else None

    def isolate(self) -> None:
        """After ``detach``: write what the run had read of alone, record by record; take nothing meanwhile.

        The notice ``cleared`` tells when all of it was answered.
        """
        with nogil:
            inlet_isolate(self.s)

    def bury(self, int32_t partition, int64_t offset, str why not None) -> None:
        """After ``detach``: send the suspect to the dead letter stream instead of writing it again.

        Nothing if it is not the first any more: its partition was lost since.
        """
        cdef bytes reason = why.encode()
        cdef const char *text = reason
        with nogil:
            inlet_bury(self.s, partition, offset, text)

    def judge_by(self, int max_attempts, *, bint dead_letters) -> None:
        """How often a record may have been alone when the Supervisor itself ended, and whether it has a place to go.

        In force for partitions of which no record was taken yet.
        """
        with nogil:
            inlet_judge_by(self.s, max_attempts, dead_letters)

    def forget(self) -> None:
        """Count nothing of what is written as answered but what is acknowledged already: its lines are abandoned.

        Only while nothing of the present run was written (``drain`` is on since before it was attached).
        """
        with nogil:
            inlet_forget(self.s)

    def recall(self) -> bool:
        """A transaction was lost: if no record in it has a line, the run can go on, and dead letters are posted again.

        Returns False if there is one: the run has to end.
        """
        cdef bint harmless
        with nogil:
            harmless = inlet_recall(self.s)
        return harmless

    def take_stdin(self) -> int:
        """Give the Calculator's STDIN back, open, or -1 if there is none: for an inlet of another topic.

        Only when the ledger has drained: no record of it may be under way.
        """
        cdef int stdin_fd
        with nogil:
            stdin_fd = inlet_take_stdin(self.s)
        return stdin_fd

    def log_in_with(self, str user not None, str password not None) -> None:
        """From the next connection on."""
        cdef bytes user_bytes = user.encode(), password_bytes = password.encode()
        cdef const char *user_text = user_bytes
        cdef const char *password_text = password_bytes
        cdef int failed
        with nogil:
            failed = inlet_log_in_with(self.s, user_text, password_text)
        if failed != 0:
            raise MemoryError

    def pause(self, bint paused) -> None:
        """Stop or resume the flow; the Calculator keeps running and the group membership stays."""
        with nogil:
            inlet_pause(self.s, paused)

    def drain(self, bint draining) -> None:
        """Write no further record until told otherwise; ``unanswered`` of the snapshot tells when nothing is left."""
        with nogil:
            inlet_drain(self.s, draining)

    def stop(self, double deadline_s) -> None:
        """End ``run``: commit what is acknowledged, leave the group, within ``deadline_s``."""
        cdef int64_t deadline_ns = monotonic_ns() + <int64_t>(deadline_s * 1e9)
        with nogil:
            inlet_stop(self.s, deadline_ns)

    @property
    def notice_fd(self) -> int:
        """An eventfd, written when there are notices to take. It lives as long as this object."""
        return self.s.client.notices.wake_fd

    def notices(self) -> list[tuple[str, int, str]]:
        """Take what the thread has to tell: (kind, code, text) each."""
        return take_notices(&self.s.client.notices)

    def snapshot(self) -> dict[str, int]:
        """Counters since the inlet was made, and the ledger's zones; as the last round or order left them.

        From any thread, without waiting.
        """
        cdef inlet_counters_t now
        report_read(self.s, &now)
        cdef dict taken = now
        since_ns = taken.pop("full_since_ns")
        taken["stdin_full_ns"] += monotonic_ns() - since_ns if since_ns else 0
        return taken

    def lag(self) -> dict[int, tuple[int, int]]:
        """Of each partition we own: (offset acknowledged up to, high watermark), -1 or less where not known yet.

        As it was within the last half second. From any thread, without waiting.
        """
        cdef int32_t i, count = 0
        cdef lag_entry_t *entries = lag_copy(&self.s.report.lag, &count)
        found = {entries[i].partition: (entries[i].acknowledged, entries[i].high) for i in range(count)}
        free(entries)
        return found
