"""The part of ``supervisor check --connect`` that asks the Consul agent. It reads, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from supervisor import route as routes
from supervisor.agent import ConsulAgent, KvDirectory, Right
from supervisor.errors import AgentError, AgentUnavailableError, RouteError
from supervisor.route import Route
from supervisor.settings import KV_KEYS, Settings, squeezed
from supervisor.tools.findings import ERROR, OK, SKIPPED, WARNING, Finding, not_checked

TIMEOUT_S: Final = 3.0
"""Of each request's answer, behind 3 s for the connection; 3 s more, and a name that is not resolved is given up."""


@dataclass
class Seen:
    """What the KV directory says. ``route`` is None while there is none, or one that would be refused."""

    route: Route | None = None
    why_none: str = "the Consul agent was not asked"
    in_kv: dict[str, str] = field(default_factory=dict)


async def look(settings: Settings, found: Callable[[Finding], object]) -> Seen:
    """Ask the agent; give each finding to ``found`` as it comes."""
    agent = ConsulAgent(settings, local_timeout_s=TIMEOUT_S, kv_timeout_s=TIMEOUT_S)
    try:
        directory = await agent.kv_directory(0, 0)
    except AgentUnavailableError as error:
        found(Finding("Consul agent", ERROR, str(settings.consul_dsn), message=str(error)))
        found(not_checked("Consul token's rights", "the agent does not answer"))
        found(not_checked("KV directory", "the agent does not answer", settings.kv_directory))
        return Seen(why_none="the Consul agent, which has the route, does not answer")
    except AgentError as error:
        found(Finding("KV directory", ERROR, settings.kv_directory, message=str(error)))
        await _rights(agent, settings, found)
        return Seen(why_none="the KV directory, which has the route, cannot be read")
    found(Finding("Consul agent", OK, str(settings.consul_dsn), message="it answers"))
    await _rights(agent, settings, found)
    return _directory(directory, settings, found)


async def _rights(agent: ConsulAgent, settings: Settings, found: Callable[[Finding], object]) -> None:
    name = "Consul token's rights"
    wanted = [*_wanted(settings)]
    try:
        allowed = await agent.may([right for right, _ in wanted])
    except AgentError as error:
        found(not_checked(name, str(error)))
        return
    if allowed is None:
        found(Finding(name, OK, message="the agent has no ACLs: everything is allowed"))
        return
    for (right, purpose), may in zip(wanted, allowed, strict=True):
        what = f"{right.resource} {right.access} on {right.segment}"
        if may:
            found(Finding(name, OK, what, message=purpose))
        else:
            hint = "give a token that allows it in CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE"
            found(Finding(name, ERROR, what, message=f"it is missing, {purpose}", hint=hint))


def _wanted(settings: Settings) -> Iterator[tuple[Right, str]]:
    directory = settings.kv_directory
    yield Right("service", "write", settings.service_name), "to register and to report both checks"
    yield Right("key", "read", f"{directory}/{routes.DESIRED_VERSION}"), "to read the route"
    yield Right("key", "write", f"{directory}/{routes.ADOPTED_VERSION}"), "to report the adopted version"


def _directory(directory: KvDirectory, settings: Settings, found: Callable[[Finding], object]) -> Seen:
    name = "KV directory"
    if directory.entries is None:
        found(Finding(name, WARNING, settings.kv_directory, message="there is no such directory: not routed yet"))
        found(Finding("route", SKIPPED, message="not checked: there is none yet"))
        return Seen(why_none="there is no route yet")
    keys = ", ".join(sorted(directory.entries))
    found(Finding(name, OK, settings.kv_directory, "KV", message=f"keys: {keys}"))
    _nearly_ours(directory.entries, found)
    in_kv = {
        key: directory.entries[key].decode("utf-8", "replace").strip() for key in KV_KEYS if key in directory.entries
    }
    try:
        route = routes.parse(directory.entries, settings)
    except RouteError as error:
        problems = "; ".join(error.problems)
        found(
            Finding("route", ERROR, None, "KV", f"it would be refused: {problems}", "correct the keys in Consul's KV")
        )
        return Seen(why_none="the route would be refused", in_kv=in_kv)
    if route is None:
        found(Finding("route", WARNING, None, "KV", "there is no desired_version: not routed yet"))
        return Seen(why_none="there is no route yet", in_kv=in_kv)
    for note in settings.with_kv(route.settings).kv_notes:
        key, _, words = note.partition(": ")
        found(Finding(key, WARNING, in_kv.get(key), "KV", words))
    adopted = routes.adopted_version(directory.entries)
    told = "adopted" if adopted == route.version else f"adopted_version is {adopted}: not adopted yet"
    found(Finding("route", OK, routes.describe(route), "KV", told))
    return Seen(route, in_kv=in_kv)


def _nearly_ours(entries: Iterable[str], found: Callable[[Finding], object]) -> None:
    ours = {squeezed(key): key for key in routes.KNOWN_KEYS}
    for key in sorted(set(entries) - routes.KNOWN_KEYS):
        if squeezed(key) in ours:
            found(Finding(key, WARNING, None, "KV", "it is not read", f"{ours[squeezed(key)]} may be meant"))
