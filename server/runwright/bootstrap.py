"""The composition root: Settings → adapters → runtime → server."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

from runwright.adapters.clock import SystemClock
from runwright.adapters.ids import RandomIds
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.keys import KeyFileAuthenticator
from runwright.adapters.log import StandardLog
from runwright.adapters.memory_trim import MemoryTrimmer
from runwright.adapters.providers.demo import DemoProvider
from runwright.adapters.providers.model_route import ModelRoute
from runwright.adapters.providers.models import ModelsProvider, missing_libraries
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.remote.dialer import Dialer
from runwright.adapters.remote.executors import DialledExecutors
from runwright.adapters.schema_process import CheckLimits
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening.fresh import UnservedDirectory
from runwright.adapters.start_errors import extra_missing, unbound, unusable_data
from runwright.adapters.telemetry.setup import Telemetry
from runwright.adapters.watchdog import LoopWatchdog
from runwright.core.allow_list import AllowList
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError
from runwright.core.executor_names import ExecutorNames
from runwright.core.package import RuntimePackage
from runwright.examination import BUILT_IN_ADAPTERS, load_packages
from runwright.files import unusable_directory
from runwright.ports.access import Authenticator
from runwright.ports.provider import Provider
from runwright.ports.storage import Storage
from runwright.runtime import AgentRuntime, AgentRuntimeBuilder
from runwright.runtime.callbacks.registration_rules import RegistrationRules
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.runtime.housekeeping.readiness import Readiness
from runwright.runtime.housekeeping.retention import Retention
from runwright.runtime.housekeeping.space_watch import SpaceWatch
from runwright.runtime.packages import PackageCatalogue
from runwright.settings import Settings
from runwright.transport.calls import CallTimes
from runwright.transport.connections import ConnectionLimits
from runwright.transport.health import Health
from runwright.transport.server import HealthServer, RuntimeServer
from runwright.transport.tls import Certificates, TlsFiles

_HEALTH_SECONDS = 0.5
_CALL_GRACE_SECONDS = 0.5  # with what gRPC may need to end them, SIGTERM is over within its grace and a second
_DAY_US = 24 * 3600 * 1_000_000
_COLLECT_AFTER = 50_000  # objects
_SWITCH_SECONDS = 0.001


def build_runtime(
    settings: Settings,
    providers: Mapping[str, Provider] | None = None,
    telemetry: Telemetry | None = None,
    authenticator: Authenticator | None = None,
    packages: Sequence[RuntimePackage] | None = None,
) -> tuple[AgentRuntime, CallbackRegistry]:
    """The runtime of a server and what registers with it, the journal opened and locked.

    `packages` are those of the settings, if they were read and examined before.
    Raises AgentError for what cannot be used. Call it on the loop that serves.
    """
    schemas = JsonSchemaChecker(CheckLimits(settings.schema_check_ms, settings.schema_check_bytes))
    models = _models(settings)
    clock, log = SystemClock(), StandardLog()
    built_in: Mapping[str, Provider] = dict(
        zip(BUILT_IN_ADAPTERS, (DemoProvider(clock), ScriptedProvider()), strict=True)
    )
    adapters = {**built_in, **models, **(providers or {})}
    if packages is None:
        packages = load_packages(settings.packages, schemas, settings.provider_routes(), list(adapters))
    PackageCatalogue(packages, settings.default_package)  # refuses before the journal is opened and locked
    telemetry = telemetry or Telemetry()
    journal = _open_journal(settings, telemetry.journal_type)
    dialer = Dialer(AllowList.parse(settings.callback_allow), log)
    tools = DialledExecutors(settings.executors, clock, dialer, most_calls=settings.executor_calls)
    tools.connect()  # before runs look for them
    runtime = AgentRuntimeBuilder(
        journal=journal,
        audit=journal.audit(clock),
        recovery=journal.recovery(),
        clock=clock,
        ids=RandomIds(),
        tools=tools,
        schemas=schemas,
        log=log,
        providers=adapters,
        packages=packages,
        default_package_id=settings.default_package,
        traces=telemetry.traces,
        conversation_memory=settings.conversation_memory,
    ).build()
    registry = CallbackRegistry(
        store=journal.callbacks(),
        dialler=tools,
        clock=clock,
        log=log,
        rules=RegistrationRules(ExecutorNames.of(settings.executor_owners, settings.executors), authenticator),
        audit=runtime.ports.audit,
    )
    return runtime, registry


def _models(settings: Settings) -> dict[str, ModelsProvider]:
    """The providers for real models. Raises INVALID_REQUEST if a key or the extra is missing."""
    missing = missing_libraries() if settings.providers else ()
    if missing:
        raise extra_missing("--provider", "models", missing)
    return {
        name: ModelsProvider(
            ModelRoute(
                kind=route.kind,
                adapter=name,
                base_url=route.base_url,
                key=route.key(),
                key_variable=route.key_variable,
                timeout_seconds=route.timeout_seconds,
            )
        )
        for name, route in settings.provider_routes().items()
    }


def _open_journal(settings: Settings, journal_type: type[SqliteJournal]) -> SqliteJournal:
    try:
        return journal_type.open(settings.data, max_bytes=settings.journal_max_bytes, log=StandardLog())
    except OSError as error:
        raise unusable_data(settings.data, unusable_directory(settings.data, error)) from None


async def serve(
    settings: Settings,
    ready: Callable[[str], None],
    providers: Mapping[str, Provider] | None = None,
    packages: Sequence[RuntimePackage] | None = None,
) -> bool:
    """Serves until SIGTERM or SIGINT, then drains. See `build_runtime` for `packages`.

    `ready` gets the bound address. Returns False when a call that must not be repeated was still open at the end of
    the grace. A second signal ends the grace at once; the journal stays whole either way.
    """
    settings.check()
    with UnservedDirectory(settings.data) as directory:
        return await _serve(settings, directory.retained_by(ready), providers, packages)


async def _serve(
    settings: Settings,
    ready: Callable[[str], None],
    providers: Mapping[str, Provider] | None,
    packages: Sequence[RuntimePackage] | None,
) -> bool:
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in _stopping_signals():
        asyncio.get_running_loop().add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())

    keys, tls = _credentials(settings, lambda error: runtime.ports.audit.note(_reload_failed(error)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, keys, tls)
    telemetry = Telemetry(metrics=settings.metrics, otlp_endpoint=settings.otlp_endpoint)
    runtime, callbacks = build_runtime(settings, providers, telemetry, keys, packages)
    readiness = Readiness(runtime)
    server = RuntimeServer(
        runtime,
        times=CallTimes(stall=settings.stall_seconds),
        authenticator=keys,
        callbacks=callbacks,
        connections=_connections(settings),
        meter=telemetry.metrics,
        refused=readiness.refused,
    )
    try:
        _begin_telemetry(runtime, telemetry, settings)
        port = _bound("--listen", settings.listen, tls, server)  # before recovery, which begins effects
        probed = await _serve_health(settings, runtime, server.health)
    except AgentError:
        await runtime.close()
        await telemetry.close()
        raise
    watchdog = _watch_loop(settings, runtime, telemetry)
    registered = await callbacks.load()
    recovered = await runtime.recover()
    runtime.ports.log.info("recovered", open_runs=recovered, callbacks=registered)
    await server.start()
    settle_interpreter()
    ready(_address(settings.listen, port))
    beside = [asyncio.create_task(work) for work in _beside(settings, runtime, server, readiness)]
    await stop.wait()
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    settled = await _drain(runtime, server, settings, hurry)
    if probed is not None:
        await probed.stop()
    await callbacks.close()
    await runtime.close()
    runtime.ports.log.info("stopped", settled=settled)
    if watchdog is not None:
        watchdog.close()
    await telemetry.close()
    return settled


def _stopping_signals() -> tuple[signal.Signals, ...]:
    """What ends a server: not SIGINT where it is ignored, as it is for what a shell starts in the background.

    Ctrl-C at that terminal is then meant for somebody else.
    """
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return (signal.SIGTERM,) if is_ignored else (signal.SIGTERM, signal.SIGINT)


def _credentials(
    settings: Settings, reload_failed: Callable[[AgentError], None]
) -> tuple[KeyFileAuthenticator | None, Certificates | None]:
    keys = tls = None
    if settings.keys:
        keys = KeyFileAuthenticator(settings.keys, SystemClock(), StandardLog(), reload_failed)
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = Certificates(TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca), reload_failed)
    return keys, tls


def _reload(keys: KeyFileAuthenticator | None, tls: Certificates | None) -> None:
    """What SIGHUP does. Both are read again by themselves when they change; this does not wait for that."""
    StandardLog().info("SIGHUP: keys and certificates are read again")
    if keys is not None:
        keys.reload()
    if tls is not None:
        tls.reload()


async def _serve_health(settings: Settings, runtime: AgentRuntime, health: Health) -> HealthServer | None:
    """Serves health on an address of its own, if one is set: liveness from now on, readiness after recovery."""
    if settings.health_listen is None:
        return None
    server = HealthServer(runtime.ports, health)
    port = _bound("--health-listen", settings.health_listen, None, server)
    runtime.ports.log.info("health served", address=_address(settings.health_listen, port))
    await server.start()
    return server


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


def _connections(settings: Settings) -> ConnectionLimits:
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


def _watch_loop(settings: Settings, runtime: AgentRuntime, telemetry: Telemetry) -> LoopWatchdog | None:
    if settings.loop_stall_ms == 0:
        return None
    watchdog = LoopWatchdog(settings.loop_stall_ms / 1000, runtime.ports.log, telemetry.metrics)
    watchdog.start()
    return watchdog


def settle_interpreter() -> None:
    """Spares the collector what lives as long as the server, and lets threads take turns more often.

    A live run is some hundred objects and few cycles; by default every 700 new
    ones are a reason to look through them. The journal's thread, which needs
    the interpreter two or three times for each commit, would wait up to 5 ms
    for it beside a busy loop.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # without a collection before, which would take a twentieth of the start
    gc.set_threshold(_COLLECT_AFTER, 20, 50)


async def _drain(runtime: AgentRuntime, server: RuntimeServer, settings: Settings, hurry: asyncio.Event) -> bool:
    """Health first, then streams, then runs, then the port: nobody waits for somebody who waits for him."""
    runtime.ports.log.info("draining", open_runs=runtime.registered_run_count())
    server.health.set_ready(ready=False)
    runtime.stop_streams()
    draining = asyncio.create_task(runtime.drain(int(settings.drain_grace_seconds * 1_000_000)))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
    settled = draining.done() and draining.result()
    for task in (draining, hurried):
        task.cancel()
    await asyncio.gather(draining, hurried, return_exceptions=True)
    await server.stop(0 if hurry.is_set() else _CALL_GRACE_SECONDS)
    return settled


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
