"""The last lines on STDERR, and which of them says most of an end."""

from __future__ import annotations

import pytest

from supervisor import logs
from supervisor.stderr_tail import LINE_BYTES, StderrTail, telling

JAVA = """\
12:00:01 INFO starting
Exception in thread "main" java.lang.RuntimeException: cannot load /var/model
	at app.Model.load(Model.java:20)
	at app.Main.main(Main.java:8)
Caused by: java.io.FileNotFoundException: /var/model (No such file or directory)
	at java.base/java.io.FileInputStream.open0(Native Method)
	... 4 more"""

NODE = """\
node:internal/modules/cjs/loader:1148
  throw err;
  ^

Error: Cannot find module '/app/model.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1145:15)
    at node:internal/main/run_main_module:28:49 {
  code: 'MODULE_NOT_FOUND',
  requireStack: []
}

Node.js v20.11.0"""

GO = """\
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.handle(...)
	/app/main.go:9
main.main()
	/app/main.go:15 +0x1d
exit status 2"""

PYTHON = """\
Traceback (most recent call last):
  File "/app/main.py", line 3, in <module>
    run()
    ^^^^^
ValueError: no model at /var/model"""

PYDANTIC = """\
Traceback (most recent call last):
  File "/app/main.py", line 3, in <module>
    Config()
pydantic_core._pydantic_core.ValidationError: 1 validation error for Config
model
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.7/v/missing"""

RUST = """\
thread 'main' panicked at src/main.rs:4:37: no model at /var/model
stack backtrace:
   0: rust_begin_unwind
note: run with `RUST_BACKTRACE=full` environment variable to display a verbose backtrace"""

DOTNET = """\
Unhandled exception. System.IO.FileNotFoundException: no model at /var/model
   at Program.Main() in /app/Program.cs:line 3
--- End of stack trace from previous location ---"""

PHP = """\
PHP Fatal error:  Uncaught Exception: no model in /app/main.php:3
Stack trace:
#0 {main}
  thrown in /app/main.php on line 3"""

RUBY = """\
main.rb:1:in `load': no model at /var/model (RuntimeError)
	from main.rb:4:in `<main>'"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (JAVA, "Caused by: java.io.FileNotFoundException: /var/model (No such file or directory)"),
        (NODE, "Error: Cannot find module '/app/model.js'"),
        (GO, "panic: runtime error: index out of range [5] with length 3"),
        (PYTHON, "ValueError: no model at /var/model"),
        (PYDANTIC, "pydantic_core._pydantic_core.ValidationError: 1 validation error for Config"),
        (RUST, "thread 'main' panicked at src/main.rs:4:37: no model at /var/model"),
        (DOTNET, "Unhandled exception. System.IO.FileNotFoundException: no model at /var/model"),
        (PHP, "PHP Fatal error:  Uncaught Exception: no model in /app/main.php:3"),
        (RUBY, "main.rb:1:in `load': no model at /var/model (RuntimeError)"),
        (f"{PYTHON}\nretrying\nno model: giving up", "no model: giving up"),
        (f"{JAVA}\nShutting down", "Shutting down"),
        ("one\n\n", "one"),
        ("   indented", "   indented"),
        ("", ""),
    ],
)
def test_the_line_that_says_most(text: str, line: str) -> None:
    """An exception above its stack or below it; else the last line."""
    assert telling(text.split("\n")) == line


def test_twenty_lines_are_kept_and_those_of_a_run_are_told_apart() -> None:
    """The lines of the last run stay until others take their place; it is quoted for its own end alone."""
    tail = StderrTail()
    assert (tail.lines, tail.last_line, tail.telling) == ((), None, "")
    for number in range(30):
        tail.add(b"line %d \xff" % number)
    assert tail.lines == tuple(f"line {number} \\xff" for number in range(10, 30))
    assert tail.last_line == tail.telling == "line 29 \\xff"
    tail.begin_run()
    assert tail.telling == ""
    assert tail.last_line == "line 29 \\xff"
    tail.add(b"  at nothing")
    assert tail.telling == "  at nothing", "not of the run before"


def test_switched_off_nothing_is_known() -> None:
    """Not that there was nothing."""
    tail = StderrTail(0)
    tail.add(b"personal data")
    assert (tail.lines, tail.last_line, tail.telling) == ((), None, None)


def test_lines_are_bounded_and_secrets_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the bound would cut one in two, or a character."""
    monkeypatch.setattr(logs, "masked", lambda text: text.replace("hunter2hunter2", "***"))
    tail = StderrTail()
    tail.add(b"y" * (LINE_BYTES - 5) + b"hunter2hunter2" + b"z" * 100_000)
    tail.add(("x" + "ж" * LINE_BYTES).encode())
    masked, cut = tail.lines
    assert masked == "y" * (LINE_BYTES - 5) + "***zz"
    assert cut == "x" + "ж" * (LINE_BYTES // 2 - 1)
