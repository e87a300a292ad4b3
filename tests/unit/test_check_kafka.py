"""What ``supervisor check`` makes of a cluster's answers that a test's broker does not give."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.route import Route
from supervisor.settings import Options, Settings
from supervisor.tools import check_kafka
from supervisor.tools.cluster import Group, Member, Refusal, Topic
from supervisor.tools.findings import ERROR, OK, SKIPPED, Finding, as_text, not_checked, summary

SETTINGS = Settings.load(
    {
        "NODE_ID": "w1",
        "KAFKA_DSN": "k",
        "DEAD_LETTER_STREAM": "dead",
        "PROCESSING_GUARANTEE": "exactly-once",
        "ACK_MODE": "line",
    },
    Options(program="cat"),
)
ALL = frozenset({"READ", "WRITE"})


class Cluster:
    """Answers as it was told to."""

    def __init__(self, group: Any = None, topic: Any = None, largest: Any = 1 << 20) -> None:
        self._group, self._topic, self._largest = group, topic, largest

    def group(self, _name: str, _timeout_s: float) -> Any:
        """The group."""
        return self._group

    def topics(self, names: list[str], _timeout_s: float) -> dict[str, Any]:
        """Each of them the same."""
        return dict.fromkeys(names, self._topic)

    def largest_record(self, _topic: str, _timeout_s: float) -> Any:
        """The limit."""
        return self._largest


@pytest.mark.parametrize(
    ("group", "levels", "said"),
    [
        (Group("DEAD", "CLASSIC", "", (), None), [OK, SKIPPED], "nobody is in it"),
        (Group("STABLE", "CLASSIC", "cooperative-sticky", (Member("a", "/h", 1),) * 12, ALL), [OK, OK], "and 2 more"),
        (Group("STABLE", "CONSUMER", "uniform", (Member("a", "/h", 1),), ALL), [ERROR, OK], "protocol consumer"),
        (Group("STABLE", "CLASSIC", "range", (Member("a", "/h", 1),), frozenset()), [ERROR, ERROR], "out by range"),
        (Refusal(30, "denied"), [ERROR], "denied"),
        (Refusal(None, "no answer in time"), [SKIPPED], "not checked: no answer in time"),
    ],
)
def test_groups(group: Any, levels: list[str], said: str) -> None:
    """Strategy, protocol, rights; a group that cannot be seen is no error."""
    found = list(check_kafka.group(Cluster(group), SETTINGS))  # type: ignore[arg-type]
    assert [finding.level for finding in found] == levels
    assert said in (found[0].message or "")


@pytest.mark.parametrize(
    ("topic", "largest", "levels"),
    [
        (Topic(3, (), ALL), 1 << 20, {"incoming stream": OK, "right to incoming stream": OK, "size limits": OK}),
        (Topic(3, (1,), None), 1 << 20, {"incoming stream": ERROR, "right to outgoing stream": SKIPPED}),
        (Topic(3, (), ALL), Refusal(29, "denied"), {"max.message.bytes of out": SKIPPED, "size limits": OK}),
        (Refusal(29, "denied"), 0, {"incoming stream": ERROR, "dead letter stream": ERROR}),
        (Refusal(None, "no answer"), 0, {"incoming stream": SKIPPED, "max.message.bytes of out": SKIPPED}),
    ],
)
def test_topics(topic: Any, largest: Any, levels: dict[str, str]) -> None:
    """Leaders, rights and limits that the broker does not tell are not checked, never taken for good."""
    route = Route(1, "in", "out", paused=False)
    cluster: Any = Cluster(topic=topic, largest=largest)
    found = {finding.name: finding.level for finding in check_kafka.topics(cluster, SETTINGS, route)}
    assert found["right to transactional ids"] == SKIPPED
    assert {name: found.get(name) for name in levels} == levels


def test_text_of_findings() -> None:
    """A line each, the hint below; nothing foreign reaches a terminal as it is."""
    told = [Finding("a", ERROR, "1\x1b[2J", "KV", "bad", "mend it"), not_checked("b", "why"), Finding("c")]
    assert list(as_text(told)) == [
        "error    a = 1 [2J (KV): bad", f"{'':8} -> mend it", "skipped  b: not checked: why", "ok       c"
    ]  # fmt: skip
    assert (summary(told), summary(told[2:])) == ("1 wrong: a; 1 not checked: b", "all is well")
