"""What a change of the settings that may stand in the KV directory makes new. Pure.

Nothing of what is under way may be judged by two rules. So everything that was written is answered and delivered first
(the relay drains, up to ADOPTION_GRACEPERIOD), and then:

- what is only looked at now and then, or set at once (`LIVE`) is in force without further ado;
- what the incoming side alone does (`OF_INLET`) needs a new inlet; the Calculator and its STDIN go on;
- anything else needs a fresh run of the Calculator between two new ends. A guarantee is a property of both Kafka
  clients. A rule of acknowledgement counts what comes out of STDOUT, and a run that was begun under another rule may
  still print something: a line held back by `demand` would be counted as the answer to a record by `line`, and
  acknowledge one that is not done. An end of STDOUT tells both apart without doubt, and whatever the old end has read
  is delivered by the old end.

A setting that is in neither list is changed in the way that is right for every setting.
"""

from __future__ import annotations

import enum
from typing import Final

from supervisor.settings import KV_KEYS, Settings

LIVE: Final = frozenset(
    {"calculator_start_timeout_s", "calculator_timeout_s", "log_level", "poison_max_attempts", "dead_letter_stream"}
)
OF_INLET: Final = frozenset({"input_newlines"})


class Renewal(enum.Enum):
    """What has to be made new."""

    NOTHING = "nothing"
    INLET = "inlet"
    RUN = "run and both ends"


def renewal(old: Settings, new: Settings) -> Renewal:
    """Say what a change from ``old`` to ``new`` makes new; both are of one environment."""
    changed = {field for field in KV_KEYS.values() if getattr(old, field) != getattr(new, field)} - LIVE
    if not changed:
        return Renewal.NOTHING
    return Renewal.INLET if changed <= OF_INLET else Renewal.RUN
