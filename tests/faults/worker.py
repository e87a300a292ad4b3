"""The Calculator of the fault runs: answers each line, in order, in pieces, so that a SIGKILL finds it inside a line.

Usage: ``worker.py PROGRAM RATE_PER_S`` with a name of ``PROGRAMS``. It asks for more only when all it has read is
answered and flushed, which is what `demand` wants, and echoes marker lines as they are. It takes at most RATE_PER_S
lines a second: what a commit interval can hold is bounded by that. It tells its run on STDERR.

An answer is ``RUN SERIAL PART LINE``: which run of the Calculator wrote it as which of its lines, which of the line's
answers it is, and the line it answers.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping

READ_BYTES = 8192  # what a Python reads ahead
MARKER = b"\x1eBDZ-ACK "
_REST_EVERY = 100  # lines; the rests make the rate, and fall inside a line


def one_answer(_number: int) -> int:
    """One line for each line."""
    return 1


def fan_out(number: int) -> int:
    """No line for one in ten, three lines for another, one for the others."""
    return {3: 0, 7: 3}.get(number % 10, 1)


PROGRAMS: Mapping[str, Callable[[int], int]] = {"one-answer": one_answer, "fan-out": fan_out}


def write(data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def main() -> None:
    answers_to, rate_per_s = PROGRAMS[sys.argv[1]], int(sys.argv[2])
    run, serial, lines = os.urandom(6).hex().encode(), 0, 0
    chance = random.Random()
    os.write(2, b"run " + run + b"\n")
    rest = b""
    while data := os.read(0, READ_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        in_one_write = chance.random() < 0.2  # longer than PIPE_BUF: a SIGKILL may cut it anywhere
        block = b""
        for line in whole:
            answers = [line + b"\n"]
            if not line.startswith(MARKER):
                count = answers_to(int(line.split(b" ", 2)[1]))
                answers = [b"%s %d %d %s\n" % (run, serial + part, part, line) for part in range(count)]
                serial += count
            answer = b"".join(answers)
            lines += 1
            resting = lines % _REST_EVERY == 0
            if in_one_write:
                block += answer
            elif resting or chance.random() < 0.05:
                middle = chance.randrange(len(answer) + 1)
                write(answer[:middle])
                if resting:
                    time.sleep(_REST_EVERY / rate_per_s)
                write(answer[middle:])
            else:
                write(answer)
        if in_one_write:
            half = len(block) // 2
            write(block[:half])
            time.sleep(len(whole) / rate_per_s)
            write(block[half:])


if __name__ == "__main__":
    main()
