"""The words of a command line: options with and without a value, and the Calculator's program in both ways.

Not argparse: it takes the ``-jar,app.jar`` of ``--args -jar,app.jar`` for an option, and images are deployed so. Little
is imported, because a probe that runs every few seconds comes by here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

PROGRAM_OPTIONS: Mapping[str, str] = {"--bin": "a program", "--args": "arguments"}
HELP = "--help"


class Words:
    """What a command line gave.

    ``given``: of each option that was met, its value (empty where it has none). ``operands``: words that are neither
    options nor values. ``problems``: one line for each thing that was not understood.
    """

    __slots__ = ("args", "given", "operands", "problems", "program")

    def __init__(self) -> None:
        self.program: str | None = None
        self.args: list[str] = []
        self.given: dict[str, str] = {}
        self.operands: list[str] = []
        self.problems: list[str] = []

    @property
    def help_asked(self) -> bool:
        """Whether the manual is wanted: nothing else counts then."""
        return HELP in self.given


def parse(argv: Sequence[str], options: Mapping[str, str], *, program: bool) -> Words:
    """Read ``argv``. ``options``: of each name, what its value is, as in "expected a file"; empty if it takes none.

    ``program``: ``--bin``, ``--args`` and ``-- PROGRAM ARG…`` name the Calculator. An option takes the next word as its
    value whatever it looks like.
    """
    found = Words()
    known = {**(PROGRAM_OPTIONS if program else {}), **options, HELP: ""}
    words = iter(argv)
    for word in words:
        name, equals, value = ("--help", "", "") if word == "-h" else word.partition("=")
        if word == "--" and program:
            _take_program(found, list(words))
        elif name in known and not (equals and not known[name]):
            given: str | None = value
            if known[name] and not equals:
                given = next(words, None)
            if given is None:
                found.problems.append(f"{name}: met without a value; expected {known[name]}")
            else:
                _take(found, name, given)
        elif word.startswith("-"):
            names = [*known, *(["--"] if program else [])]
            found.problems.append(f"command line: met {word!r}; {suggestion(name, names)}")
        else:
            found.operands.append(word)
    return found


def suggestion(word: str, known: Sequence[str]) -> str:
    """What to say of a word that is none of ``known``: the one that was meant, or all of them."""
    import difflib  # noqa: PLC0415 - for those who mistyped alone

    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"expected {' or '.join(_listed(known))}"


def _listed(known: Sequence[str]) -> Iterator[str]:
    if len(known) > 1:
        yield ", ".join(known[:-1])
    yield known[-1]


def _take(found: Words, name: str, given: str) -> None:
    if name == "--args":
        from supervisor.values import split_list  # noqa: PLC0415 - see above

        found.args.extend(split_list(given) or ("",))
    elif name == "--bin" and not given:
        found.problems.append("--bin: met ''; expected a program")
    elif name == "--bin":
        found.program = given
    found.given[name] = given


def _take_program(found: Words, rest: list[str]) -> None:
    if not rest or not rest[0]:
        found.problems.append("--: met without a program behind it; expected -- PROGRAM ARG...")
    elif "--bin" in found.given or "--args" in found.given:
        found.problems.append("command line: met both -- and --bin or --args; expected one of them")
    else:
        found.program, *found.args = rest
