"""The guarantees other than `at-least-once`: when offsets are committed, and what that promises."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.unit.ledger_machine import A_PARTITION, PREFIXES, SOME_VALUES, Demand, LedgerMachine
from tests.unit.ledger_reference import Record
from tests.unit.ledger_world import ALL


class AtMostOnce(Demand):
    """`at-most-once`: committed first, then written, never twice."""

    written_again = False

    def __init__(self) -> None:
        super().__init__()
        self.confirmed = 0  # records before this sequence number may be written
        self.target: int | None = None  # of the commit under way
        self.under_way: dict[int, int] = {}
        self.covered: list[Record] = []  # by it
        self.written: Counter[tuple[int, int]] = Counter()

    @property
    def void_from(self) -> int:
        """What is committed stays."""
        return self.confirmed

    @property
    def drain_from(self) -> int:
        """And what may be."""
        return max(self.confirmed, self.target or 0)

    @property
    def letters_before(self) -> int:
        """What is committed."""
        return self.confirmed

    @property
    def may_write_before(self) -> int:
        """What is committed, and the rest of what was begun."""
        return max(self.confirmed, self.reference.cursor + (self.reference.begun_bytes > 0))

    @rule()
    def begin_commit(self) -> None:
        """Commit what was taken."""
        if self.target is not None:
            return
        self.real.note_offsets(self.confirmed)
        self.reference.note_offsets(self.confirmed)
        self.under_way = self.real.stored()
        self.covered = [record for record in self.every_record() if self.reference.owns(record)]
        self.target = self.real.sequence[3]

    @rule(accepted=st.booleans(), confirmed=st.booleans())
    def end_commit(self, accepted: bool, confirmed: bool) -> None:
        """It succeeds, fails, or succeeds without our knowing."""
        if self.target is None:
            return
        if accepted or confirmed:
            self.broker |= self.under_way
        if confirmed:
            self.confirmed = self.target
            kept = [record for record in self.covered if record.epoch == self.reference.epochs[record.partition]]
            assert not any(record.void for record in kept), "committed by us, and left"
        self.target = None
        if not confirmed:
            self.real.leave(self.void_from)
            self.reference.leave(self.void_from)

    @rule(partition=A_PARTITION, values=SOME_VALUES)
    def flow(self, partition: int, values: list[bytes | None]) -> None:
        """Some records are taken, committed and begun."""
        super().flow(partition, values)
        self.end_commit(accepted=True, confirmed=True)
        self.begin_commit()
        self.end_commit(accepted=True, confirmed=True)
        self.write(7, 1024)

    def commit(self) -> None:
        """Nothing is committed afterwards."""

    @rule(partition=A_PARTITION, lost=st.booleans())
    def revoke(self, partition: int, lost: bool) -> None:
        """A commit that is under way is answered or fails before anybody else gets the partition."""
        super().revoke(partition, lost)
        self.under_way.pop(partition, None)

    def finish_line(self, record: Record, at: int) -> None:
        """Once and for all."""
        super().finish_line(record, at)
        if record.line:
            self.writes(record)

    def writes(self, record: Record) -> None:
        """Never twice, never before the commit."""
        key = (record.partition, record.offset)
        self.written[key] += 1
        assert self.written[key] == 1, f"{key} written twice"
        assert record.offset < self.broker[record.partition], f"{key} written before it was committed"

    def letter_is_there(self, record: Record) -> None:
        """Likewise of letters."""
        super().letter_is_there(record)
        key = (record.partition, record.offset)
        assert self.letters[key] == 1, f"{key} has two letters"
        assert record.offset < self.broker[record.partition], f"{key} has a letter and was not committed"

    def run_ends(self) -> None:
        """What was written counts as done."""
        begun = self.reference.at("taken")[:1] if self.reference.begun_bytes else []
        for record in begun:
            self.writes(record)
        forfeited = self.real.forfeit()
        assert forfeited == self.reference.forfeit()
        self.take(forfeited)
        self.next_run()

    def acknowledge(self, keys: list[tuple[int, int]]) -> None:
        """Whatever became of them, but for those that are dead."""
        for record in self.take(keys):
            assert record.sequence not in self.dead or record.void or record.sequence in self.letters_there

    def forget(self) -> None:
        """There is nothing to write again."""

    def assert_prefix(self, partition: int, offset: int) -> None:
        """Offsets go ahead of acknowledgements."""

    def finish(self) -> None:
        """Commit, write, do."""
        self.end_commit(True, True)
        self.begin_commit()
        self.end_commit(True, True)
        super().finish()

    def assert_kept(self) -> None:
        """What we took, kept, and committed was written, or put aside."""
        for (partition, epoch), offsets in self.acknowledged.items():
            if epoch == self.reference.epochs[partition] and self.reference.states[partition] == "owned":
                for key in ((partition, offset) for offset in offsets):
                    assert self.values[key] is None or self.written[key] + self.letters[key] == 1


class ExactlyOnce(LedgerMachine):
    """`exactly-once`: lines, letters and offsets are committed together."""

    transactional = True

    def __init__(self) -> None:
        super().__init__()
        self.in_topic: Counter[tuple[int, int]] = Counter()  # committed lines of each record
        self.letters_in_it: list[Record] = []  # the open transaction has a letter of these
        self.framed = 0  # outputs before it are of runs that are over, and were taken out of STDOUT
        self.cut: int | None = None  # outputs before it are in the transaction that is offered
        self.offsets: dict[int, int] = {}
        self.committed_outputs = 0
        self.void = False
        self.abort_owed = False

    @initialize(
        records=st.sampled_from([200, 5]),
        nbytes=st.sampled_from([ALL, 3000]),
        newlines=st.sampled_from(["space", "reject"]),
        prefix=st.sampled_from(PREFIXES),
    )
    def open(self, records: int, nbytes: int, newlines: str, prefix: bytes) -> None:
        """INPUT_NEWLINES=split is refused."""
        super().open(records, nbytes, newlines, prefix)

    def settle(self) -> None:
        """Acknowledged is what is committed."""

    @property
    def may_write_before(self) -> int:
        """Nothing is written behind a dead record before all that is before it is committed."""
        return self.real.dead_limit

    @invariant()
    def nothing_dead_is_before_a_line(self) -> None:
        """Of those that were written, or begun."""
        passed = [record.sequence for record in self.reference.at("written", "answered") if record.line]
        last = self.reference.cursor if self.reference.begun_bytes else max(passed, default=0)
        dead = [record for record in self.reference.records if record.dead and record.sequence < last]
        assert not dead, f"something is written behind {dead[0]}"

    @precondition(lambda self: self.cut is None)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Nothing is taken out of STDOUT while a transaction ends."""
        super().deliver(data)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Lines of this run that were not framed yet are dropped; those of earlier ones have been counted."""
        if self.cut is None:
            kept = max(self.delivered, self.run.first_output)
            del self.outputs[data.draw(st.integers(min(kept, len(self.outputs)), len(self.outputs))) :]
        self.run_ends()

    def commit(self) -> None:
        """Offsets go with the transaction alone."""

    @rule(partition=A_PARTITION)
    def assign(self, partition: int) -> None:
        """Not before a transaction with its offsets ended one way or the other."""
        if self.cut is None:
            super().assign(partition)

    @rule(partition=A_PARTITION, lost=st.booleans())
    def revoke(self, partition: int, lost: bool) -> None:
        """Lines of its records that are done or under way have to be aborted."""
        owes = self.owned(partition) and self.real.in_flight_of(partition) > 0
        super().revoke(partition, lost)
        if owes:
            self.abort_owed = True

    # ---------------------------------------------------------------- the transaction

    @rule(posted=st.booleans())
    def offer(self, posted: bool = False) -> None:
        """End the transaction behind what is delivered, if it may end there. More letters may be posted meanwhile."""
        if self.void or self.cut is not None or self.rule_broken:
            return
        if self.abort_owed:
            self.abort()
            return
        if self.waiting or self.delivered < self.framed:
            return
        if self.delivered and not self.outputs[self.delivered - 1].may_end:
            return
        mark = self.outputs[self.delivered - 1].mark if self.delivered else 0
        if posted:
            self.posts(1)
        self.offsets = self.real.offer(mark)
        assert self.offsets == self.reference.offer(mark)
        self.cut = self.delivered

    @rule(partition=A_PARTITION, values=SOME_VALUES)
    def serve_and_offer(self, partition: int, values: list[bytes | None]) -> None:
        """They are done, delivered, and about to be committed; after a lost transaction, by a new run."""
        if self.abort_owed:
            self.abort()
        if self.void:
            self.run_ends()
        self.serve(partition, values)
        if self.cut is None:
            self.delivers(len(self.outputs))
            self.letters_all_arrive()
            self.offer()

    @rule(accepted=st.booleans())
    def end_transaction(self, accepted: bool) -> None:
        """The broker commits it, or does not."""
        if self.cut is None:
            return
        if not accepted:
            self.abort()
            return
        self.broker |= self.offsets
        self.in_topic.update(output.of for output in self.outputs[self.committed_outputs : self.cut] if output.of)
        self.committed_outputs = self.cut
        self.cut = None
        with_letters, self.letters_in_it = self.letters_in_it, []
        for record in with_letters:
            super().letter_is_there(record)
            assert record.offset < self.offsets.get(record.partition, 0), f"the letter without the offset: {record}"
        committed = self.real.committed()
        assert committed == self.reference.committed()
        self.acknowledge(committed)

    @rule()
    def abort(self) -> None:
        """The transaction is lost: what was printed since the last commit does not count, nor do letters."""
        self.void, self.abort_owed, self.cut = True, False, None
        self.waiting.clear()
        self.letters_in_it.clear()
        self.letters_told(self.issued)

    @precondition(lambda self: self.void and self.real.lines_in_flight == 0)
    @rule()
    def recall(self) -> None:
        """It had letters alone: the run goes on, and they are posted again."""
        self.begins_anew(self.reference.last_mark)

    def begins_anew(self, mark: int) -> None:
        """Everything since the last commit is written again."""
        self.abort_owed = self.void = False
        self.done.clear()
        self.committed_outputs = self.delivered = len(self.outputs)
        self.real.void()
        self.reference.recall_letters()
        self.reference.committing = 0
        assert self.real.rewind_marks(mark, False) == self.reference.rewind_marks(mark, False)

    def run_ends(self) -> None:
        """Lines that no acknowledgement covers void the transaction, unless it is being committed already."""
        if self.cut is not None:
            del self.outputs[self.cut :]
        self.done = {sequence: outputs for sequence, outputs in self.done.items() if outputs <= len(self.outputs)}
        if not self.void and self.cut is None and self.leaves_lines():
            self.abort()
        if self.void:
            self.begins_anew(self.outputs[-1].mark if self.outputs else 0)
        else:
            self.rewind_marks(trusted=not self.rule_broken)
        self.next_run()
        self.framed = len(self.outputs)

    def leaves_lines(self) -> bool:
        """Whether the open transaction has lines that no acknowledgement covers."""
        return self.rule_broken or (self.ack_mode == "marker" and self.outputs != [] and not self.outputs[-1].may_end)

    # ---------------------------------------------------------------- dead letters

    def posts(self, count: int) -> None:
        """None while the transaction that they would belong to is lost."""
        if not self.void:
            super().posts(count)

    @precondition(lambda self: self.waiting and self.cut is None)
    @rule(data=st.data())
    def deliver_letter(self, data: st.DataObject) -> None:
        """One that comes while a transaction ends belongs to the next one."""
        super().deliver_letter(data)

    def letters_all_arrive(self) -> None:
        """Likewise."""
        if self.cut is None:
            super().letters_all_arrive()

    def letter_is_there(self, record: Record) -> None:
        """When its transaction is committed."""
        self.letters_in_it.append(record)

    @precondition(lambda self: self.waiting)
    @rule()
    def refuse_letter(self) -> None:
        """The dead letter stream does not take one: its transaction is lost, and it is posted again."""
        self.abort()

    @rule(partition=A_PARTITION, asked=st.sampled_from(["", "before", "after"]))
    def letter_outlives_the_run(self, partition: int, asked: str) -> None:
        """It is under way when the run ends, and its partition is asked back before that or after."""
        self.serve_and_offer(partition, [b"a"])
        self.end_transaction(accepted=True)
        self.flow(partition, [b"d\ne"])
        if self.reference.input_newlines == "space":
            self.run_ends()
            self.bury("", lost=False)
            self.write(ALL, 1024)
        self.posts(ALL)
        if asked == "before":
            self.drain(partition)
        self.run_ends()
        if asked == "after":
            self.drain(partition)
        if self.cut is None:
            self.delivers(len(self.outputs))
            self.letters_all_arrive()
        self.offer()

    # ---------------------------------------------------------------- what it promises

    def assert_prefix(self, partition: int, offset: int) -> None:
        """The offsets stored are those of the transactions."""

    def finish(self) -> None:
        """As often as it takes: one transaction may have to be aborted, each dead record may need one of its own."""
        for _ in range(3 + 2 * len(self.every_record())):
            self.end_transaction(True)
            if self.abort_owed:
                self.abort()
            if self.void:
                self.run_ends()
            super().finish()
            self.offer()
        self.end_transaction(True)

    def assert_kept(self) -> None:
        """A record's lines, or its letter, are there once if it is committed, and not at all if it is not."""
        for key, value in self.values.items():
            expected = int(value is not None and key[1] < self.broker.get(key[0], 0))
            there = self.in_topic[key] + self.letters[key]
            assert there == expected, f"{key} is {there} times in the topics, not {expected}"
