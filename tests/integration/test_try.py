"""``supervisor try``: programs of many kinds, each with what is to be said of it."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

MATRIX: Final = Path(__file__).parents[1] / "matrix" / "programs"
PY: Final = sys.executable


def attempt(*argv: str, lines: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command; the platform's variables lead nowhere."""
    # A Python that was told to flush would not be the ordinary one.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [PY, "-m", "supervisor", "try", *argv], input=lines, capture_output=True, timeout=100, check=False,
        env={**inherited, "SIDE": os.devnull, "KAFKA_DSN": "no address!", **environ},
    )  # fmt: skip


def python(body: str) -> tuple[str, ...]:
    return PY, "-c", f"import os, sys, time\n{body}"


@dataclass(frozen=True)
class Kind:
    """A program, and what is to be found: of demand, line and marker whether they fit, and some facts."""

    name: str
    command: tuple[str, ...]
    fits: tuple[bool | None, bool | None, bool | None]
    facts: dict[str, Any]
    advice: str = ""
    needs: str = ""


def kind(
    name: str,
    command: tuple[str, ...],
    fits: tuple[bool | None, bool | None, bool | None],
    advice: str = "",
    needs: str = "",
    **facts: Any,
) -> Kind:
    return Kind(name, command, fits, facts, advice, needs=needs)


YES: Final = (True, True, True)
KINDS: Final = (
    kind("cat", ("cat",), YES, answers_each_line=True, ends_on_sigterm=True, lost_by_sigkill=0, echoes_markers=True),
    kind("flushes", python("for l in sys.stdin: print(len(l), flush=True)"), (True, True, False), reads_by=["read"]),
    kind("does not flush", python("for l in sys.stdin: print(l, end='')"), (False, False, False), "flush=True",
         holds_back="output buffer", unbuffered_helps=True, lost_by_sigkill=12),
    kind("C that does not flush", ("grep", "."), (False, False, False), "line-buffered", needs="stdbuf",
         holds_back="output buffer", unbuffered_helps=True),
    kind("reads to the end", ("sort",), (False, False, False), holds_back="end of input", answers_each_line=False),
    kind("prints before it reads",
         python("print('ready', flush=True)\nfor l in sys.stdin: print(l, end='', flush=True)"),
         (True, False, True), "sys.stderr", first_line_before_it_reads="ready"),
    kind("filters", ("grep", "--line-buffered", "one"), (True, False, False), lines_out_for_each=[1] + [0] * 11),
    kind("fans out", python("for l in sys.stdin: print('a\\nb', flush=True)"), (True, False, False)),
    kind("prints nothing", python("for l in sys.stdin: pass"), (True, False, False), prints=False),
    kind("block reader", ("mawk", "{print; fflush()}"), (False, False, False), "-W interactive", needs="mawk",
         holds_back="input block", unbuffered_helps=True),
    kind("the same, told to", ("mawk", "-W", "interactive", "{print; fflush()}"), YES, needs="mawk"),
    kind("keeps a line",
         python("b = None\nfor l in sys.stdin:\n    if b: print(b, end='', flush=True)\n    b = l\nprint(b)"),
         (False, False, False), holds_back="the next line"),
    kind("shell", ("sh", "-c", 'while read -r line; do printf "%s\\n" "$line"; done'), YES, processes=1),
    kind("a command for each line",
         ("sh", "-c", 'while read -r line; do cat /dev/null; printf "%s\\n" "$line"; done'), YES),
    kind("pipeline", ("sh", "-c", "grep --line-buffered . | cat"), YES, processes=3),
    kind("event loop", (PY, str(MATRIX / "lines.py"), "asyncio_"), YES, reads_by=["event loop"]),
    kind("Node", ("node", str(MATRIX / "echo.js")), YES, needs="node", reads_by=["event loop"]),
    kind("workers behind a reader", (PY, str(MATRIX / "lines.py"), "reader"), (False, True, True), "ACK_MODE=line",
         works_in_background=True),
    kind("executor", (PY, str(MATRIX / "lines.py"), "executor"), YES, works_in_background=False),
    kind("slow", python("for l in sys.stdin:\n    time.sleep(.1)\n    print(l, end='', flush=True)"), YES),
    kind("crashes on the samples", python("for l in sys.stdin: int(l)"), (None, None, None), "--input",
         crashed_at_line=1),
    kind("crashes at its start", ("sh", "-c", "echo no model >&2; exit 3"), (None, None, None), "no model",
         crashed_at_line=0),
    kind("never ends", ("sh", "-c", "cat; while :; do sleep 1; done"), YES, "by SIGTERM", ends_at_end_of_input=False,
         ends_on_sigterm=True),
    kind("ignores SIGTERM", ("sh", "-c", "trap '' TERM; cat; while :; do sleep 1; done"), YES, "by SIGKILL",
         ends_at_end_of_input=False, ends_on_sigterm=False),
)  # fmt: skip


def judge(one: Kind) -> str | None:
    """Return what is not as it should be."""
    done = attempt("--json", "--", *one.command)
    answer = json.loads(done.stdout)
    met = tuple(answer["modes"][mode]["fits"] for mode in ("demand", "line", "marker"))
    facts = {name: answer["facts"][name] for name in one.facts}
    said = "\n".join(answer["advice"])
    wanted = (one.fits, one.facts, 0 if one.fits[0] else 1)
    if (met, facts, done.returncode) != wanted or one.advice not in said:
        shown = json.dumps(answer, indent=1)
        return f"{one.name}: wanted {wanted} {one.advice!r}, met {(met, facts, done.returncode)}\n{shown}"
    return None


def test_each_kind_of_program_is_told_what_it_is() -> None:
    """Two at a time: most of it is waiting."""
    kinds = [one for one in KINDS if shutil.which(one.command[0]) and (not one.needs or shutil.which(one.needs))]
    assert len(kinds) >= 20
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [text for text in pool.map(judge, kinds) if text]
    assert not wrong, "\n".join(wrong)


def test_samples_come_from_a_file_or_stdin_and_the_report_is_for_people(tmp_path: Path) -> None:
    """The program gets those lines and no others; progress is on STDERR."""
    samples = tmp_path / "samples"
    samples.write_bytes(b"1\n2\n3")
    for given, lines in ((str(samples), b""), ("-", samples.read_bytes())):
        done = attempt("--input", given, "--", *python("for l in sys.stdin: print(int(l), flush=True)"), lines=lines)
        assert done.returncode == 0, done.stderr
        assert b"demand  yes" in done.stdout
        assert b"one at a time" in done.stderr


def test_wrong_use_and_programs_that_are_none() -> None:
    """2, 127 and 126, as everywhere."""
    assert attempt().returncode == 2
    assert attempt("--input", "/no/such", "--", "cat").returncode == 2
    assert attempt("--input", os.devnull, "--", "cat").returncode == 2
    assert attempt("--", "no-such-program").returncode == 127
    assert attempt("--", "/etc/passwd").returncode == 126
    assert attempt("--", "sh", "-c", "exit 127").returncode == 1


BUILDS: Final = {
    "python": ("main.py", "", (PY, "main.py")),
    "java": ("Main.java", "javac Main.java", ("java", "-Xshare:auto", "Main")),
    "js": ("main.js", "", ("node", "main.js")),
    "go": ("main.go", "go build -o goes main.go", ("./goes",)),
    "sh": ("main.sh", "", ("sh", "main.sh")),
    "c": ("main.c", "cc -o compiled main.c", ("./compiled",)),
}


def test_the_examples_of_the_page_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as it stands there, where there is its language."""
    page = (Path(__file__).parents[2] / "docs" / "TRY.md").read_text()
    monkeypatch.chdir(tmp_path)
    ran = 0
    for fence, (file, build, command) in BUILDS.items():
        Path(file).write_text(re.search(rf"```{fence}\n(.*?)```", page, re.DOTALL)[1])  # type: ignore[index]  # it is there
        tools = [word.split()[0] for word in (build, command[0]) if word and not word.startswith("./")]
        if not all(map(shutil.which, tools)):
            continue
        if build:
            environ = os.environ | {"GOCACHE": str(tmp_path / "go"), "GO111MODULE": "off"}
            subprocess.run(build.split(), check=True, timeout=60, env=environ)
        done = attempt("--", *command)
        assert done.returncode == 0, done.stdout.decode()
        assert b"line    yes" in done.stdout
        ran += 1
    assert ran >= 3
