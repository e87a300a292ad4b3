"""The error tree: every error the Supervisor raises on purpose, translated where the outside comes in.

A message says what was met, where, and what to do about it. ``exit_code`` is the process's exit status when the error
ends it; ``retriable`` tells a loop whether trying again can help.
"""

from __future__ import annotations

from collections.abc import Sequence


class SupervisorError(Exception):
    """Base of all errors raised by the Supervisor."""

    exit_code = 1
    retriable = False


class SettingsError(SupervisorError):
    """Wrong settings; ``problems`` has one line for each, naming the variable, what was met and what is expected."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ProgramNotFoundError(SupervisorError):
    """The Calculator's executable does not exist; 127 is the shell's status for it."""

    exit_code = 127


class ProgramNotExecutableError(SupervisorError):
    """The Calculator's executable exists and cannot be executed; 126 is the shell's status for it."""

    exit_code = 126


class AgentError(SupervisorError):
    """The Consul agent did not do what was asked."""


class AgentUnavailableError(AgentError):
    """The agent did not answer, answered too late, or with a 5xx or 429: try again later."""

    retriable = True


class AgentRefusedError(AgentError):
    """The agent understood and refused (403, 404, bad request): trying again as it is does not help."""


class AgentSilentError(SupervisorError):
    """A request to the agent had no answer; the text is the reason in a few words."""


class RouteError(SupervisorError):
    """The KV directory holds a configuration that cannot be put in force; ``problems`` has one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class KafkaError(SupervisorError):
    """A Kafka client could not be created or reported a fatal error."""


class IllegalTransitionError(SupervisorError):
    """A state machine was asked for an edge that its table does not have: a bug in the Supervisor."""
