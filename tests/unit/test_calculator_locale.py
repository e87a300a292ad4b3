"""Which environments have a UTF-8 locale."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor import calculator_locale


@pytest.mark.parametrize(
    ("environ", "met"),
    [
        ([], "none of LC_ALL"),
        ([b"LANG="], "none of LC_ALL"),
        ([b"LANG=C"], "LANG is 'C'"),
        ([b"LANG=en_US.UTF-8", b"LC_ALL=POSIX"], "LC_ALL is 'POSIX'"),
        ([b"LANG=en_US.UTF-8", b"LC_CTYPE=de_DE.ISO-8859-1"], "LC_CTYPE is 'de_DE.ISO-8859-1'"),
        ([b"LANG=C", b"LANG=C.UTF-8"], "LANG is 'C'"),
        ([b"LANG=\xff"], "LANG is"),
    ],
)
def test_what_is_no_utf8_is_said(environ: list[bytes], met: str, tmp_path: Path) -> None:
    """With the variable that decides, and what to set."""
    said = calculator_locale.warning(environ, tmp_path)
    assert said is not None
    assert met in said
    assert "LANG=C.UTF-8" in said


@pytest.mark.parametrize(
    "environ",
    [[b"LANG=C.UTF-8"], [b"LANG=de_DE.utf8"], [b"LC_ALL=", b"LC_CTYPE=C.utf-8", b"LANG=C"], [b"LANG=C.UTF-8@euro"]],
)
def test_what_is_utf8_is_not(environ: list[bytes], tmp_path: Path) -> None:
    """In every spelling."""
    assert calculator_locale.warning(environ, tmp_path) is None


def test_musl_is_utf8_by_itself(tmp_path: Path) -> None:
    """Unless a variable says otherwise, which then counts there too."""
    (tmp_path / "ld-musl-x86_64.so.1").touch()
    assert calculator_locale.warning([], tmp_path) is None
    assert calculator_locale.warning([b"LANG=C"], tmp_path) is not None
