"""What a change of settings makes new, and how settings of the KV directory lie over the environment's."""

from __future__ import annotations

import pytest

from supervisor.errors import SettingsError
from supervisor.renewal import LIVE, OF_INLET, Renewal, renewal
from supervisor.settings import KV_KEYS, Options, Settings

REQUIRED = {"NODE_ID": "w1", "KAFKA_DSN": "k:9092"}
ENVIRONMENT = Settings.load(
    REQUIRED | {"BDZ_CALCULATOR_TIMEOUT": "1m", "INPUT_NEWLINES": "split"}, Options(program="cat")
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, Renewal.NOTHING),
        ({"ack_mode": "demand", "input_newlines": "SPLIT"}, Renewal.NOTHING),
        ({"calculator_timeout": "5s"}, Renewal.NOTHING),
        ({"input_newlines": "space", "calculator_timeout": "5s"}, Renewal.INLET),
        ({"input_newlines": "space", "ack_mode": "line"}, Renewal.RUN),
        ({"processing_guarantee": "at-most-once"}, Renewal.RUN),
    ],
)
def test_only_what_differs_in_effect_makes_anything_new(said: dict[str, str], expected: Renewal) -> None:
    """In both directions."""
    other = ENVIRONMENT.with_kv(said)
    assert renewal(ENVIRONMENT, other) is renewal(other, ENVIRONMENT) is expected


def test_the_lists_name_settings_that_may_stand_in_the_directory() -> None:
    """A name that is none would have no effect."""
    assert set(KV_KEYS.values()) >= LIVE | OF_INLET


def test_the_keys_are_the_variables_in_lower_case() -> None:
    """Derived from the model."""
    assert KV_KEYS["calculator_timeout"] == "calculator_timeout_s"
    assert {"processing_guarantee", "ack_mode", "input_newlines"} <= KV_KEYS.keys()


def test_the_directory_wins_and_what_it_does_not_say_stays() -> None:
    """And what it said once is forgotten with it: each time it lies over the environment anew."""
    over = ENVIRONMENT.with_kv({"ack_mode": "Line", "calculator_timeout": "OFF"})
    assert (over.ack_mode, over.calculator_timeout_s, over.input_newlines) == ("line", None, "split")
    assert ENVIRONMENT.ack_mode == "demand"
    assert over.kafka_dsn == ENVIRONMENT.kafka_dsn
    shown = over.kv_in_force()
    assert shown["ack_mode"] == ("line", "KV")
    assert shown["calculator_timeout"] == ("OFF", "KV")
    assert shown["input_newlines"] == ("split", "environment")
    assert shown["processing_guarantee"] == ("at-least-once", "default")
    assert ENVIRONMENT.kv_in_force()["calculator_timeout"] == ("1m", "environment")


def test_every_problem_is_told_at_once() -> None:
    """Under the keys."""
    with pytest.raises(SettingsError) as caught:
        ENVIRONMENT.with_kv({"ack_mode": "x", "calculator_timeout": "y"})
    assert sorted(problem.partition(":")[0] for problem in caught.value.problems) == ["ack_mode", "calculator_timeout"]
