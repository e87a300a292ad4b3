"""The demo's Calculator, and the shape of most real ones: a line in, a line out, flushed."""

from __future__ import annotations

import sys


def main() -> None:
    """Answer each line ``<number> <text>`` with ``<number> <text in capitals>``."""
    print("example calculator started", file=sys.stderr, flush=True)
    for line in sys.stdin:
        number, _, text = line.rstrip("\n").partition(" ")
        print(number, text.upper(), flush=True)


if __name__ == "__main__":
    main()
