"""From what a program does to which acknowledgement fits it, why not the others, and the one change that would help.

Pure: facts in, sentences out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from supervisor.tools.trial_facts import Facts


@dataclass(frozen=True)
class Mode:
    """Whether one ACK_MODE fits (None: it could not be told), why, and the guarantees it can have."""

    fits: bool | None
    why: str
    guarantees: list[str] = field(default_factory=list)


_LEAST: Final = ["at-least-once"]
_BOTH: Final = ["at-least-once", "exactly-once"]

_HELD: Final = {
    "output buffer": "its answers stay in its own output buffer until that is full: what is there dies with it",
    "input block": "it waits until it has a full block, with whole lines in it: they would count as done",
    "end of input": "it answers at the end of its input, which does not come while records flow",
    "the next line": "it answers a line when the next one has come: the last one would count as done",
}


def modes(facts: Facts) -> dict[str, Mode]:
    """Return what fits, of each ACK_MODE."""
    if facts.crashed is not None:
        where = "at its start" if facts.crashed_at_line == 0 else "on the sample lines"
        unknown = Mode(None, f"it could not be told: the program ended {where}")
        return {"demand": unknown, "line": unknown, "marker": unknown}
    return {"demand": _demand(facts), "line": _line(facts), "marker": _marker(facts)}


def _demand(facts: Facts) -> Mode:
    if facts.works_in_background:
        return Mode(False, "it asks for more lines while it still works on those it has: they would count as done")
    if facts.holds_back is not None:
        return Mode(False, _HELD[facts.holds_back])
    if not facts.prints:
        return Mode(True, "it prints nothing; each line counts as done when it asks for more", _LEAST)
    if facts.answers_each_line is None:
        return Mode(None, "it printed too little for these lines to tell whether it flushes: give it others by --input")
    how = "it reads a line, handles it, prints, flushes, and asks for the next"
    if "event loop" in facts.reads_by and "read" not in facts.reads_by:
        how = "each line was answered, from an event loop: records are acknowledged after ACK_IDLE of rest"
    elif facts.processes > 1:
        how = (
            f"each line was answered, by {facts.processes} processes: records come in batches, with a rest between two"
        )
    return Mode(True, how, _LEAST)


def _line(facts: Facts) -> Mode:
    each = facts.lines_out_for_each
    if not facts.prints:
        return Mode(False, "it prints nothing, and each line is to be answered by one line")
    one_each = facts.lines_out_in_all == facts.lines_in_all
    if not one_each:
        return Mode(
            False, f"{facts.lines_in_all:,} lines became {facts.lines_out_in_all:,}, and one for each is wanted"
        )
    if facts.prints_before_it_reads:
        return Mode(False, "it prints before it reads, and that line would be taken for the first answer")
    if facts.holds_back is not None:
        return Mode(False, f"one line out for each line in, but {_HELD[facts.holds_back]}")
    if any(count != 1 for count in each):
        return Mode(
            False, f"the first lines were answered by {', '.join(map(str, each))} lines, and one for each is wanted"
        )
    return Mode(True, "one line out for each line in", _BOTH)


def _marker(facts: Facts) -> Mode:
    if facts.echoes_markers:
        return Mode(True, "it prints a marker line as it is", _BOTH)
    if facts.holds_back is not None:
        return Mode(False, f"{_HELD[facts.holds_back]}; and it has to print marker lines as they are")
    return Mode(False, "it does not print marker lines as they are")


# -------------------------------------------------------------------- what would help

_BY_NAME: Final = (
    (r"python[0-9.]*|pypy[0-9.]*", "python"),
    (r"java", "java"),
    (r"node|nodejs|deno|bun", "node"),
    (r"mawk|awk|gawk|nawk|original-awk", "awk"),
    (r"sh|bash|dash|ash|ksh|zsh", "shell"),
    (r"perl[0-9.]*", "perl"),
    (r"ruby[0-9.]*", "ruby"),
    (r"sed|grep|egrep|fgrep|cut|tr|uniq|jq", "tool"),
)
_FLUSH: Final = {
    "python": "print(answer, flush=True)          # or PYTHONUNBUFFERED=1 in the image",
    "java": "System.out.println(answer);        // or writer.flush() behind each answer of a BufferedWriter",
    "node": "process.stdout.write(answer + '\\n'); // at once, not when the input has ended",
    "awk": "{ print answer; fflush() }         # mawk also needs: mawk -W interactive",
    "shell": "stdbuf -oL COMMAND                 # before each command that prints for the script",
    "perl": "$| = 1;                            # at the top",
    "ruby": "$stdout.sync = true                # at the top",
    "go": "w.Flush()                          // behind each answer of a bufio.Writer",
    "c": "setvbuf(stdout, NULL, _IOLBF, 0);  // first of all; or fflush(stdout) behind each answer",
    "tool": "grep --line-buffered, sed -u, jq --unbuffered; else stdbuf -oL COMMAND",
}
_LOG: Final = {
    "python": "print('ready', file=sys.stderr)",
    "java": 'System.err.println("ready");',
    "node": "console.error('ready')",
    "awk": 'print "ready" > "/dev/stderr"',
    "shell": "echo ready >&2",
    "perl": 'print STDERR "ready\\n";',
    "ruby": "warn 'ready'",
    "go": 'fmt.Fprintln(os.Stderr, "ready")',
    "c": 'fprintf(stderr, "ready\\n");',
}
_MARKERS: Final = {
    "python": 'if line.startswith("\\x1eBDZ-ACK "): finish(); print(line, end="", flush=True); continue',
    "java": 'if (line.startsWith("\\u001eBDZ-ACK ")) { finish(); System.out.println(line); continue; }',
    "node": "if (line.startsWith('\\x1eBDZ-ACK ')) { await finish(); console.log(line); return }",
    "awk": "/^\\036BDZ-ACK / { print; fflush(); next }",
    "shell": "case $line in \"$(printf '\\036')BDZ-ACK \"*) printf '%s\\n' \"$line\"; continue;; esac",
    "perl": "if (/^\\x1eBDZ-ACK /) { print; next }",
    "go": 'if strings.HasPrefix(line, "\\x1eBDZ-ACK ") { finish(); fmt.Println(line); continue }',
    "c": 'if (strncmp(line, "\\x1e" "BDZ-ACK ", 9) == 0) { finish(); fputs(line, stdout); fflush(stdout); continue; }',
}
_UNTIL_THE_END: Final = {
    "python": "for line in sys.stdin: ...         # ends by itself at the end of input",
    "java": "while ((line = reader.readLine()) != null) { ... }",
    "node": "rl.on('close', () => process.exit(0))",
    "shell": "while read -r line; do ...; done",
    "go": "for scanner.Scan() { ... }",
    "c": "while (fgets(line, sizeof line, stdin) != NULL) { ... }",
}


def language(path: str) -> str:
    """Return what the program at ``path`` is written in, as far as name and first bytes tell; else ``c``."""
    for pattern, found in _BY_NAME:
        if re.fullmatch(pattern, Path(path).name):
            return found
    try:
        with Path(path).open("rb") as file:
            head = file.read(1 << 13)
    except OSError:
        return "c"
    words = head.split(b"\n", 1)[0][2:].decode("utf-8", "replace").split() if head.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        del words[0]
    if words:
        name = Path(words[0]).name
        return next((found for pattern, found in _BY_NAME if re.fullmatch(pattern, name)), "c")
    return "go" if b"Go build ID" in head else "c"


def advice(facts: Facts, found: dict[str, Mode], written_in: str) -> list[str]:
    """Return what to change, the most helpful first."""
    said: list[str] = []

    def code(table: dict[str, str]) -> str:
        return f"\n    {table[written_in]}" if written_in in table else ""

    if facts.crashed is not None:
        help_ = "Look at its STDERR" if facts.crashed_at_line == 0 else "Give it lines that it can read: --input FILE"
        return [f"{help_}; {facts.crashed}"]
    if facts.holds_back == "output buffer" or (facts.holds_back == "end of input" and facts.unbuffered_helps):
        helps = " (tried: then each line is answered)" if facts.unbuffered_helps else ""
        said.append(f"Flush each answer{helps}:{code(_FLUSH)}")
    elif facts.holds_back == "input block" and facts.unbuffered_helps and written_in == "awk":
        said.append("Start it so that it takes each line as it comes (tried):\n    mawk -W interactive ...")
    elif facts.holds_back == "input block":
        said.append(f"Read line by line and flush:{code(_FLUSH)}")
    elif facts.holds_back in ("end of input", "the next line"):
        said.append(f"Print each answer when its line is done, and flush:{code(_FLUSH)}")
    elif facts.works_in_background and found["line"].fits:
        said.append("Set ACK_MODE=line: it answers each line by one line")
    if facts.prints_before_it_reads:
        said.append(f"Log to STDERR: what it prints before it reads becomes a record:{code(_LOG)}")
    if facts.holds_back in ("end of input", "the next line") or facts.works_in_background:
        said.append(
            f"Or print marker lines as they are, when all before them is done, and set ACK_MODE=marker:{code(_MARKERS)}"
        )
    if facts.ends_at_end_of_input is False:
        end = "by SIGTERM" if facts.ends_on_sigterm else "by SIGKILL, at the end of SHUTDOWN_GRACEPERIOD"
        said.append(f"End at the end of input; now it is ended {end}:{code(_UNTIL_THE_END)}")
    return said
