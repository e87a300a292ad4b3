"""``supervisor check [--connect]``: what a start would meet, said before it starts. Changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from supervisor import kafka, logs
from supervisor.settings import Options, Settings
from supervisor.tools import check_consul, check_kafka, commands, findings
from supervisor.tools.check_consul import Seen
from supervisor.tools.check_settings import MASK, SettingsCheck
from supervisor.tools.cluster import Cluster
from supervisor.tools.findings import ERROR, Finding, not_checked

HELP: Final = """\
usage: supervisor check [--connect] [--json] [--bin PROGRAM [--args A,B,C]...]
       supervisor check [--connect] [--json] [-- PROGRAM ARG...]

Shows every setting, its value (secrets masked), where it comes from and what is
wrong with it, and whether the program is found. Nothing is started or changed.

  --connect   also asks Consul (agent, token's rights, KV directory, route) and
              Kafka (brokers, topics, rights, consumer group, size limits). It
              creates no topic, joins no group, and ends within 15 s whatever
              does not answer. What cannot be seen is "not checked".
  --json      one object: {"ok": ..., "results": [{"name", "level", "value",
              "source", "message", "hint"}]}; level is ok, warning, error or
              skipped

exit status: 0 nothing is wrong, 1 something is, 2 wrong use; 126 or 127 if all
that is wrong is a program that cannot be executed or is not there.
"""

DEADLINE_S: Final = 10.0
"""For all that is asked, from the start of the command on; the rest of 15 s is for a start on a busy machine."""


_NOT_WITH_ERRORS: Final = "a start would refuse the settings"


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit status, or end the process with it."""
    end_s = time.monotonic() + DEADLINE_S
    given = commands.parse(words, {"--connect": "", "--json": ""}, program=True)
    check = SettingsCheck(os.environ, Options(given.program, tuple(given.args)))
    seen, asked = Seen(), list[Finding]()
    connect = "--connect" in given.given
    if connect and check.settings is None:
        asked = [not_checked(name, _NOT_WITH_ERRORS) for name in ("Consul", "Kafka")]
    elif connect and check.settings is not None:
        seen, asked = _connect(check.settings, end_s, without_kafka=bool(check.kafka_problems))
    found = [*check.findings(seen.in_kv), *asked]
    if "--json" in given.given:
        commands.print_json(findings.as_json(found))
    else:
        for line in (*findings.as_text(found), "", findings.summary(found)):
            print(line)
    status = _status(found, check)
    if connect:
        commands.leave(status)
    return status


def _status(found: Sequence[Finding], check: SettingsCheck) -> int:
    wrong = [finding for finding in found if finding.level == ERROR]
    if check.program_error is not None and len(wrong) == 1:
        return check.program_error.exit_code
    return 1 if wrong else 0


class _Peer:
    """What is asked of one peer, in a thread of its own that nobody waits for beyond the deadline."""

    def __init__(self, name: str, ask: Callable[[Callable[[Finding], object]], object]) -> None:
        self._name = name
        self._ask = ask
        self._found: list[Finding] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def findings(self, end_s: float) -> list[Finding]:
        """Return what was found by then."""
        self._thread.join(max(0.0, end_s - time.monotonic()))
        found = [*self._found]
        if self._error is not None:
            found.append(Finding(self._name, ERROR, message=f"asking it failed: {self._error!r}"))
        elif self._thread.is_alive():
            why = f"no answer within {DEADLINE_S:g} s; what is not said here was not checked"
            found.append(Finding(self._name, ERROR, message=why))
        return found

    def _run(self) -> None:
        try:
            self._ask(self._found.append)
        except Exception as error:  # noqa: BLE001 - it is what was found
            self._error = error


def _connect(settings: Settings, end_s: float, *, without_kafka: bool) -> tuple[Seen, list[Finding]]:
    """Ask both peers at once; Kafka's topics are known when Consul has told the route."""
    logs.configure("error", colors=False, log_format="console", secrets=settings.secrets)
    seen = Seen()
    told = threading.Event()

    def ask_consul(found: Callable[[Finding], object]) -> None:
        nonlocal seen
        try:
            seen = asyncio.run(check_consul.look(settings, found))
        finally:
            told.set()

    def ask_kafka(found: Callable[[Finding], object]) -> None:
        if without_kafka:
            found(not_checked("Kafka", _NOT_WITH_ERRORS))
            return
        try:
            cluster = Cluster(kafka.asking_properties(settings))
        except ValueError as error:
            found(Finding("Kafka client", ERROR, message=kafka.refusal(settings, "client", str(error))))
            return
        met = check_kafka.brokers(cluster, settings)
        found(met)
        if met.level == ERROR:
            for name in check_kafka.names(settings):
                found(not_checked(name, "no broker answers"))
            return
        for finding in check_kafka.group(cluster, settings):
            found(finding)
        told.wait(end_s - time.monotonic())
        in_force = settings.with_kv(seen.route.settings) if seen.route else settings
        if seen.route is None:
            found(not_checked("topics of the route", seen.why_none))
        for finding in check_kafka.topics(cluster, in_force, seen.route):
            found(finding)

    peers = [_Peer("Consul", ask_consul), _Peer("Kafka", ask_kafka)]
    found = [finding for peer in peers for finding in peer.findings(end_s)]
    return seen, [_masked(finding, settings.secrets) for finding in found]


def _masked(finding: Finding, secrets: Sequence[str]) -> Finding:
    texts = {}
    for name, text in dataclasses.asdict(finding).items():
        for secret in secrets:
            if text and secret:
                text = text.replace(secret, MASK)  # noqa: PLW2901
        texts[name] = text
    return Finding(**texts)
