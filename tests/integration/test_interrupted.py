"""SIGTERM in the middle of every transition, again and again on one workspace: the books are right after each stop.

With ACK_MODE=line a record is acknowledged when its line is delivered. So after an orderly stop, in whatever moment it
came, the records that came out are those that are committed, each once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Names
from tests.services.agent import Agent
from tests.services.peers import Manager, Persistence
from tests.services.processes import mask, until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

BOUND_S = 1.0 + 5.0 + 2.0  # SHUTDOWN_GRACEPERIOD, the flush deadline, clients that do not let go
ROUNDS = 2

STEADY = ("cat",)
SLOW = ("sh", "-c", 'while read -r line; do sleep 0.05; echo "$line"; done')
SHORT = ("sh", "-c", 'for i in 1 2 3; do read -r line && echo "$line"; done; exit 3')


class Stage:
    """One workspace, its agent, its topics, and whoever feeds it."""

    def __init__(self, agent: Agent, kafka: Kafka, names: Names, dice: random.Random) -> None:
        self.agent = agent
        self.dice = dice
        self.kafka = kafka
        self.node_id = names.node_id
        self.group = names.group
        self.incoming = kafka.create_topic(names.topic("in"))
        self.outgoing = [kafka.create_topic(names.topic(f"out{number}")) for number in (1, 2)]
        self.manager = Manager(agent, names.node_id)
        self.produced = 0

    @contextmanager
    def fed(self) -> Iterator[None]:
        """Numbered records come in all the time."""
        over = threading.Event()

        def feed() -> None:
            while not over.wait(0.05):
                numbers = range(self.produced, self.produced + 10)
                self.kafka.produce(self.incoming, [b"%d" % number for number in numbers])
                self.produced += len(numbers)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield
        finally:
            over.set()
            feeder.join()

    def route(self, *, paused: bool = False) -> None:
        """The next version, to the other topic."""
        self.manager.route(self.incoming, self.outgoing[self.manager.version % 2], paused=paused)


def start(stage: Stage, process: Supervised) -> None:
    until(lambda: mask(process.pid, "SigBlk") >= {15}, "our code runs")


def adoption(stage: Stage, process: Supervised) -> None:
    process.wait_ready()
    stage.route()


def drain(stage: Stage, process: Supervised) -> None:
    """A Calculator that takes its time has records in its hands."""
    process.wait_counter("outlet", "lines_delivered", 1)
    stage.route()
    process.wait_log("relay draining", old="flowing")


def back_off(stage: Stage, process: Supervised) -> None:
    process.wait_log("calculator ended", count=stage.dice.randint(1, 4))


def pause(stage: Stage, process: Supervised) -> None:
    process.wait_ready()
    for paused in (True, False, True):
        stage.route(paused=paused)
        stage.manager.wait_adopted()
    stage.route()


def agent_comes_back(stage: Stage, process: Supervised) -> None:
    """It knows nothing, so the route is gone, and comes again."""
    process.wait_ready()
    stage.agent.restart()
    stage.route()


def agent_away(stage: Stage, process: Supervised) -> None:
    process.wait_ready()
    stage.agent.kill()


MOMENTS: list[tuple[Callable[[Stage, Supervised], None], tuple[str, ...]]] = [
    (start, STEADY),
    (adoption, STEADY),
    (drain, SLOW),
    (back_off, SHORT),
    (pause, STEADY),
    (agent_comes_back, STEADY),
    (agent_away, STEADY),
]


@pytest.mark.parametrize("seed", [20_261])
def test_a_stop_in_the_middle_leaves_the_books_right(
    kafka: Kafka, names: Names, persistence: Read, supervisor_process: Start, seed: int
) -> None:
    """Exit status 0 in time, nothing in Consul, no traceback, and what came out is what is committed."""
    dice = random.Random(seed)
    with Agent() as agent:
        stage = Stage(agent, kafka, names, dice)
        stage.route()
        rounds = MOMENTS * ROUNDS
        dice.shuffle(rounds)
        for bring_about, command in rounds:
            delay_s = dice.uniform(0.0, 0.8)
            told = f"{bring_about.__name__} and {delay_s:.3f} s, seed {seed}"
            with stage.fed():
                process = supervisor_process(
                    command,
                    consul=agent,
                    env={
                        "ACK_MODE": "line",
                        "SHUTDOWN_GRACEPERIOD": "1s",
                        "RESTART_BACKOFF_MAX": "300ms",
                        "CONSUL_RESYNC_INTERVAL": "1s",
                    },
                )
                bring_about(stage, process)
                time.sleep(delay_s)  # not a wait for anything: the moment is what is drawn
                began_s = time.monotonic()
                assert process.terminate(BOUND_S) == 0, told
                took_s = time.monotonic() - began_s
            assert took_s < BOUND_S, told
            assert not [event for event in process.events if "exception" in event or event["level"] == "text"], told
            if bring_about is agent_away:
                agent.start()
                stage.route()
            else:
                assert agent.services() == {}, told
                assert agent.checks(f"bdz-wsp-{names.node_id}") == [], told
            out = [int(frame.value) for topic in stage.outgoing for frame in persistence(topic).read()]
            committed = kafka.committed(names.group, stage.incoming).get(0, 0)
            assert sorted(out) == list(range(committed)), told
        last = supervisor_process(STEADY, consul=agent, env={"ACK_MODE": "line"})
        kafka.wait_committed(names.group, stage.incoming, stage.produced, deadline_s=60)
        assert last.terminate() == 0
        out = [int(frame.value) for topic in stage.outgoing for frame in persistence(topic).read()]
        assert sorted(out) == list(range(stage.produced))
