"""One native stream end and its thread: start, notices on the loop, counters, and an end that can be awaited."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from supervisor.remedies import remedy

log = structlog.get_logger("supervisor.stream")

_SYSLOG_WARNING = 4
# A failed connection comes as an error too, and every second while a broker is away. KAFKA_OPTIONS are for both
# clients, and each ignores what is the other's.
_NOISE = re.compile("FAIL:|CONFWARN:.* is a (consumer|producer) property and will be ignored")
_ERRORS_THAT_FOLLOW = {-195, -187, -185}  # transport, all brokers down, timed out: they do not say why
_ERRORS_ABOUT_CONNECTIONS = _ERRORS_THAT_FOLLOW | {-193, -169, -181}  # resolve, authentication, TLS
_ALL_BROKERS_DOWN = -187
_TOPIC_AUTHORIZATION_FAILED = 29
_GROUP_AUTHORIZATION_FAILED = 30
_TIMED_OUT = -185
ERROR_STANDS_S = 2.5
"""An error that statistics take back stands at least this long: they are 2 s apart."""

REASON_STANDS_S = 10.0
"""So long the reason of a failed connection is shown after it came the last time, whatever the other brokers say."""

LINES_EVERY_S = 60.0
"""Between two warnings of librdkafka's log of one kind."""

_KIND_CHARACTERS = 160
_KINDS_MAX = 64

CALL_PATIENCE_MS = 3000
"""A transaction call has a second, for the offsets five. One that takes longer than this waits for a broker, and no
error or statistics come meanwhile: send_offsets_to_transaction goes by no timeout (librdkafka's issues 5456, 5511)."""

DESTROY_DEADLINE_S = 5.0
"""How long librdkafka gets to destroy a client, on top of the deadline for closing it."""


class End(Protocol):
    """What `Inlet` and `Outlet` have in common."""

    @property
    def notice_fd(self) -> int:
        """An eventfd, written when there are notices to take; it lives as long as the end."""

    def run(self) -> None:
        """Be the body of the thread."""

    def stop(self, deadline_s: float) -> None:
        """End the thread."""

    def notices(self) -> list[tuple[str, int, str]]:
        """Take what the thread has to tell."""

    def snapshot(self) -> dict[str, int]:
        """Return the counters."""


class StreamEnd:
    """The thread of an `Inlet` or `Outlet`, watched from the loop.

    ``on_notice(kind, code, text)`` is called on the loop for every notice but log lines and errors, which are dealt
    with here: logged, and kept as ``error`` for as long as they stand. A fatal error is told as well, and stands until
    the end is closed, if the end does not renew its client by itself.
    """

    def __init__(
        self, name: str, topic: str, end: End, on_notice: Callable[[str, int, str], None], *, renews_client: bool
    ) -> None:
        self.topic = topic
        self.error: str | None = None
        self.error_since_s: float | None = None
        self.error_code = 0
        self._fatal = False
        self._renews_client = renews_client
        self._name = name
        self._end = end
        self._on_notice = on_notice
        self._closed = asyncio.Event()
        self._error_at_s = 0.0
        self._reason_at_s = 0.0  # when its code came the last time
        self._logged_codes: set[int] = set()  # of the error that stands
        self._lines: dict[str, tuple[float, int]] = {}  # by kind: when one is due again, how many were left out
        self._progress: int | None = None  # at the first look after an error
        self._progress_before = 0  # at the last look before it
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end.notice_fd, self.take_notices)
        self._thread = threading.Thread(target=end.run, name=name, daemon=True)
        self._thread.start()

    def counters(self) -> Mapping[str, int]:
        """Counters of the native side now; takes back an error that no longer stands."""
        counters = self._end.snapshot()
        progress = counters.get("lines_delivered", counters.get("records_read", 0))
        stood_s = time.monotonic() - self._error_at_s
        unanswered = counters.get("call_ms", 0) > CALL_PATIENCE_MS
        if unanswered and self.error is None:
            self._on_error("error", _TIMED_OUT, "no broker answers the transaction's call")
        reconnected = (
            self.error_code in _ERRORS_ABOUT_CONNECTIONS
            and counters["brokers_up"] > 0
            and stood_s > ERROR_STANDS_S
            and not unanswered
        )
        # An answer to a fetch that was refused has no high watermark. librdkafka tells of the first one only.
        readable = (
            self.error_code == _TOPIC_AUTHORIZATION_FAILED
            and counters.get("readable_partitions", 0) == counters.get("assigned_partitions", 0) > 0
        )
        # The right came back before the membership was lost: nothing is assigned anew, and there may be no record.
        member = (
            self.error_code == _GROUP_AUTHORIZATION_FAILED
            and counters.get("group_steady", 0) > 0
            and stood_s > ERROR_STANDS_S
        )
        # The outlet's last error is gone with the first delivery, which may have been the last one for long.
        delivered = (
            self.error_code not in _ERRORS_ABOUT_CONNECTIONS
            and counters.get("last_error") == 0
            and counters.get("undelivered") == 0
            and progress > self._progress_before
        )
        flows = self._progress is not None and progress > self._progress
        if self.error is not None and (reconnected or readable or member or delivered or flows):
            self.clear_error("connected again" if reconnected else "records flow again")
        if self._progress is None or self.error is None:
            self._progress = progress
        if self.error is None:
            self._progress_before = progress
        return counters

    @property
    def remedy(self) -> str:
        """What to do about `error`."""
        return remedy(self.error_code)

    def clear_error(self, why: str) -> None:
        """Take the standing error back."""
        if self.error is not None and not self._fatal:
            stood_s = round(time.monotonic() - (self.error_since_s or 0.0), 1)
            log.info("kafka error is over", side=self._name, topic=self.topic, was=self.error, why=why, stood_s=stood_s)
            self.error = self.error_since_s = None
            self._logged_codes.clear()

    async def close(self, deadline_s: float, destroy_deadline_s: float = DESTROY_DEADLINE_S) -> bool:
        """End the thread and its client; the native side keeps to the deadline, and is left behind if it does not.

        Return whether it did.
        """
        self._end.stop(deadline_s)
        try:
            await asyncio.wait_for(self._closed.wait(), deadline_s + destroy_deadline_s)
        except TimeoutError:
            log.error(  # noqa: TRY400 - a traceback of the wait says nothing
                "kafka client does not end; left behind", side=self._name, topic=self.topic
            )
            return False
        await asyncio.to_thread(self._thread.join)
        self._loop.remove_reader(self._end.notice_fd)
        return True

    def take_notices(self) -> None:
        """Deal with what the thread has to tell; called by the loop when there is something."""
        try:
            os.eventfd_read(self._end.notice_fd)
        except BlockingIOError:
            return
        for kind, code, text in self._end.notices():
            if kind == "log":
                self._log_line(code, text)
            elif kind in ("error", "fatal"):
                self._on_error(kind, code, text)
                if kind == "fatal":
                    self._on_notice(kind, code, text)
            elif kind == "placed":
                self.clear_error("partitions are read again")
            else:
                if kind == "assigned":
                    self.clear_error("partitions assigned")
                self._on_notice(kind, code, text)
                if kind == "closed":
                    self._closed.set()

    def _log_line(self, level: int, text: str) -> None:
        """Log what librdkafka logs: a warning, if the same was not one just now; some it repeats every second."""
        now_s = time.monotonic()
        kind = re.sub(r"\d+", "0", text)[:_KIND_CHARACTERS]
        if kind not in self._lines and len(self._lines) >= _KINDS_MAX:
            kind = "others"
        due_s, left_out = self._lines.get(kind, (0.0, 0))
        if level > _SYSLOG_WARNING or _NOISE.match(text):
            log.debug("librdkafka", side=self._name, line=text)
        elif now_s < due_s:
            self._lines[kind] = due_s, left_out + 1
            log.debug("librdkafka", side=self._name, line=text)
        else:
            self._lines[kind] = now_s + LINES_EVERY_S, 0
            more = {"left_out_before": left_out} if left_out else {}
            log.warning("librdkafka", side=self._name, line=text, **more)

    def _on_error(self, kind: str, code: int, text: str) -> None:
        if self._fatal:
            return  # what follows it is its consequence
        self._fatal = kind == "fatal" and not self._renews_client
        self._error_at_s = time.monotonic()
        if self.error is not None and kind != "fatal" and self._says_no_more(code):
            return
        # One trouble is one line: librdkafka tells of it by turns, by another text for each broker.
        if kind == "fatal" or code not in self._logged_codes:
            log.warning("kafka error", side=self._name, topic=self.topic, error=text, code=code, fatal=kind == "fatal")
            self._logged_codes.add(code)
        if self.error is None:
            self.error_since_s = time.monotonic()
        self.error = text
        self.error_code = code
        self._reason_at_s = self._error_at_s
        self._progress = None

    def _says_no_more(self, code: int) -> bool:
        """Whether an error about connections says no more than the one that stands."""
        if not {code, self.error_code} <= _ERRORS_ABOUT_CONNECTIONS:
            return False
        if code == self.error_code:
            self._reason_at_s = time.monotonic()
            return True
        if self.error_code == _ALL_BROKERS_DOWN:
            return False
        if code in _ERRORS_THAT_FOLLOW:
            return True
        # Two brokers with a reason each: the first is shown for as long as it comes again.
        standing = self.error_code not in _ERRORS_THAT_FOLLOW
        return standing and code in self._logged_codes and time.monotonic() - self._reason_at_s < REASON_STANDS_S
