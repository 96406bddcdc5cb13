"""A server from its start to its end. Whatever fails, and at whatever step: what was opened is closed, in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from msgspec import Struct

from runwright.adapters.log import StandardLog
from runwright.adapters.memory_trim import MemoryTrimmer
from runwright.adapters.sqlite.opening.fresh import UnservedDirectory
from runwright.adapters.start_errors import unbound
from runwright.adapters.telemetry.setup import Telemetry
from runwright.adapters.watchdog import LoopWatchdog
from runwright.bootstrap.callback_certificate import reread_certificate
from runwright.bootstrap.interpreter import settle_interpreter
from runwright.bootstrap.name_owners import reread_owners
from runwright.bootstrap.operator_policy_file import operator_policy_file
from runwright.bootstrap.parts import build_runtime, closed_by, credentials
from runwright.bootstrap.signals import Signals
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError
from runwright.core.package import RuntimePackage
from runwright.ports.provider import Provider
from runwright.ports.storage import Storage
from runwright.runtime import AgentRuntime
from runwright.runtime.housekeeping.readiness import Readiness
from runwright.runtime.housekeeping.retention import Retention
from runwright.runtime.housekeeping.space_watch import SpaceWatch
from runwright.settings import Settings
from runwright.transport.calls import CallTimes
from runwright.transport.connections import ConnectionLimits
from runwright.transport.health import Health
from runwright.transport.server import HealthServer, RuntimeServer
from runwright.transport.tls import Certificates

_HEALTH_SECONDS = 0.5
_CALL_GRACE_SECONDS = 0.5  # with what gRPC may need to end them, SIGTERM is over within its grace and a second
_DAY_US = 24 * 3600 * 1_000_000


async def serve(
    settings: Settings,
    ready: Callable[[str], None],
    providers: Mapping[str, Provider] | None = None,
    packages: Sequence[RuntimePackage] | None = None,
    reread: Callable[[], Settings] | None = None,
) -> bool:
    """Serves until SIGTERM or SIGINT, then drains. See `build_runtime` for `packages`.

    `reread` reads the settings once more, on SIGHUP; only the owners of names that it says count then.
    `ready` gets the bound address. Returns False when a call that must not be repeated was still open at the end of
    the grace. A second signal ends the grace at once; the journal stays whole either way.
    """
    settings.check()
    with UnservedDirectory(settings.data) as directory:
        async with AsyncExitStack() as opened:
            started = await _start(opened, settings, providers, packages, reread)
            directory.retained_by(ready)(started.address)
            await started.signals.stop.wait()
            await started.stop_tasks()
            settled = await started.drain(int(settings.drain_grace_seconds * 1_000_000))
    StandardLog().info("stopped", settled=settled)
    return settled


class _Started(Struct, eq=False):
    """A server that serves: its runtime, its gRPC server and what goes on beside the calls."""

    runtime: AgentRuntime
    server: RuntimeServer
    signals: Signals
    address: str = ""
    tasks: Sequence[asyncio.Task[None]] = ()
    is_drained: bool = False

    async def stop_tasks(self) -> None:
        """Ends what goes on beside the calls."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def drain(self, grace_us: int) -> bool:
        """Health first, then streams, then runs, then the port: nobody waits for somebody who waits for him.

        False when a call that must not be repeated was still open; a second signal ends the grace.
        """
        runtime, hurry = self.runtime, self.signals.hurry
        runtime.ports.log.info("draining", open_runs=runtime.registered_run_count())
        self.server.health.set_ready(ready=False)
        runtime.stop_streams()
        draining = asyncio.create_task(runtime.drain(grace_us))
        hurried = asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
            settled = draining.done() and draining.result()
            self.is_drained = True
        finally:
            for task in (draining, hurried):
                task.cancel()
            await asyncio.gather(draining, hurried, return_exceptions=True)
        await self.server.stop(0 if hurry.is_set() else _CALL_GRACE_SECONDS)
        return settled

    async def abandon(self) -> None:
        """Ends the streams and runs of a server that was not drained, because something failed before."""
        if not self.is_drained:
            self.runtime.stop_streams()
            await self.runtime.drain(0)


async def _start(
    opened: AsyncExitStack,
    settings: Settings,
    providers: Mapping[str, Provider] | None,
    packages: Sequence[RuntimePackage] | None,
    reread: Callable[[], Settings] | None,
) -> _Started:
    """Opens one part after the other, each with how it is closed, and serves.

    The journal is opened before addresses are bound, addresses before runs are taken up, whose effects begin then.
    """
    signals = opened.enter_context(Signals())
    # Nothing is read again before the runtime is there: by SIGHUP, or when somebody calls.
    keys, tls = credentials(settings, lambda error: runtime.ports.audit.note(_reload_failed(error)))
    telemetry = closed_by(opened, Telemetry(metrics=settings.metrics, otlp_endpoint=settings.otlp_endpoint))
    watchdog = _watchdog(settings, telemetry)
    opened.callback(watchdog.close)
    runtime, callbacks = await opened.enter_async_context(build_runtime(settings, providers, telemetry, keys, packages))
    again = [closed_by(opened, operator_policy_file(settings.policies, runtime)).begin] if settings.policies else []
    if reread is not None:
        again.append(closed_by(opened, reread_owners(reread, runtime, callbacks, settings)).begin)
    if settings.callback_cert is not None:
        again.append(closed_by(opened, reread_certificate(settings, runtime)).begin)
    again += [each.reload for each in (keys, tls) if each is not None]
    signals.reload = partial(_reload, again)
    readiness = Readiness(runtime)
    server = RuntimeServer(
        runtime,
        times=CallTimes(stall=settings.stall_seconds),
        authenticator=keys,
        callbacks=callbacks,
        connections=connection_limits(settings),
        meter=telemetry.metrics,
        refused=readiness.refused,
    )
    started = _Started(runtime, server, signals)
    opened.push_async_callback(server.stop, 0)
    opened.push_async_callback(started.abandon)
    opened.push_async_callback(started.stop_tasks)
    _begin_telemetry(runtime, telemetry, settings)
    port = _bound("--listen", settings.listen, tls, server)
    started.address = _address(settings.listen, port)
    await _serve_health(opened, settings, runtime, server.health)
    await runtime.prepare()  # loads libraries, which keeps the loop: nobody has been promised an answer yet
    if settings.loop_stall_ms:
        watchdog.start()
    registered = await callbacks.load()
    recovered = await runtime.recover()
    runtime.ports.log.info("recovered", open_runs=recovered, callbacks=registered)
    await server.start()
    settle_interpreter()
    started.tasks = [asyncio.create_task(work) for work in _beside(settings, runtime, server, readiness)]
    return started


def _reload(again: Sequence[Callable[[], None]]) -> None:
    """What SIGHUP does. Keys and certificates are read again by themselves, too; policies and owners are not."""
    StandardLog().info("SIGHUP: keys, certificates, policies and owners of names are read again")
    for begin in again:
        begin()


async def _serve_health(opened: AsyncExitStack, settings: Settings, runtime: AgentRuntime, health: Health) -> None:
    """Serves health on an address of its own, if one is set: liveness from now on, readiness after recovery."""
    if settings.health_listen is None:
        return
    server = HealthServer(runtime.ports, health)
    opened.push_async_callback(server.stop)
    port = _bound("--health-listen", settings.health_listen, None, server)
    runtime.ports.log.info("health served", address=_address(settings.health_listen, port))
    await server.start()


def _bound(option: str, address: str, tls: Certificates | None, server: RuntimeServer | HealthServer) -> int:
    """The port. Raises INVALID_REQUEST naming the option when the address is taken."""
    try:
        if tls is not None and isinstance(server, RuntimeServer):
            return server.bind(address, tls.credentials)
        return server.bind(address)
    except RuntimeError:
        raise unbound(option, address) from None


def _address(requested: str, port: int) -> str:
    return f"{requested.rpartition(':')[0]}:{port}"


def _reload_failed(error: AgentError) -> AuditEntry:
    return AuditEntry(kind=AuditKind.RELOAD_FAILED, reason=error.metadata.get("field", ""))


def connection_limits(settings: Settings) -> ConnectionLimits:
    """What connections may do, as the settings say."""
    return ConnectionLimits(
        age_seconds=settings.connection_age_seconds,
        age_grace_seconds=settings.connection_age_grace_seconds,
        keepalive_seconds=settings.keepalive_seconds,
        keepalive_timeout_seconds=settings.keepalive_timeout_seconds,
        min_ping_seconds=settings.min_ping_interval_seconds,
        max_streams=settings.max_concurrent_streams,
        max_connections=settings.max_connections,
        principal_calls=settings.max_principal_calls,
    )


def _begin_telemetry(runtime: AgentRuntime, telemetry: Telemetry, settings: Settings) -> None:
    tools = runtime.ports.tools
    address = telemetry.begin(runtime.ports.journal, runtime.report, tools, settings.data)
    if address is not None:
        runtime.ports.log.info("metrics served", address=address, path="/metrics")


def _watchdog(settings: Settings, telemetry: Telemetry) -> LoopWatchdog:
    return LoopWatchdog(settings.loop_stall_ms / 1000, StandardLog(), telemetry.metrics)


def _beside(
    settings: Settings, runtime: AgentRuntime, server: RuntimeServer, readiness: Readiness
) -> Iterator[Coroutine[None, None, None]]:
    """What goes on beside the calls until the server stops."""
    ports = runtime.ports
    yield _report_health(readiness, server.health)
    yield runtime.watch_writes()
    yield MemoryTrimmer().run()
    if isinstance(ports.journal, Storage):
        yield SpaceWatch(ports.journal, settings.least_space, ports.clock, ports.log).run()
    if settings.retention_days is not None:
        yield Retention(runtime, int(settings.retention_days * _DAY_US)).run()


async def _report_health(readiness: Readiness, health: Health) -> None:
    """Keeps health true to whether runs can be written."""
    while True:
        health.set_ready(ready=await readiness.is_ready())
        await asyncio.sleep(_HEALTH_SECONDS)
