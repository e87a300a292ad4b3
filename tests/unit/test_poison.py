"""Who is suspected to end the Calculator, and when that is certain."""

from __future__ import annotations

from supervisor.poison import Inquest, Suspect, Verdict

A, B = Suspect(0, 7), Suspect(1, 7)


def verdicts(*failures: tuple[Suspect | None, bool], max_attempts: int = 3) -> list[Verdict]:
    inquest = Inquest()
    return [inquest.failed(suspect, alone=alone, max_attempts=max_attempts) for suspect, alone in failures]


def test_the_same_record_through_all_attempts_is_isolated() -> None:
    """And found guilty when it fails alone."""
    nothing, isolate, guilty = Verdict.NOTHING, Verdict.ISOLATE, Verdict.GUILTY
    assert verdicts((A, False), (A, False), (A, False), (A, True)) == [nothing, nothing, isolate, guilty]
    assert verdicts((A, False), (A, True), max_attempts=1) == [isolate, guilty]


def test_another_record_begins_a_new_count() -> None:
    """Progress was made in between."""
    assert set(verdicts((A, False), (A, False), (B, False), (A, False), (A, False))) == {Verdict.NOTHING}


def test_the_guilty_one_need_not_be_the_first_suspected() -> None:
    """What the Calculator had read ahead is tried one by one: the first ones are answered."""
    assert verdicts((A, False), (A, False), (A, False), (B, True))[-1] is Verdict.GUILTY


def test_a_start_that_fails_accuses_nobody() -> None:
    """Nothing of what was written had been read; it does not wipe the count either."""
    assert verdicts((None, False), (None, True)) == [Verdict.NOTHING] * 2
    assert verdicts((A, False), (A, False), (None, False), (A, False))[-1] is Verdict.ISOLATE
