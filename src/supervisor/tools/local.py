"""What commands have in common that run a program without the platform: its settings, its program, STDOUT.

Of the environment they take what decides how records are handled, and ignore what leads to Kafka and Consul: so they
work, and do the same, in an image that is not deployed yet, and beside one that is.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping

from supervisor import program
from supervisor.errors import SettingsError
from supervisor.settings import PREFIX, Options, Settings, variable_name, variables
from supervisor.words import Words

_PLATFORM = ("KAFKA_", "CONSUL_", "HTTP_", "NODE_ID")


def settings(
    words: Words, environ: Mapping[str, str], ours: Mapping[str, str], defaults: Mapping[str, str]
) -> Settings:
    """Return what holds: ``ours``, then the environment but for the platform's part, then ``defaults``.

    Raise SettingsError with every problem: wrong settings, no program, and what needs a real Kafka.
    """
    given = {
        name: environ[spelled]
        for name in (variable_name(field) for field, _ in variables())
        for spelled in (PREFIX + name, name)
        if environ.get(spelled) and not name.startswith(_PLATFORM)
    }
    if given.get("PROCESSING_GUARANTEE", "").lower() == "exactly-once":
        why = (
            "PROCESSING_GUARANTEE: met 'exactly-once'; the embedded cluster has no transactions, so it can show nothing"
            " of them: take at-least-once here, and exactly-once on a real Kafka"
        )
        raise SettingsError([why])
    return Settings.load({**defaults, **given, **ours}, Options(program=words.program, args=tuple(words.args)))


def check_program(made: Settings) -> None:
    """Raise ProgramNotFoundError (127) or ProgramNotExecutableError (126) if it cannot be started."""
    program.find(made.program, os.environ.get("PATH", os.defpath))


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, however long that takes."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # it is shared with somebody who wants it so
            select.select([], [fd], [])
