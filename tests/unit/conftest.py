"""What holds after every unit test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.native import nothing_left


@pytest.fixture(autouse=True)
def native_memory() -> Iterator[None]:
    """No native object outlives its test."""
    yield
    nothing_left()
