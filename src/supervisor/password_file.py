"""KAFKA_SASL_PASSWORD_FILE, read again while the Supervisor runs: a password that changes needs no new start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from supervisor import logs
from supervisor.off_loop import off_loop

log = structlog.get_logger("supervisor.password_file")

INTERVAL_S: Final = 5.0


class PasswordFile:
    """Of one file: ``on_change`` is given what stands in it, without the white space around it, when it is new."""

    def __init__(self, path: str, password: str, on_change: Callable[[str], None]) -> None:
        self._path = Path(path)
        self._password = password
        self._on_change = on_change
        self._unread = False  # and that was said

    async def run(self) -> None:
        """Look at it now and then until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Look at it now. What cannot be read, or is empty, may be in the middle of a change: the last one holds."""
        try:
            password = (await off_loop(lambda: self._path.read_text("utf-8"))).strip()
        except (OSError, ValueError) as error:
            if not self._unread:
                why = error.strerror if isinstance(error, OSError) else "not UTF-8"
                log.warning("KAFKA_SASL_PASSWORD_FILE cannot be read; the last password holds", why=why)
            self._unread = True
            return
        self._unread = False
        if password and password != self._password:
            self._password = password
            logs.hide(password)
            self._on_change(password)
            log.info("the password in KAFKA_SASL_PASSWORD_FILE changed; the next connections are made with it")
