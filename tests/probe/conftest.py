from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tests.probe.driver import build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The probe itself."""
    return build(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs that have to be compiled go."""
    return tmp_path_factory.mktemp("programs")
