"""Lines of varied text that do not repeat, the same in every run."""

from __future__ import annotations

import random
import string

_WORDS = 65536


def lines(mean_bytes: int, count: int, seed: int = 1) -> list[bytes]:
    """``count`` numbered lines of ``mean_bytes`` ± 25 % of random words, 1 % of them quoted, 0.5 % Cyrillic."""
    rng = random.Random(seed)
    vocabulary = [_word(rng, number) for number in range(_WORDS)]
    lengths = [round(mean_bytes * rng.uniform(0.75, 1.25)) for _ in range(count)]
    text = b""
    made: list[bytes] = []
    position = 0
    for number, length in enumerate(lengths):
        head = b"%d " % number
        if len(text) - position < length:
            text = " ".join(rng.choices(vocabulary, k=200_000)).encode()
            position = 0
        # A cut may fall inside a letter of two bytes; the line stays well-formed.
        body = text[position : position + length - len(head)].decode("utf-8", "ignore").encode()
        made.append(head + body)
        position += length
    return made


def _word(rng: random.Random, number: int) -> str:
    length = rng.randint(2, 10)
    if number % 200 == 0:
        return "".join(rng.choices("абвгдежзиклмнопрстуфхцчшщыэюя", k=length))
    word = "".join(rng.choices(string.ascii_lowercase, k=length))
    return f'"{word}"' if number % 100 == 1 else word
