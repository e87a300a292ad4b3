"""``supervisor redrive``: dead letters back to the topic and partition they came from."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from supervisor import kafka, values
from supervisor.errors import KafkaError, SettingsError
from supervisor.settings import PREFIX, Options, Settings
from supervisor.tools import commands
from supervisor.tools.letters import Filter, Letter, Span, places
from supervisor.tools.redrive_run import Redrive
from supervisor.words import Words

HELP: Final = """\
usage: supervisor redrive [--yes] [--stream TOPIC] [--from PLACES] [FILTER]...

Sends dead letters back to the topic and partition they came from, with the
headers they had, and counts the times in the header supervisor.redrives. Reads
the dead letter stream to the ends it has now and commits nothing: without
--from each run begins at the beginning. At least once: one that is not
confirmed is sent again by the next run. Truncated lines stay where they are.

  --yes              do it; without it nothing is sent, and this is shown:
                     which letters there are and where they would go
  --stream TOPIC     the dead letter stream (else DEAD_LETTER_STREAM of the
                     environment; one in the KV directory is not looked up)
  --from P:O[,P:O]   begin at these offsets of its partitions, as a run prints
  --json             one object

filters; those that are given must all fit:
  --partition P[,P]  partitions of the dead letter stream
  --offsets A-B      offsets in it; A, A- and -B too
  --origin TOPIC[:P[:A-B]]   the topic, partition and offsets it came from
  --class NAME       what went wrong, such as CalculatorFailure
  --since TIME       dead since then: 2026-11-27T10:00:00Z, or 2h for two hours
  --until TIME       dead before then

The Kafka user needs Read on the dead letter stream and Write on the topics
that letters go back to (and IdempotentWrite on brokers before 3.0). Of the
settings only those of Kafka are read.

exit status: 0 done, 1 not all of it, 2 wrong use; a signal ends it with the
place to go on from.
"""

_OPTIONS: Final = {
    "--yes": "",
    "--json": "",
    "--stream": "a topic",
    "--from": "partition:offset, separated by commas",
    "--partition": "numbers, separated by commas",
    "--offsets": "offsets such as 10-20",
    "--origin": "TOPIC[:PARTITION[:OFFSETS]]",
    "--class": "the name of a class, such as CalculatorFailure",
    "--since": "a time",
    "--until": "a time",
}
_SHOWN: Final = 20
_LISTED: Final = 1000
_PROGRESS_S: Final = 5.0

_WHY_NOT: Final = {
    "truncated": "truncated: only the beginning of a line",
    "no dead letter": "no dead letters: without the header of a topic to go back to",
    "no dataframe": "bare lines that were too large for a dataframe",
}


def main(words: Sequence[str]) -> int:
    """Run the command; end the process with its status."""
    given = commands.parse(words, _OPTIONS)
    wanted, begin = _filter(given, time.time()), _begin(given.given.get("--from"))
    settings = _settings(os.environ, given)
    stream = settings.dead_letter_stream
    if stream is None:
        raise commands.WrongUseError(
            "--stream: not given (nor DEAD_LETTER_STREAM set); expected the dead letter stream"
        )
    sends, as_json = "--yes" in given.given, "--json" in given.given
    listing = _Listing(stream, prints=not as_json)
    try:
        redrive = Redrive(settings, stream, wanted, begin, sends=sends, told=listing.add, progress=_Progress())
    except (KafkaError, ValueError) as error:
        why = kafka.refusal(settings, "client", str(error)) if isinstance(error, ValueError) else str(error)
        print(_plain(f"supervisor redrive: {why}"), file=sys.stderr)
        commands.leave(1)
    signum = _run(redrive)
    status = _report(redrive, listing, as_json=as_json, sends=sends)
    if signum is not None:
        sys.stdout.flush()
        raise commands.Ended(signum)
    commands.leave(status)


def _run(redrive: Redrive) -> int | None:
    """Run it to its end; return the signal that asked for an end before. The same one again ends the process."""
    met: list[int] = []

    def interrupt(signum: int, _frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        met.append(signum)
        redrive.interrupted = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        redrive.run()
    except KafkaError as error:
        redrive.problems.append(str(error))
    redrive.finish()
    if met:
        redrive.problems.append(f"interrupted by {signal.Signals(met[0]).name}")
    return met[0] if met else None


class _Listing:
    """The letters that were asked for: the first of them one by one."""

    def __init__(self, stream: str, *, prints: bool) -> None:
        self.letters: list[dict[str, Any]] = []
        self._stream = stream
        self._prints = prints
        self._met = 0

    def add(self, letter: Letter, why_not: str | None) -> None:
        """Take one, and print it if it is among the first."""
        self._met += 1
        at = datetime.fromtimestamp(letter.timestamp_ms / 1000, UTC).isoformat(timespec="seconds")
        if self._prints and self._met <= _SHOWN:
            target = f"not sent, {why_not}" if why_not else _target(letter)
            before = f"  redriven {letter.redrives} times before" if letter.redrives else ""
            print(_plain(f"{letter.place(self._stream)} -> {target}  {letter.cause}  {at}{before}"))
        elif self._prints and self._met == _SHOWN + 1:
            print("...")
        if not self._prints and self._met <= _LISTED:
            self.letters.append(
                {
                    "partition": letter.partition,
                    "offset": letter.offset,
                    "time": at,
                    "class": letter.cause,
                    "origin": {
                        "topic": letter.origin_topic,
                        "partition": letter.origin_partition,
                        "offset": letter.origin_offset,
                    },
                    "redrives": letter.redrives,
                    "not_sent": why_not,
                }
            )


class _Progress:
    """A line on STDERR now and then, for a run that takes its time."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _PROGRESS_S

    def __call__(self, redrive: Redrive) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s += _PROGRESS_S
            print(f"{redrive.read:,} read, {redrive.sent:,} sent and confirmed", file=sys.stderr, flush=True)


def _target(letter: Letter) -> str:
    if letter.origin_partition is None:
        return f"{letter.origin_topic}, any partition"
    return f"{letter.origin_topic}[{letter.origin_partition}], was @{letter.origin_offset}"


def _report(redrive: Redrive, listing: _Listing, *, as_json: bool, sends: bool) -> int:
    """Say what became of it; return the exit status."""
    place = places(redrive.positions)
    if as_json:
        commands.print_json(
            {
                "ok": not redrive.problems,
                "dry_run": not sends,
                "read": redrive.read,
                "matching": redrive.wanted,
                "targets": dict(redrive.targets),
                "sent": redrive.sent,
                "not_sent": dict(redrive.not_sent),
                "problems": redrive.problems,
                "from": place if sends else None,
                "letters": listing.letters,
            }
        )
        return 1 if redrive.problems else 0
    print(f"{redrive.read:,} letters on {redrive.partitions} partitions, {redrive.wanted:,} asked for")
    for reason, count in redrive.not_sent.items():
        print(f"  {count:,} {_WHY_NOT[reason]}: left where they are")
    for topic, count in redrive.targets.items():
        print(_plain(f"  {count:,} {'go back' if sends else 'would go back'} to {topic}"))
    for problem in redrive.problems:
        print(_plain(f"problem: {problem}"))
    if sends:
        print(f"{redrive.sent:,} sent and confirmed; to go on from here: --from {place}")
    else:
        print("nothing was sent; with --yes it is done")
    return 1 if redrive.problems else 0


def _settings(environ: Mapping[str, str], given: Words) -> Settings:
    """Those of Kafka alone: what is wrong with others is not this command's affair."""
    kept = {
        name: value
        for name, value in environ.items()
        if name.removeprefix(PREFIX).startswith("KAFKA_") or name.removeprefix(PREFIX) == "DEAD_LETTER_STREAM"
    }
    if "--stream" in given.given:
        kept["DEAD_LETTER_STREAM"] = given.given["--stream"]
    settings = Settings.load(kept | {"NODE_ID": "redrive"}, Options(program="redrive"))
    mechanism = kafka.sasl_problem(settings.kafka_sasl_mechanism)
    problems = [*([mechanism] if mechanism else []), *kafka.option_problems(settings)]
    if problems:
        raise SettingsError(problems)
    return settings


def _filter(given: Words, now_s: float) -> Filter:
    found, problems = given.given, list[str]()

    def read(name: str, parse: Any) -> Any:
        try:
            return parse(found[name]) if name in found else None
        except ValueError as error:
            problems.append(f"{name}: met {found[name]!r}; {error}")
            return None

    partitions = read("--partition", lambda text: frozenset(values.whole(item) for item in text.split(",")))
    offsets = read("--offsets", _span)
    origin = read("--origin", _origin) or (None, None, None)
    since_ms = read("--since", lambda text: _time_ms(text, now_s))
    until_ms = read("--until", lambda text: _time_ms(text, now_s))
    if problems:
        raise commands.WrongUseError(*problems)
    return Filter(partitions, offsets or Span(), found.get("--class"), since_ms, until_ms, *origin)


def _begin(text: str | None) -> dict[int, int]:
    found: dict[int, int] = {}
    for item in text.split(",") if text is not None else ():
        match = re.fullmatch(r"(\d{1,9}):(\d{1,18})", item.strip(), re.ASCII)
        if not match:
            raise commands.WrongUseError(
                f"--from: met {text!r}; expected partition:offset, separated by commas: 0:12,1:4"
            )
        found[int(match[1])] = int(match[2])
    return found


def _span(text: str) -> Span:
    match = re.fullmatch(r"(\d{0,18})(-?)(\d{0,18})", text, re.ASCII)
    if not match or not (match[1] or match[3]):
        raise ValueError("expected offsets: 10, 10-20, 10- or -20")
    first = int(match[1]) if match[1] else None
    last = int(match[3]) if match[3] else None if match[2] else first
    if first is not None and last is not None and last < first:
        raise ValueError("the last offset is before the first")
    return Span(first, last)


def _origin(text: str) -> tuple[str, int | None, Span | None]:
    topic, _, rest = text.partition(":")
    partition, _, offsets = rest.partition(":")
    if not topic:
        raise ValueError("expected TOPIC, TOPIC:PARTITION or TOPIC:PARTITION:OFFSETS")
    return topic, values.whole(partition) if rest else None, _span(offsets) if offsets else None


def _time_ms(text: str, now_s: float) -> int:
    try:
        return int((now_s - values.duration_s(text)) * 1000)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a time, such as 2026-11-27T10:00:00Z, or how long ago, such as 2h30m") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
