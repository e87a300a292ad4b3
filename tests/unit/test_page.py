"""The page in each of its states: word, cause said once, place; and in Chromium, on a phone and in the dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from supervisor.condition import Word, condition
from supervisor.http import status
from supervisor.sampler import Look, Point, Sampler
from supervisor.status_page import render
from supervisor.tools.status import screen
from tests.unit.conditions import STATES
from tests.unit.facts import INLET, OUTLET, facts

POINTS = [
    Point(800.0 + 40 * (n % 7), 790.0 + 35 * (n % 5), 400 + 3 * n, 0.2 + 0.01 * (n % 9)) if n > 20 else
    Point(None, 0.0, None, None)
    for n in range(110)
]  # fmt: skip


def words_of(page: str) -> str:
    """What a reader reads."""
    return unescape(re.sub(r"<[^>]+>", " ", page.split("</style>", 1)[1]))


def test_there_is_a_case_for_each_word() -> None:
    """None is left out here."""
    assert STATES.keys() == {word.value for word in Word}


@pytest.mark.parametrize("word", STATES)
def test_the_word_and_the_cause_stand_first_and_once(word: str) -> None:
    """The same in the page, in /status and on a terminal."""
    told = STATES[word]
    now = condition(told)
    page = render(told, POINTS)
    assert now.word.value == word
    assert f"<h2>{word}</h2><p>{escape(now.cause)}</p>" in page
    assert words_of(page).count(now.cause) == 1
    shown = json.loads(json.dumps(status(told), default=str))
    assert (shown["state"]["word"], shown["state"]["cause"]) == (word, now.cause)
    assert screen(shown).startswith(f"wsp-7: {word}, ")
    stuck = {
        "blocked on Kafka": "outgoing",
        "hanging": "calculator",
        "crash loop": "calculator",
        "poison": "calculator",
    }
    assert word not in stuck or (page.count("stuck here"), shown["state"]["place"]) == (1, stuck[word])
    assert word in {*stuck, "loading", "waiting for a route", "refused route"} or "stuck here" not in page


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("stopping", "poison"),
        ("crash loop", "blocked on Kafka"),
        ("blocked on Kafka", "hanging"),
        ("poison", "flowing"),
    ],
)
def test_the_worst_wins_and_the_other_is_told_beside(worse: str, better: str) -> None:
    """Two troubles at once: one word, and a sentence for the other."""
    changes: dict[str, Any] = {}
    for word in (better, worse):
        base = facts()
        changes |= {
            name: value
            for name in base.__dataclass_fields__
            if (value := getattr(STATES[word], name)) != getattr(base, name)
        }
    now = condition(facts(**changes))
    assert now.word.value == worse
    assert not any(trouble.words in now.cause for trouble in now.further)


def test_zeros_and_defaults_are_folded_away() -> None:
    """What is there only to be 0 is not shown."""
    page = render(facts(settings={"ack_mode": ("line", "KV"), "poison_max_attempts": ("3", "default")}), POINTS)
    assert "ACK_MODE" in page
    assert "POISON_MAX_ATTEMPTS" not in page
    assert "Given up with their route" not in page


def test_the_sampler_alone_remembers() -> None:
    """Rates and the age of the oldest record come of its looks; asking changes nothing, a new stream is no dip."""
    sampler = Sampler()
    inlet = {**INLET, "records_read": 0, "in_flight_records": 0, "acknowledged": 0}
    outlet = {**OUTLET, "lines_delivered": 0}
    for tick in range(25):  # every half second: 10 records, of which the last 20 are in flight
        read = 10 * (tick + 1)
        inlet |= {"records_read": read, "in_flight_records": min(read, 20), "acknowledged": max(0, read - 20)}
        sampler.look(Look(inlet, {**outlet, "lines_delivered": 5 * tick}, 40), tick / 2)
        assert sampler.standing(tick / 2) == sampler.standing(tick / 2)
    points = sampler.points()
    assert [(round(point.in_per_s or 0), round(point.out_per_s), point.lag) for point in points] == [(20, 10, 40)] * 2
    assert sampler.oldest_in_flight_s(12.0) == 0.5
    assert sampler.standing(20.0)["progress_ago_s"] == 8.0
    for tick in range(20):
        sampler.look(Look({**INLET, "records_read": 3, "in_flight_records": 3}, outlet, None), 12.5 + tick / 2)
    assert all((point.in_per_s or 0) >= 0 and point.out_per_s >= 0 for point in sampler.points())
    assert sampler.oldest_in_flight_s(22.0) == 9.5
    sampler.look(Look({}, outlet, None), 23.0)
    assert sampler.oldest_in_flight_s(23.0) is None


MEASURE = """
<script>
addEventListener("load", () => {
  const told = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, view = frame.contentWindow, word = page.querySelector(".state h2");
    const light = color => color.match(/[0-9.]+/g).slice(0, 3).map(Number)
      .map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ink = light(view.getComputedStyle(word).color);
    const paper = light(view.getComputedStyle(word.parentNode).backgroundColor);
    told[frame.title] = {
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      word_ends_at: word.getBoundingClientRect().bottom,
      flow_ends_at: page.querySelector(".flow").getBoundingClientRect().bottom,
      drawn: page.querySelectorAll("svg polyline").length,
      contrast: (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), paper,
    };
  }
  document.body.innerHTML = "<pre>" + JSON.stringify(told) + "</pre>";
});
</script>
"""


def chromium() -> str | None:
    """The browser that is here."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.mark.skipif(chromium() is None, reason="no Chromium here: apt install chromium-headless-shell")
@pytest.mark.parametrize(("width", "dark"), [(360, True), (1200, False)])
def test_a_browser_shows_every_state(tmp_path: Path, width: int, dark: bool) -> None:
    """Nothing is cut off or needs scrolling sideways, the word is above the fold and legible, plots are drawn."""
    frames = "".join(
        f'<iframe title="{escape(word)}" width="{width}" height="760" srcdoc="{escape(render(told, POINTS))}"></iframe>'
        for word, told in STATES.items()
    )
    harness = tmp_path / "all.html"
    harness.write_text(f"<!doctype html><meta charset=utf-8><body>{frames}{MEASURE}", encoding="utf-8")
    command = [
        chromium() or "", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", harness.as_uri(),
    ]  # fmt: skip
    document = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    match = re.search(r"<pre>(.*?)</pre>", document, re.DOTALL)
    assert match, document[:500]
    seen = json.loads(unescape(match[1]))
    assert seen.keys() == STATES.keys()
    for word, measured in seen.items():
        assert measured["overflow"] <= 0, (word, measured)
        assert measured["word_ends_at"] < 200, (word, measured)
        assert measured["flow_ends_at"] < 760, (word, measured)
        assert measured["drawn"] == 4, (word, measured)
        assert measured["contrast"] >= 4.5, (word, measured)
        assert (measured["paper"] < 0.2) is dark, (word, measured)
