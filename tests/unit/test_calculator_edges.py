"""The Calculator's transition table, every edge walked by real processes, and interrupted at every point."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from supervisor.errors import ProgramNotFoundError
from supervisor.states import CALCULATOR, CalculatorState
from tests.unit.test_calculator import OBEYS_TERM, Stage, Streams, gone, make, staged, until

Edge = tuple[str, str]

TABLE = {(old.value, new.value) for old, targets in CALCULATOR.items() for new in targets}


async def state(stage: Stage, wanted: CalculatorState) -> None:
    await until(lambda: stage.calculator.lifecycle.state is wanted)


async def restart(stage: Stage) -> None:
    await stage.calculator.restart("a test", close_stdin=stage.streams.close_stdin, grace_s=5.0)


async def run_restart_stop(folder: Path) -> set[Edge]:
    async with staged("cat") as stage:
        await state(stage, CalculatorState.RUNNING)
        await restart(stage)
        await until(lambda: len(stage.streams.runs) == 2)
        await stage.stop()
    return {
        ("stopped", "starting"),
        ("starting", "running"),
        ("running", "stopping"),
        ("stopping", "starting"),
        ("stopping", "stopped"),
    }


async def first_start_impossible(folder: Path) -> set[Edge]:
    async with staged(str(folder / "nothing")) as stage:
        with pytest.raises(ProgramNotFoundError):
            await stage.running
    return {("stopped", "starting"), ("starting", "stopped")}


async def crash_and_stop_in_the_pause(folder: Path) -> set[Edge]:
    async with staged("false", backoff_max_s=60.0) as stage:
        await until(lambda: stage.calculator.failures == 2)
        await stage.stop()
    return {("running", "backoff"), ("backoff", "starting"), ("backoff", "stopped")}


async def crash_loop_recovers(folder: Path) -> set[Edge]:
    script = f"test -e {folder}/works && exec cat; exit 1"
    async with staged("sh", "-c", script, stable_s=0.2) as stage:
        await state(stage, CalculatorState.CRASH_LOOP)
        (folder / "works").touch()
        await state(stage, CalculatorState.RUNNING)
        await stage.stop()
    return {("running", "crash-loop"), ("crash-loop", "running"), ("running", "stopping")}


async def crash_loop_restarted_and_stopped_in_a_run(folder: Path) -> set[Edge]:
    script = f"test -e {folder}/works && exec cat; exit 1"
    async with staged("sh", "-c", script) as stage:
        await state(stage, CalculatorState.CRASH_LOOP)
        (folder / "works").touch()
        await until(lambda: stage.calculator.pid is not None and len(stage.streams.exits) < len(stage.streams.runs))
        await restart(stage)
        await until(lambda: len(stage.streams.exits) < len(stage.streams.runs))
        await state(stage, CalculatorState.CRASH_LOOP)
        await stage.stop()
    return {("crash-loop", "stopping"), ("stopping", "starting"), ("starting", "crash-loop"), ("stopping", "stopped")}


async def crash_loop_stopped_between_runs(folder: Path) -> set[Edge]:
    async with staged("false", backoff_max_s=60.0) as stage:
        await state(stage, CalculatorState.CRASH_LOOP)
        await stage.stop()
    return {("crash-loop", "stopped")}


async def program_vanishes(folder: Path) -> set[Edge]:
    path = make(folder / "program", "#!/bin/sh\nexec cat\n")
    async with staged(str(path)) as stage:
        await state(stage, CalculatorState.RUNNING)
        path.unlink()
        stage.calculator.forward(signal.SIGKILL)
        await state(stage, CalculatorState.CRASH_LOOP)
        await stage.stop()
    return {("running", "backoff"), ("starting", "backoff"), ("starting", "crash-loop")}


async def runs_that_load(folder: Path) -> set[Edge]:
    script = f"test -e {folder}/works && exec cat; exit 1"
    async with staged("sh", "-c", script, stable_s=0.2, takes_input=lambda: True) as stage:
        await state(stage, CalculatorState.CRASH_LOOP)
        (folder / "works").touch()
        await state(stage, CalculatorState.LOADING)
        stage.calculator.set_loading(False, "a test")
        stage.calculator.set_loading(True, "a test")
        stage.calculator.set_loading(True, "again, which is nothing new")
        await stage.stop()
        stage.calculator.set_loading(False, "too late")
    return {
        ("starting", "loading"),
        ("loading", "backoff"),
        ("loading", "crash-loop"),
        ("crash-loop", "loading"),
        ("loading", "running"),
        ("running", "loading"),
        ("loading", "stopping"),
    }


WALKS: list[Callable[[Path], Coroutine[None, None, set[Edge]]]] = [
    run_restart_stop,
    first_start_impossible,
    crash_and_stop_in_the_pause,
    crash_loop_recovers,
    crash_loop_restarted_and_stopped_in_a_run,
    crash_loop_stopped_between_runs,
    program_vanishes,
    runs_that_load,
]


def test_every_edge_is_walked(tmp_path: Path) -> None:
    """Each walk takes the edges that it names, and together they are the table."""
    walked: set[Edge] = set()
    for walk in WALKS:
        folder = tmp_path / walk.__name__
        folder.mkdir()
        with capture_logs() as events:
            named = uvloop.run(walk(folder))
        seen = {(event["old"], event["new"]) for event in events if "old" in event}
        assert named <= seen, walk.__name__
        walked |= seen
    assert walked == TABLE


COMMANDS = (
    ("cat",),
    ("sh", "-c", OBEYS_TERM),
    ("sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"),
    ("false",),
    ("sh", "-c", "sleep 0.03; exit 0"),
    ("sh", "-c", "sleep 300 & kill -9 $$"),
)


@pytest.mark.parametrize("seed", range(60))
def test_orders_in_any_order_end_in_order(seed: int) -> None:
    """Restart, failure, signals, cut graces, a caller who gives up, at random moments: it stops, and nobody is left."""
    dice = random.Random(seed)

    async def main() -> None:
        async with staged(*dice.choice(COMMANDS), stable_s=0.05) as stage:
            calculator, streams = stage.calculator, stage.streams
            callers: list[asyncio.Task[object]] = []
            orders: list[Callable[[], object]] = [
                lambda: callers.append(asyncio.create_task(restart_within(stage, dice.uniform(0.0, 0.2)))),
                lambda: calculator.fail_run("a test"),
                lambda: calculator.forward(dice.choice((signal.SIGKILL, signal.SIGSTOP, signal.SIGUSR1))),
                lambda: calculator.shorten_grace(dice.uniform(0.0, 0.05)),
                lambda: callers and dice.choice(callers).cancel(),
            ]
            for _ in range(dice.randint(0, 6)):
                await asyncio.sleep(dice.choice((0.0, dice.uniform(0.0, 0.08))))
                dice.choice(orders)()
            await asyncio.sleep(dice.choice((0.0, dice.uniform(0.0, 0.08))))
            if dice.random() < 0.3:
                stage.running.cancel()
                await asyncio.wait({stage.running}, timeout=10)
                assert stage.running.cancelled()
            else:
                _, took_s = await asyncio.wait_for(stage.stop(grace_s=0.1), 10)
                assert took_s < 2.0
            await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 10)
            assert calculator.lifecycle.state is CalculatorState.STOPPED
            assert calculator.pid is None
            let_go(streams)
            for run in streams.runs:
                assert gone(run.pid)

    uvloop.run(main())


async def restart_within(stage: Stage, grace_s: float) -> None:
    await stage.calculator.restart("a test", close_stdin=stage.streams.close_stdin, grace_s=grace_s)


def let_go(streams: Streams) -> None:
    """Close what the listener of a run that was broken off still holds."""
    for run in streams.runs[len(streams.exits) :]:
        streams.close_stdin()
        asyncio.get_running_loop().remove_reader(run.stdout_fd)
        with contextlib.suppress(OSError):
            os.close(run.stdout_fd)
