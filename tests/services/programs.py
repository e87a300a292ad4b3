"""Calculators written in a test."""

from __future__ import annotations


def python(program: str) -> tuple[str, ...]:
    """Return the command of one in Python, whose STDOUT keeps nothing back."""
    return ("python3", "-u", "-c", program)
