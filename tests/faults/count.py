"""Reads back what came out and counts: lost, doubled, out of order, and what nobody wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.services.peers import Frame

from .workload import Answer, value


@dataclass
class Count:
    """``replayed`` and ``resent`` are the extra copies: handled again, or the same written line sent twice.

    ``copies`` tells where the first of them lie.
    """

    lines: int = 0
    lost: list[Answer] = field(default_factory=list)
    replayed: list[Answer] = field(default_factory=list)
    resent: list[Answer] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def tell_copy(self, where: str, first: str) -> None:
        """Note a copy, if not enough are noted."""
        if len(self.copies) < 100:
            self.copies.append(f"{where} is a copy of {first}")

    def __str__(self) -> str:
        return (
            f"{self.lines} lines, {len(self.lost)} lost, {len(self.replayed)} replayed, {len(self.resent)} resent, "
            f"{len(self.disordered)} out of order, {len(self.foreign)} foreign"
        )


def _parse(line: str) -> tuple[str, int, Answer]:
    run, serial, part, text = line.split(" ", 3)
    partition, number, _ = text.split(" ", 2)
    answer = Answer(int(partition), int(number), int(part))
    if value(answer.partition, answer.number).decode() != text:
        raise ValueError("the line differs from the record")
    return run, int(serial), answer


def count(topics: Mapping[str, Sequence[Frame]], expected: Iterable[Answer], *, ordered: bool) -> Count:
    """Count the answers in all outgoing topics.

    Lines of one run must be in the order written within each outgoing partition; with ``ordered`` the first appearances
    of each incoming partition's answers must be in order too, which asks for one outgoing partition.
    """
    counted = Count()
    written: set[tuple[str, int]] = set()
    seen: dict[Answer, str] = {}
    last_serial: dict[tuple[str, int, str], int] = {}
    last_first: dict[int, Answer] = {}
    for topic, frames in topics.items():
        for frame in frames:
            counted.lines += 1
            try:
                run, serial, answer = _parse(frame.value)
            except (ValueError, AttributeError) as error:
                counted.foreign.append(f"{topic} {frame.record.partition}:{frame.record.offset} {error}: {frame.value}")
                continue
            where = f"{topic} {frame.record.partition}:{frame.record.offset}, {answer}, line {serial} of run {run}"
            if (run, serial) in written:
                counted.resent.append(answer)
                counted.tell_copy(where, seen[answer])
                continue
            written.add((run, serial))
            stream = (topic, frame.record.partition, run)
            if serial < last_serial.get(stream, -1):
                counted.disordered.append(f"{where} is behind line {last_serial[stream]}")
            last_serial[stream] = serial
            if answer in seen:
                counted.replayed.append(answer)
                counted.tell_copy(where, seen[answer])
                continue
            seen[answer] = f"{frame.record.partition}:{frame.record.offset} of run {run}"
            last = last_first.get(answer.partition)
            if ordered and last is not None and answer < last:
                counted.disordered.append(f"{where} appears first behind {last}")
            last_first[answer.partition] = answer
    wanted = set(expected)
    counted.lost = sorted(wanted - seen.keys())
    counted.foreign += [f"{answer} was never asked for" for answer in sorted(seen.keys() - wanted)]
    return counted


def ranges(answers: Sequence[Answer], most: int = 40) -> str:
    """Numbers as ranges, for people: ``partition 0: 5-9 12; partition 1: 7``."""
    found: dict[int, list[list[int]]] = {}
    for answer in sorted(set(answers)):
        spans = found.setdefault(answer.partition, [])
        if spans and answer.number <= spans[-1][1] + 1:
            spans[-1][1] = answer.number
        else:
            spans.append([answer.number, answer.number])
    parts = []
    for partition, spans in found.items():
        shown = " ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in spans[:most])
        parts.append(f"partition {partition}: {shown}{' …' if len(spans) > most else ''}")
    return "; ".join(parts) or "none"
