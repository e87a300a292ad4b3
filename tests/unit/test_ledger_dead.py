"""Dead records in the ledger, case by case: what waits for a letter. Any order: test_ledger_model."""

from __future__ import annotations

from supervisor._framing import Ledger

ALL = 1 << 30
REJECTED = b"x\ny"


def ledger(*, partitions: int = 1) -> Ledger:
    """Return a ledger that counts lines and rejects newlines, with partitions 0 to ``partitions`` - 1 assigned."""
    made = Ledger(100, ALL, "reject", ack_mode="line")
    for partition in range(partitions):
        made.assign(partition)
    return made


def test_nothing_behind_a_dead_record_goes_before_its_letter_is_there() -> None:
    """Though it is answered and delivered."""
    made = ledger()
    for offset, value in enumerate([b"a", REJECTED, b"b"]):
        made.append(0, offset, value)
    assert made.write(ALL) == b"a\nb\n"
    assert made.deliver_mark(2) == [(0, 0)]
    assert made.post(1, 10) == [1]
    assert made.deliver_mark(2) == []
    made.deliver_letters(1)
    assert made.deliver_mark(2) == [(0, 1), (0, 2)]
    assert made.stored() == {0: 3}


def test_a_record_is_buried_only_if_it_is_the_first_to_be_written() -> None:
    """It was suspected, and its partition went before the verdict."""
    made = ledger(partitions=2)
    made.append(0, 0, b"suspect")
    made.append(1, 0, b"next")
    made.write(ALL)
    assert made.rewind_marks(0) == 2
    made.revoke(0)
    assert not made.bury(0, 0)
    assert made.write(ALL) == b"next\n"
    assert made.dead == (0, 0)


def test_no_offset_passes_a_record_that_was_left_to_the_next_owner() -> None:
    """The Calculator dies while the partition drains: the unanswered one is left, and a dead one behind it is done."""
    made = ledger()
    made.append(0, 0, b"unanswered")
    made.append(0, 1, REJECTED)
    made.write(ALL)
    assert made.post(1, 10) == [1]
    made.drain(0)
    assert made.rewind_marks(0) == 2
    made.deliver_letters(1)
    assert made.write(ALL) == b""
    assert made.deliver_mark(0) == [(0, 0), (0, 1)]
    assert made.stored() == {}, "who gets the partition reads both"


def test_in_a_transaction_nothing_is_written_behind_a_dead_record_that_was_passed() -> None:
    """It waits behind one that needs no letter any more, because that one's partition was lost."""
    made = ledger(partitions=2)
    made.append(0, 0, REJECTED)
    made.append(1, 0, REJECTED)
    made.append(1, 1, b"behind")
    made.revoke(0)
    assert made.write(ALL, before=made.dead_limit) == b""
    assert made.sequence == (0, 0, 2, 3)
    assert made.post(1, 1, transactional=True) == [1], "of the one that was lost there is none"
    assert made.dead_limit == 2
