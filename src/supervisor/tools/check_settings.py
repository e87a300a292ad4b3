"""The first part of ``supervisor check``: every setting, its value, where that comes from, what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final

from supervisor import kafka, program
from supervisor.errors import SettingsError, SupervisorError
from supervisor.settings import PREFIX, SECRET_VARIABLES, Options, Settings, variable_name, variables
from supervisor.tools.findings import ERROR, OK, WARNING, Finding

MASK: Final = "***"

HOW_TO_GIVE_A_PROGRAM: Final = (
    "give the Calculator as a start does: --bin PROGRAM --args A,B or -- PROGRAM ARG…, or set PROGRAM"
)


class SettingsCheck:
    """Settings as a start would read them; ``settings`` is None if a start would refuse them.

    ``kafka_problems``: what the Kafka client refuses of them. Without a program everything else is checked.
    """

    def __init__(self, environ: Mapping[str, str], options: Options) -> None:
        self._environ = environ
        self._options = options
        self._has_program = bool(options.program or self._given("PROGRAM"))
        self.settings: Settings | None = None
        self.program_error: SupervisorError | None = None
        asked = options if self._has_program else Options(MASK, options.args, options.problems)
        try:
            self.settings = Settings.load(environ, asked)
        except SettingsError as error:
            self._problems = list(error.problems)
            self._notes: list[str] = []
            self.kafka_problems: list[str] = []
        else:
            mechanism = kafka.sasl_problem(self.settings.kafka_sasl_mechanism)
            self.kafka_problems = [*([mechanism] if mechanism else []), *kafka.option_problems(self.settings)]
            self._problems = [*self.kafka_problems]
            self._notes = list(self.settings.notes)

    def findings(self, in_kv: Mapping[str, str] | None = None) -> Iterator[Finding]:
        """Yield a finding for each setting, then what is of none of them. ``in_kv``: of the KV directory, by key."""
        for field, variable in variables():
            name = variable_name(field)
            if name != "PROGRAM":
                key = name.lower()
                kv = (in_kv or {}).get(key) if variable.kv else None
                default = variable.default if variable.default is not None else variable.unset or None
                yield self._setting(name, default, kv)
        for left, level in ((self._problems, ERROR), (self._notes, WARNING)):
            for line in left:
                name, _, words = line.partition(": ")
                yield Finding(name, level, message=words)
        yield self._program()

    def _given(self, name: str, *, passed_over: str = "") -> tuple[str, str] | None:
        spellings = (met for met in (name, PREFIX + name) if self._environ.get(met) and met != passed_over)
        return next(((met, self._environ[met]) for met in spellings), None)

    def _setting(self, name: str, default: str | None, in_kv: str | None) -> Finding:
        problems, notes = _taken(self._problems, name), _taken(self._notes, name)
        given = self._given(name)
        if given is not None and any(note.startswith(f"{given[0]}: ") for note in notes):
            given = self._given(name, passed_over=given[0])
        spelled, value = given or (name, default)
        source = "default" if given is None else "environment" if spelled == name else f"environment, {spelled}"
        if in_kv is not None:
            value, source = in_kv, "KV"
        elif given is not None and value:
            value = self._masked(name, value)
        level = ERROR if problems else WARNING if notes else OK
        words = "; ".join(line.partition(": ")[2] for line in (*problems, *notes))
        return Finding(name, level, value, source, words or None)

    def _masked(self, name: str, value: str) -> str:
        if name == "KAFKA_OPTIONS" and self.settings is not None:
            secrets = self.settings.secrets
            options = self.settings.kafka_options.items()
            return ",".join(f"{option}={MASK if text in secrets else text}" for option, text in options)
        if name in SECRET_VARIABLES:
            return MASK
        return re.sub(r"//[^/@]*@", f"//{MASK}@", value)

    def _program(self) -> Finding:
        if not self._has_program:
            return Finding("program", WARNING, message="no program is given here", hint=HOW_TO_GIVE_A_PROGRAM)
        given = self._given("PROGRAM")
        wanted = self._options.program or (given[1] if given else "")
        source = "command line" if self._options.program else "environment"
        try:
            found = program.find(wanted, self._environ.get("PATH", os.defpath))
        except SupervisorError as error:
            self.program_error = error
            return Finding("program", ERROR, wanted, source, str(error).removeprefix("--bin: "), HOW_TO_GIVE_A_PROGRAM)
        shown = found if found == wanted else f"{wanted}, found as {found}"
        return Finding("program", OK, " ".join((shown, *self._options.args)), source)


def _taken(lines: list[str], name: str) -> list[str]:
    """Take those of this variable, in either spelling, out of ``lines``."""
    found = [line for line in lines if line.partition(": ")[0] in (name, PREFIX + name)]
    lines[:] = [line for line in lines if line not in found]
    return found
