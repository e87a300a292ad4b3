"""The service and its two checks at the Consul agent: register, heartbeat, register again, deregister."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from supervisor import __version__
from supervisor import instance as instances
from supervisor.agent import ConsulAgent
from supervisor.backoff import Backoff
from supervisor.errors import AgentError
from supervisor.health import CheckReport
from supervisor.logs import state_changed
from supervisor.settings import Settings
from supervisor.states import REGISTRATION, Lifecycle, RegistrationState

log = structlog.get_logger("supervisor.registration")

TTL_S: Final = 15.0
HEARTBEAT_S: Final = 5.0
DEREGISTER_AFTER: Final = "1m"  # the least an agent accepts
RENEW_CRITICAL_AFTER_S: Final = 30.0
"""An agent deregisters what has been critical for DEREGISTER_AFTER, alive or not; registering begins that time anew."""

PUBLISH_EVERY_S: Final = 15.0
"""How often a sentence that changes under the same status is brought to the catalogue; each time costs a Raft write."""


class Registration:
    """Keeps the service registered while ``run`` runs.

    ``facts`` gives the reports of the Supervisor's and of the Calculator's check, each with ``status`` and ``output``.
    ``instance`` makes the service's ID unique: replicas share its name.
    ``error`` is why the service is not registered, or not known to be, and ``error_since_s`` since when (monotonic).
    """

    def __init__(
        self,
        agent: ConsulAgent,
        settings: Settings,
        facts: Callable[[], tuple[CheckReport, CheckReport]],
        *,
        instance: str | None = None,
        ttl_s: float = TTL_S,
        heartbeat_s: float = HEARTBEAT_S,
        renew_critical_after_s: float = RENEW_CRITICAL_AFTER_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.lifecycle = Lifecycle("registration", REGISTRATION, RegistrationState.UNREGISTERED, state_changed)
        self.service_id = f"{settings.service_name}-{instance or instances.new()}"
        self.error: str | None = None
        self.error_since_s: float | None = None
        self.check_ids = (f"{self.service_id}:supervisor", f"{self.service_id}:calculator")
        self._agent = agent
        self._settings = settings
        self._facts = facts
        self._ttl_s = ttl_s
        self._heartbeat_s = heartbeat_s
        self._renew_critical_after_s = renew_critical_after_s
        self._jitter = jitter
        self._due = asyncio.Event()
        self._restored = False
        self._asked = False
        self._error_kind: type[AgentError] | None = None
        self._registered_at_s = 0.0
        self._told: tuple[CheckReport, ...] = ()
        self._published: tuple[CheckReport, ...] = ()
        self._publish_at_s = 0.0
        agent.on_restored.append(self._agent_restored)

    def poke(self) -> None:
        """Report at once: a status changed."""
        self._due.set()

    def out_of_date(self) -> bool:
        """Whether the agent was told other statuses than those of now; one that cannot be told is not meant."""
        told = [report.status for report in self._told]
        return self.lifecycle.state is RegistrationState.REGISTERED and told != [r.status for r in self._facts()]

    async def run(self) -> None:
        """Register and heartbeat until cancelled."""
        backoff = Backoff(self._heartbeat_s)
        while True:
            began_s = time.monotonic()
            asked = self._due.is_set()
            self._due.clear()
            try:
                if self._must_register():
                    await self._register()
                    asked = True
                    self._published = tuple(replace(report, output="") for report in self._facts())
                    self._publish_at_s = 0.0
                await self._heartbeat()
            except AgentError as error:
                self._lost(error)
                rest_s = backoff.failed()
            else:
                backoff.reset()
                self._found()
                rest_s = self._heartbeat_s
                if asked:
                    # Instances that beat at once, because their agent came back, do not beat together for ever.
                    rest_s = time.monotonic() - began_s + rest_s * self._jitter()
            # From start to start: two answers that take seconds each must not carry the next heartbeat beyond the TTL.
            await self._rest(began_s + rest_s - time.monotonic())

    async def deregister(self, deadline_s: float) -> None:
        """Remove the service, after ``run`` has ended; give up after ``deadline_s`` and leave it to the TTL."""
        why = "was never registered"
        if self._asked:
            try:
                async with asyncio.timeout(deadline_s):
                    await self._agent.deregister(self.service_id)
                why = "the Supervisor stops"
            except (AgentError, TimeoutError) as error:
                why = "the agent could not be told"
                log.warning(
                    "service not deregistered",
                    service_id=self.service_id,
                    error=str(error) or f"no answer within {deadline_s:g} s",
                    then=f"critical within {self._ttl_s:g} s, removed by the agent {DEREGISTER_AFTER} later",
                )
        self.lifecycle.change(RegistrationState.DEREGISTERED, why)

    def _must_register(self) -> bool:
        if self.lifecycle.state is not RegistrationState.REGISTERED or self._restored:
            return True
        critical = self._facts()[0].status == "critical"
        return critical and time.monotonic() - self._registered_at_s >= self._renew_critical_after_s

    async def _register(self) -> None:
        address = self._settings.consul_advertise or await self._agent.own_address()
        self._asked = True
        await self._agent.register(self._definition(address))
        self._restored = False
        self._registered_at_s = time.monotonic()
        if self.lifecycle.state is not RegistrationState.REGISTERED:
            self.lifecycle.change(RegistrationState.REGISTERED, f"{self.service_id} at {address}")

    async def _heartbeat(self) -> None:
        reports = self._facts()
        for check_id, report in zip(self.check_ids, reports, strict=True):
            await self._agent.ttl_update(check_id, report.status, report.output)
        self._told = reports
        # An agent passes a new status on at once, with its sentence; a new sentence alone only after minutes
        # (check_update_interval), unless the service is registered again: then at once too.
        waiting = [new.status == old.status and new != old for new, old in zip(reports, self._published, strict=True)]
        if not any(waiting):
            self._published = reports
        elif time.monotonic() >= self._publish_at_s:
            await self._register()
            self._published = reports
            self._publish_at_s = time.monotonic() + PUBLISH_EVERY_S

    def _definition(self, address: str) -> dict[str, object]:
        # The Calculator's check has no deregistration: it may be critical for hours in an instance that is alive.
        names = ("Supervisor", "Calculator")
        checks = [
            {"CheckID": check_id, "Name": name, "TTL": f"{self._ttl_s:g}s", "Status": report.status}
            for check_id, name, report in zip(self.check_ids, names, self._facts(), strict=True)
        ]
        checks[0]["DeregisterCriticalServiceAfter"] = DEREGISTER_AFTER
        definition: dict[str, object] = {
            "ID": self.service_id,
            "Name": self._settings.service_name,
            "Address": address,
            "Meta": {"version": __version__, "pid": str(os.getpid()), "node_id": self._settings.node_id},
            "Checks": checks,
        }
        if self._settings.http_port:
            definition["Port"] = self._settings.http_port
        return definition

    def _lost(self, error: AgentError) -> None:
        # A kind is said once: an agent that is away and then refuses is two things to know, twenty timeouts are one.
        if self.lifecycle.state is RegistrationState.REGISTERED:
            self.lifecycle.change(RegistrationState.LOST, str(error))
        elif type(error) is not self._error_kind:
            log.warning("service cannot be registered", service_id=self.service_id, error=str(error))
        self._error_kind = type(error)
        self.error = str(error)
        if self.error_since_s is None:
            self.error_since_s = time.monotonic()

    def _found(self) -> None:
        self.error = self.error_since_s = self._error_kind = None

    def _agent_restored(self) -> None:
        self._restored = True
        self._due.set()

    async def _rest(self, rest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, rest_s)):
                await self._due.wait()
