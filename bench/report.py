"""The page of results."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench import kernels
from bench.pipelines import KCAT_CONSUMER, KCAT_PRODUCER, SED


class Sample(NamedTuple):
    """What one run gave. CPU is that of the subject's processes, its child included, the broker apart."""

    records_per_s: float
    cpu_us_per_record: float
    broker_us_per_record: float
    peak_bytes: int
    others_cores: float

    def __str__(self) -> str:
        return f"{self.records_per_s / 1000:.0f} k/s, {self.cpu_us_per_record:.2f} CPU s per million"


class Table(NamedTuple):
    """The samples of each subject under one title."""

    title: str
    samples: Mapping[str, list[Sample]]


def page(environment: Mapping[str, str], tables: list[Table], isa: str, rows: list[kernels.Row]) -> str:
    """Everything as Markdown."""
    parts = ["# Results", "", "Written by `make bench`.", ""]
    parts += [f"- {name}: {value}" for name, value in environment.items()]
    parts += ["", *_HOW, ""]
    for table in tables:
        parts += [*_table(table), ""]
    parts += [*_kernels(isa, rows), ""]
    return "\n".join(parts)


_HOW = f"""\
Every subject takes varied lines that do not repeat from one topic through `cat` to another. Before anything is timed,
its output for 100,000 of them is read back: the lines, taken out of their envelopes, are those that went in, in order.
Runs are interleaved in a changing order; a cell is the median, then the lowest and the highest run. Records a second:
from the first record seen in the outgoing topic to the last, by its high watermark. CPU: of all the subject's processes
from the release of the flow until the last record is there, `cat` included; the broker's CPU stands apart. Memory: the
sum of the processes' peak resident sets. Others: cores that processes which do not belong to the benchmark used
meanwhile; where that is not near 0, the records a second say little and the CPU per record is what to compare.

The Supervisor runs as `python -m supervisor` with its defaults, so with acknowledgement, replay and commits on. The
kcat pair has neither these nor an envelope. Its tuning:

    kcat -C -e {shlex.join(KCAT_CONSUMER)} … |
      cat | kcat -P {shlex.join(KCAT_PRODUCER)} …

with pipes of 1 MiB. With sed, this stands behind `cat`:

    {shlex.join(SED[1:])}

The Python loop is `bench/loop.py`.""".splitlines()


def _table(table: Table) -> list[str]:
    lines = [
        f"## {table.title}",
        "",
        "| subject | thousand records/s | CPU s per million records | broker's CPU s per million | peak MiB | others |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, samples in table.samples.items():
        cells = (
            _spread(samples, lambda sample: sample.records_per_s / 1000, 0),
            _spread(samples, lambda sample: sample.cpu_us_per_record, 2),
            _spread(samples, lambda sample: sample.broker_us_per_record, 2),
            _spread(samples, lambda sample: sample.peak_bytes / 2**20, 0),
            _spread(samples, lambda sample: sample.others_cores, 1),
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    first, *others = table.samples
    lines.append("")
    for other in others:
        faster = _ratio(table, first, other, lambda sample: sample.records_per_s)
        cheaper = _ratio(table, first, other, lambda sample: sample.cpu_us_per_record)
        lines.append(
            f"- {first} to {other}: {faster:.2f} times the records a second, {cheaper:.2f} times the CPU per record"
        )
    return lines


def _ratio(table: Table, one: str, other: str, figure: Callable[[Sample], float]) -> float:
    return statistics.median(map(figure, table.samples[one])) / statistics.median(map(figure, table.samples[other]))


def _spread(samples: list[Sample], figure: Callable[[Sample], float], digits: int) -> str:
    figures = [figure(sample) for sample in samples]
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f}-{max(figures):.{digits}f})"


def _kernels(isa: str, rows: list[kernels.Row]) -> list[str]:
    lines = [
        "## Framing alone",
        "",
        "Newline scan, UTF-8 check, escape or JSON check, envelope: GB/s of lines on one core; medians. Beside it",
        "orjson called from Python for each line.",
        "",
        f"| lines | scalar | {isa} | orjson |",
        "| --- | --- | --- | --- |",
    ]
    return lines + [f"| {row.what} | {row.scalar:.2f} | {row.best:.2f} | {row.python_orjson:.2f} |" for row in rows]
