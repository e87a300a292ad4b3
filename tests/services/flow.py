"""Numbered records on their way through a Supervisor, and what has to hold of them whatever the brokers did."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .peers import Persistence
from .supervised import Supervised
from .topics import Kafka


class Flow:
    """Records 0, 1, 2 … of an incoming topic, which the Calculator passes on to an outgoing one as they are."""

    def __init__(self, kafka: Kafka, process: Supervised, group: str, incoming: str, outgoing: str) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self._kafka = kafka
        self._process = process
        self._group = group
        self._sent = 0
        self._pid: int | None = None

    def send(self, count: int) -> None:
        """Append so many records to the incoming topic."""
        self._kafka.produce(self.incoming, (b"%d" % (self._sent + number) for number in range(count)))
        self._sent += count

    def flows(self, at_least: int = 1, deadline_s: float = 30.0) -> None:
        """Wait until so many lines are delivered; from then on the Calculator has to be the same."""
        self._process.wait_counter("outlet", "lines_delivered", at_least, deadline_s)
        self._pid = self._process.status()["calculator_pid"]

    def trouble(self, *said: str, deadline_s: float = 30.0) -> str:
        """Wait until the Supervisor's check fails with all of these words in lower case; returns its sentence."""
        self._process.wait_status(
            lambda status: (
                status["checks"]["supervisor"]["status"] != "passing"
                and all(words in status["checks"]["supervisor"]["output"].lower() for words in said)
            ),
            f"the check fails and says {said}",
            deadline_s,
        )
        output: str = self._process.status()["checks"]["supervisor"]["output"]
        return output

    def passes(self, deadline_s: float = 30.0) -> None:
        """Wait until the Supervisor's check passes."""
        self._process.wait_status(
            lambda status: status["checks"]["supervisor"]["status"] == "passing", "the check passes", deadline_s
        )

    def arrived(
        self,
        *,
        first: int = 0,
        once: bool = False,
        well: bool = True,
        same_calculator: bool = True,
        deadline_s: float = 30.0,
    ) -> None:
        """Wait until everything sent is committed; then it has to be there, ``once`` or more often.

        ``first``: of the records sent only those from this one on. ``well``: the check passes in the end.
        ``same_calculator``: it was not restarted meanwhile.
        """
        self._kafka.wait_committed(self._group, self.incoming, self._sent, deadline_s)
        seen = Counter(int(frame.value) for frame in Persistence(self._kafka, self.outgoing).read())
        missing = set(range(first, self._sent)) - set(seen)
        assert not missing, f"{len(missing)} records are committed and not there: {sorted(missing)[:10]}"
        doubled = [number for number, times in seen.items() if times > 1]
        assert not (once and doubled), f"{len(doubled)} records came twice: {sorted(doubled)[:10]}"
        if well:
            self.passes(deadline_s)
        if same_calculator:
            self.same_calculator()

    def in_order(self) -> None:
        """Of what has arrived over one partition, a record that came twice counts where it came first."""
        first = dict.fromkeys(int(frame.value) for frame in Persistence(self._kafka, self.outgoing).read())
        assert list(first) == sorted(first), "out of order"

    def same_calculator(self) -> None:
        """Nothing that a broker does ends the Calculator."""
        status: dict[str, Any] = self._process.status()
        assert status["calculator_pid"] == self._pid, "the Calculator was restarted"
