"""A Consul agent in development mode on 127.0.0.1, and its HTTP interface as peers of the Supervisor use it."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import obtain
from .process import Service, free_ports, scratch_directory


class Consul:
    """An agent that can be reached at ``url`` (``http://host:port``); ``token`` goes with every request."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url if "://" in url else f"http://{url}"
        self.token = token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def dsn(self) -> str:
        """``host:port``, as CONSUL_DSN has it."""
        return self.url.split("://", 1)[1].rstrip("/")

    def request(self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None) -> bytes:
        """One request to ``/v1/<path>``, its answer's body; ``urllib.error.HTTPError`` for a refusal."""
        url = f"{self.url}/v1/{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"
        headers = {"X-Consul-Token": self.token} if self.token else {}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        with self._opener.open(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def get(self, path: str, **query: str) -> Any:
        """GET, decoded from JSON."""
        return json.loads(self.request("GET", path, query))

    def kv_get(self, key: str) -> bytes | None:
        """The key's value; None when there is no such key."""
        try:
            return self.request("GET", f"kv/{key}", {"raw": ""})
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
            raise

    def kv_put(self, key: str, value: str | bytes) -> None:
        """Write the value as it stands."""
        self.request("PUT", f"kv/{key}", {}, value.encode() if isinstance(value, str) else value)

    def kv_delete(self, key: str, *, recurse: bool = False) -> None:
        """Delete the key, or with ``recurse`` everything that begins with it."""
        self.request("DELETE", f"kv/{key}", {"recurse": ""} if recurse else {})

    def checks(self, service: str) -> list[dict[str, Any]]:
        """``health/checks/<service>``: what the platform asks for and shows."""
        answer: list[dict[str, Any]] = self.get(f"health/checks/{service}")
        return answer

    def services(self) -> dict[str, dict[str, Any]]:
        """The services registered at this agent, by their ID."""
        answer: dict[str, dict[str, Any]] = self.get("agent/services")
        return answer

    def alive(self) -> bool:
        """Whether the agent has a leader and takes writes."""
        try:
            if not self.get("status/leader"):
                return False
            self.kv_put("supervisor-services/alive", "1")
        except (OSError, ValueError):
            return False
        return True


class Agent(Consul):
    """An agent of our own. ``config`` is agent configuration (``acl``, ``tls``, …) as Consul's JSON has it.

    With ``tls`` it listens at ``dsn_tls`` too. It is a server with its store in memory, unless ``lasting``: a server
    that finds its store again after a kill; or ``member_of``: an agent without a store, which asks that server.
    """

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        *,
        token: str | None = None,
        lasting: bool = False,
        member_of: Agent | None = None,
    ) -> None:
        http, https, server, lan, wan = free_ports(5)
        self._lan = lan
        super().__init__(f"http://127.0.0.1:{http}", token)
        self._directory = scratch_directory("consul")
        tls = "tls" in (config or {})
        self.dsn_tls = f"https://127.0.0.1:{https}"
        settings = {
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "ports": {
                "http": http,
                "https": https if tls else -1,
                "server": server,
                "serf_lan": lan,
                "serf_wan": wan,
                "dns": -1,
                "grpc": -1,
                "grpc_tls": -1,
            },
            "disable_update_check": True,
            "log_level": "info",
        }
        file = self._directory / "agent.json"
        file.write_text(json.dumps(settings | (config or {})))
        mode: list[str | Path] = ["-dev"]
        self._data: Path | None = None
        if lasting or member_of is not None:
            self._data = self._directory / "data"
            mode = [f"-data-dir={self._data}", f"-node=node-{http}", "-hcl=performance { raft_multiplier = 1 }"]
            mode += [f"-retry-join=127.0.0.1:{member_of._lan}"] if member_of else ["-server", "-bootstrap-expect=1"]
        command: list[str | Path] = [obtain.consul_binary(), "agent", *mode, f"-config-file={file}"]
        self._service = Service("Consul agent", command, log=self._directory / "log")

    @classmethod
    def with_acl(cls, token: str) -> Agent:
        """An agent that denies whatever does not carry a token; ``token`` may do everything."""
        tokens = {"initial_management": token, "agent": token}
        return cls({"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}, token=token)

    def make_token(self, rules: str) -> str:
        """A new token that may do what ``rules`` (HCL) allow; its secret."""
        name = f"policy-{uuid.uuid4().hex}"
        self.request("PUT", "acl/policy", {}, json.dumps({"Name": name, "Rules": rules}).encode())
        made = self.request("PUT", "acl/token", {}, json.dumps({"Policies": [{"Name": name}]}).encode())
        secret: str = json.loads(made)["SecretID"]
        return secret

    def delete_token(self, secret: str) -> None:
        """The token is worth nothing from now on."""
        accessor = next(token["AccessorID"] for token in self.get("acl/tokens") if token.get("SecretID") == secret)
        self.request("DELETE", f"acl/token/{accessor}", {})

    def start(self, deadline_s: float = 20.0) -> Self:
        """Start with empty state; on a second start the ports are the same."""
        self._service.start(self.alive, deadline_s)
        return self

    def kill(self, *, forget: bool = False) -> None:
        """SIGKILL; everything it knew is lost, of one with a directory only if it is to ``forget``."""
        self._service.kill()
        if forget and self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._service.send(number)

    def restart(self) -> None:
        """Come back on the same ports, knowing nothing."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the agent and remove its files."""
        self._service.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
