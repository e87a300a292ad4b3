"""The Consul agent, as far as the Supervisor needs it, and what its answers mean.

python-consul2's synchronous HTTP client (``consul_http``) runs in daemon threads of our own. They import it too: the
rest of the start does not wait for that, and no other command loads it. ``concurrent.futures`` joins its threads when
the interpreter exits, so that a blocking query in flight would hold the exit for half a minute; a daemon thread is
left. There is one thread for blocking queries, one for other KV requests, which Consul's servers answer, and one for
what the agent answers by itself: a heartbeat never waits behind a blocking query or a cluster without a leader.
"""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import structlog
from pydantic import SecretStr

from supervisor.errors import AgentRefusedError, AgentSilentError, AgentUnavailableError
from supervisor.settings import Settings
from supervisor.values import ConsulAddress

if TYPE_CHECKING:
    from supervisor.consul_http import Answer, ConsulHttp

log = structlog.get_logger("supervisor.agent")

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 3.0
LOCAL_TIMEOUT_S: Final = 5.0
# Above the seven seconds for which an agent holds a request while the servers elect a leader.
KV_TIMEOUT_S: Final = 10.0
# Beyond the sum of a request's own timeouts: name resolution and answers that come byte by byte are not in it.
OVERALL_MARGIN_S: Final = 3.0
MAX_SHOWN_CHARACTERS: Final = 200
_TOKEN_VARIABLES: Final = "CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE"  # noqa: S105 - their names


@dataclass(frozen=True, slots=True)
class KvDirectory:
    """One snapshot of the workspace's directory: ``entries`` by key below it, None if there is no such directory.

    ``index`` is what the next blocking query waits beyond; ``modify_indexes`` are for ``kv_cas``, by key.
    """

    index: int
    entries: Mapping[str, bytes] | None
    modify_indexes: Mapping[str, int]


class Right(NamedTuple):
    """A right that a token has or has not: ``resource`` is key or service, ``access`` read or write."""

    resource: str
    access: str
    segment: str


class ConsulAgent:
    """Every method is bounded in time and raises AgentUnavailableError or AgentRefusedError.

    ``errors_total`` counts those. Those in ``on_restored`` are told when an agent that did not answer, or had nothing
    but 5xx and 429 to say, answers again: it may have forgotten everything meanwhile.
    """

    def __init__(
        self, settings: Settings, *, local_timeout_s: float = LOCAL_TIMEOUT_S, kv_timeout_s: float = KV_TIMEOUT_S
    ) -> None:
        self.errors_total = 0
        self.on_restored: list[Callable[[], None]] = []
        self._settings = settings
        self._address = settings.consul_dsn
        self._token = _Token(settings.consul_http_token, settings.consul_http_token_file)
        self._local_timeout_s = local_timeout_s
        self._kv_timeout_s = kv_timeout_s
        self._token_seen = 0
        self._lanes: dict[str, _Lane] = {}
        # What the agent answers by itself, and what only the servers behind it can: without a leader the one goes on
        # while the other fails, and must not look like an agent that comes back at every heartbeat.
        self._silent: set[str] = set()
        if self._address.scheme == "https" and not settings.consul_http_ssl_verify:
            log.warning("the Consul agent's certificate is not checked", because="CONSUL_HTTP_SSL_VERIFY is false")

    async def kv_directory(self, index: int, wait_s: float) -> KvDirectory:
        """Read the whole directory; with ``index`` above 0 as a blocking query, for at most about ``wait_s``."""
        asked = f"read the KV directory '{self._settings.kv_directory}'"
        params = [("recurse", "1"), *self._datacenter()]
        timeout_s = self._kv_timeout_s
        if index > 0:
            params += [("index", str(index)), ("wait", f"{max(1, round(wait_s * 1000))}ms")]
            timeout_s += wait_s + wait_s / 16  # the agent adds up to a sixteenth, against thundering herds
        path = f"/v1/kv/{self._settings.kv_directory}/"
        response = await self._request("watch" if index > 0 else "kv", path, params, timeout_s, asked)
        if response.code != 404:
            self._check(response, asked)
        return self._kv_directory_of(response, asked)

    async def kv_cas(self, key: str, value: str, modify_index: int) -> bool:
        """Write a key of the directory if nobody did since ``modify_index`` (0: if it is not there)."""
        asked = f"write the key '{self._settings.kv_directory}/{key}'"
        path = f"/v1/kv/{self._settings.kv_directory}/{key}"
        params = [("cas", str(modify_index)), *self._datacenter()]
        response = await self._request("kv", path, params, self._kv_timeout_s, asked, value)
        self._check(response, asked)
        if response.body.strip() not in ("true", "false"):
            raise self._no_agent(response, asked)
        return bool(response.body.strip() == "true")

    async def register(self, definition: Mapping[str, object]) -> None:
        """Register a service with its checks in one request; checks it had and that are not there any more go."""
        await self._local(
            "/v1/agent/service/register",
            "register the service",
            json.dumps(definition),
            [("replace-existing-checks", "true")],
        )

    async def ttl_update(self, check_id: str, status: str, output: str) -> None:
        """Report a TTL check's status and sentence."""
        body = json.dumps({"Status": status, "Output": output})
        await self._local(f"/v1/agent/check/update/{check_id}", f"update the check '{check_id}'", body)

    async def deregister(self, service_id: str) -> None:
        """Remove a service with its checks; one that is not there is as good."""
        await self._local(f"/v1/agent/service/deregister/{service_id}", "deregister the service", unknown_is_fine=True)

    async def may(self, rights: Sequence[Right]) -> list[bool] | None:
        """Which of these rights the token has, without the use of any; None of an agent without ACLs.

        AgentRefusedError where the agent does not tell: it is asked as Consul's own pages ask it.
        """
        asked = "say what the token may do"
        wanted = [{"Resource": right.resource, "Access": right.access, "Segment": right.segment} for right in rights]
        params, body = self._datacenter(), json.dumps(wanted)
        answer = await self._request(
            "local", "/v1/internal/acl/authorize", params, self._local_timeout_s, asked, body, changes=False
        )
        if answer.code == 401 and "ACL support disabled" in answer.body:
            return None
        self._check(answer, asked)
        try:
            allowed = [item["Allow"] is True for item in json.loads(answer.body)]
        except (KeyError, TypeError, ValueError, RecursionError):
            allowed = []
        if len(allowed) != len(rights):
            raise self._no_agent(answer, asked)
        return allowed

    async def own_address(self) -> str:
        """Find the address of this machine on the route to the agent."""
        try:
            return await self._lane("local").call(lambda _http: _own_address(self._address), self._local_timeout_s)
        except OSError as error:  # TimeoutError is one
            self.errors_total += 1
            reason = "the host name cannot be resolved" if isinstance(error, socket.gaierror) else "no answer in time"
            raise self._no_answer("find the way to it", reason) from None

    def close(self) -> None:
        """Let the threads end. One that waits for an answer is left; it does not hold the process's exit."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    async def _local(
        self,
        path: str,
        asked: str,
        body: str = "",
        params: list[tuple[str, str]] | None = None,
        *,
        unknown_is_fine: bool = False,
    ) -> None:
        response = await self._request("local", path, params or [], self._local_timeout_s, asked, body)
        if not (unknown_is_fine and response.code == 404):
            self._check(response, asked)
            if response.body.strip():  # an agent says nothing when it has done such a thing; a portal says 200 to all
                raise self._no_agent(response, asked)

    async def _request(  # noqa: PLR0917 - private, and each is needed
        self,
        lane: str,
        path: str,
        params: list[tuple[str, str]],
        timeout_s: float,
        asked: str,
        body: str | None = None,
        *,
        changes: bool = True,
    ) -> Answer:
        timeouts_s = (CONNECT_TIMEOUT_S, timeout_s)

        def work(http: ConsulHttp) -> Answer:
            token = self._token.read()
            headers = {"X-Consul-Token": token} if token else {}
            if body is None:
                return http.get(path, params, headers, timeouts_s)
            return (http.put if changes else http.post)(path, params, headers, timeouts_s, body)

        thread = self._lane(lane)
        asked_of = _asked_of(lane)
        try:
            response = await thread.call(work, CONNECT_TIMEOUT_S + timeout_s + OVERALL_MARGIN_S)
        except (TimeoutError, AgentSilentError) as error:
            self.errors_total += 1
            self._silent.add(asked_of)
            if isinstance(error, TimeoutError) and self._lanes.get(lane) is thread:
                # An answer that comes byte by byte: each byte begins the socket's own timeout anew.
                self._lanes.pop(lane).cut()
            reason = str(error) if isinstance(error, AgentSilentError) else "no answer in time"
            raise self._no_answer(asked, reason) from None
        except AgentRefusedError:
            self.errors_total += 1
            raise
        if _overloaded(response.code):
            self._silent.add(asked_of)
            return response
        # A rotated token too: an agent brings checks to the catalogue with the token they were registered with.
        if asked_of in self._silent or self._token.changes != self._token_seen:
            self._restored(lane)
        return response

    def _restored(self, by: str) -> None:
        # What still waits began in the silence, and may be what is never answered: it is asked anew at once.
        for name, lane in [*self._lanes.items()]:
            if name != by and lane.busy and _asked_of(name) in self._silent:
                self._lanes.pop(name).cut()
        self._silent.clear()
        self._token_seen = self._token.changes
        for tell in self.on_restored:
            tell()

    def _lane(self, name: str) -> _Lane:
        if name not in self._lanes:
            self._lanes[name] = _Lane(f"consul-{name}", lambda: _consul_http(self._settings))
        return self._lanes[name]

    def _datacenter(self) -> list[tuple[str, str]]:
        return [("dc", self._settings.consul_datacenter)] if self._settings.consul_datacenter else []

    def _no_answer(self, asked: str, reason: str) -> AgentUnavailableError:
        return AgentUnavailableError(
            f"Consul agent at {_shown(self._address)}: {reason}, when asked to {asked};"
            " check CONSUL_DSN and that the agent runs"
        )

    def _check(self, response: Answer, asked: str) -> None:
        """Raise what an answer other than success means."""
        if 200 <= response.code < 300:
            return
        self.errors_total += 1
        said = " ".join(self._token.redacted(response.body).split())[:MAX_SHOWN_CHARACTERS]
        met = f"Consul agent at {_shown(self._address)} answered {response.code} ({said}) when asked to {asked}"
        if _overloaded(response.code):
            raise AgentUnavailableError(f"{met}; it is tried again")
        if response.code in (401, 403):
            raise AgentRefusedError(f"{met}; give a token that allows it in {_TOKEN_VARIABLES}")
        if response.code == 404:
            raise AgentRefusedError(f"{met}; the agent does not know it")
        raise AgentRefusedError(f"{met}; check CONSUL_DSN and the agent's log")

    def _no_agent(self, response: Answer, asked: str) -> AgentRefusedError:
        self.errors_total += 1
        return AgentRefusedError(
            f"{_shown(self._address)} answered {response.code} as no Consul agent does, when asked to {asked};"
            " check CONSUL_DSN"
        )

    def _kv_directory_of(self, response: Answer, asked: str) -> KvDirectory:
        prefix = f"{self._settings.kv_directory}/"
        try:
            index = int(response.headers["X-Consul-Index"])
            entries: dict[str, bytes] = {}
            modify_indexes: dict[str, int] = {}
            if response.code != 404:
                for key, value, modify_index in map(_kv_item, json.loads(response.body)):
                    if not key.startswith(prefix):
                        raise ValueError(key)
                    entries[key.removeprefix(prefix)] = value
                    modify_indexes[key.removeprefix(prefix)] = modify_index
        except (KeyError, TypeError, ValueError, RecursionError):
            raise self._no_agent(response, asked) from None
        if response.code != 404:
            if not entries:  # an agent says 404 then; the streams must not stop for something else's empty list
                raise self._no_agent(response, asked)
            return KvDirectory(index, entries, modify_indexes)
        # To a token that may read nothing the directory looks deleted, and the streams must not stop for that.
        if response.headers.get("X-Consul-Results-Filtered-By-Acls") == "true":
            self.errors_total += 1
            raise AgentRefusedError(
                f"Consul agent at {_shown(self._address)}: the token may not {asked};"
                f" give one that allows it in {_TOKEN_VARIABLES}"
            )
        return KvDirectory(index, None, {})


def _asked_of(lane: str) -> str:
    return "agent" if lane == "local" else "servers"


def _overloaded(code: int) -> bool:
    """Whether an answer means: not now."""
    return code == 429 or code >= 500


def _kv_item(item: Any) -> tuple[str, bytes, int]:
    """(key, value, modify index) of one element of an agent's answer; raise what JSON of another shape causes."""
    key, value, modify_index = item["Key"], item["Value"], item["ModifyIndex"]
    if not isinstance(key, str) or type(modify_index) is not int:
        raise TypeError(key)
    return key, base64.b64decode(value, validate=True) if value is not None else b"", modify_index


class _Token:
    """The ACL token; a file wins over the variable and is read again when it changed, of which ``changes`` counts."""

    def __init__(self, given: SecretStr | None, file: str | None) -> None:
        self._token = given.get_secret_value() if given else ""
        self._file = Path(file) if file else None
        self._seen: tuple[int, int, int] | None = None
        self._lock = threading.Lock()  # each lane's thread reads
        self._given_out = False
        self.changes = 0

    def read(self) -> str:
        """Return the token, empty if there is none; raise AgentRefusedError if it never could be read."""
        with self._lock:
            token = self._read()
            self._given_out = True
            return token

    def _read(self) -> str:
        if self._file is not None:
            try:
                stat = self._file.stat()
                seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if seen != self._seen:
                    text = self._file.read_text(encoding="utf-8").strip()
                    # An empty file is one that is being written.
                    if text:
                        self.changes += self._given_out and text != self._token
                        self._token = text
                        self._seen = seen
            except (OSError, ValueError) as error:
                if not self._token:
                    reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
                    raise AgentRefusedError(f"CONSUL_HTTP_TOKEN_FILE cannot be read ({reason})") from None
        return self._token

    def redacted(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text


class _Lane:
    """One daemon thread with one HTTP session; does one call after the other."""

    def __init__(self, name: str, make_http: Callable[[], ConsulHttp]) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[ConsulHttp], Any], asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self.busy = False
        self._http: ConsulHttp | None = None
        threading.Thread(target=self._run, args=(make_http,), name=name, daemon=True).start()

    async def call(self, work: Callable[[ConsulHttp], T], bound_s: float) -> T:
        """Return what ``work`` returns; TimeoutError after ``bound_s``, the wait for earlier calls included."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((work, future))
        async with asyncio.timeout(bound_s):
            return await future

    def close(self) -> None:
        self._calls.put(None)

    def cut(self) -> None:
        """Close, and take the connections away from the call that is stuck in one of them."""
        self.close()
        if self._http is not None:
            self._http.cut()

    def _run(self, make_http: Callable[[], ConsulHttp]) -> None:
        while (call := self._calls.get()) is not None:
            work, future = call
            if future.cancelled():
                continue
            self.busy = True
            result: Any = None
            error: BaseException | None = None
            try:
                if self._http is None:
                    self._http = make_http()
                result = work(self._http)
            except BaseException as failed:  # noqa: BLE001 - belongs to the caller, whatever it is
                error = failed
            self.busy = False
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                break  # the loop is closed: nobody waits any more
        if self._http is not None:
            self._http.close()


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _consul_http(settings: Settings) -> ConsulHttp:
    from supervisor.consul_http import ConsulHttp  # noqa: PLC0415 - late on purpose, as said above

    return ConsulHttp(
        settings.consul_dsn,
        cert=(settings.consul_client_cert, settings.consul_client_key) if settings.consul_client_cert else None,
        verify=(settings.consul_cacert or True) if settings.consul_http_ssl_verify else False,
        connect_timeout_s=CONNECT_TIMEOUT_S,
    )


def _shown(address: ConsulAddress) -> str:
    if address.scheme == "unix":
        return address.socket_path
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _own_address(agent: ConsulAddress) -> str:
    """Ask the kernel which source address it would use: connecting a UDP socket sends nothing.

    To an agent on this machine that is loopback, which helps nobody else: then the address of the default route
    (towards an address that is reserved for documentation), loopback only if there is no route at all.
    """
    found = "127.0.0.1"
    if agent.scheme != "unix":
        for family, kind, protocol, _, target in socket.getaddrinfo(agent.host, agent.port, type=socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.connect(target)
                    found = str(probe.getsockname()[0])
                    break
            except OSError:
                continue
    if found.startswith("127.") or found == "::1":
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("192.0.2.1", 9))
                found = str(probe.getsockname()[0])
        except OSError:
            pass
    return found
