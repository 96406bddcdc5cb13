"""The parts of a server, made of its settings: each opens what it needs, and says how it is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol, TypeVar

from runwright.adapters.cel_conditions import CelConditions
from runwright.adapters.clock import SystemClock
from runwright.adapters.ids import RandomIds
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.keys import KeyFileAuthenticator
from runwright.adapters.log import StandardLog
from runwright.adapters.package_reader import DocumentReader
from runwright.adapters.providers.demo import DemoProvider
from runwright.adapters.providers.model_route import ModelRoute
from runwright.adapters.providers.models import ModelsProvider, missing_libraries
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.remote.dialer import ClientCertificate, Dialer
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.dispatchers import DialledDispatchers
from runwright.adapters.remote.executors import DialledExecutors
from runwright.adapters.remote.policies import DialledPolicies
from runwright.adapters.schema_process import CheckLimits
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.start_errors import extra_missing, unusable_data
from runwright.adapters.telemetry.setup import Telemetry
from runwright.core.allow_list import AllowList
from runwright.core.callback_kinds import CallbackKind
from runwright.core.errors import AgentError
from runwright.core.executor_names import ExecutorNames
from runwright.core.name_owners import NameOwners
from runwright.core.package import RuntimePackage
from runwright.examination import BUILT_IN_ADAPTERS, load_packages
from runwright.files import unusable_directory
from runwright.ports.access import Authenticator
from runwright.ports.approvers import Approvers, NoSeparation
from runwright.ports.clock import Clock
from runwright.ports.provider import Provider
from runwright.runtime import AgentRuntime, AgentRuntimeBuilder
from runwright.runtime.callbacks.registration_rules import RegistrationRules
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.runtime.packages import PackageCatalogue
from runwright.settings import Settings
from runwright.transport.tls import Certificates, TlsFiles, read_pair


class _Closable(Protocol):
    async def close(self) -> None:
        """Ends it; harmless for what is closed already."""


_Part = TypeVar("_Part", bound=_Closable)


def closed_by(opened: AsyncExitStack, part: _Part) -> _Part:
    """The same part, closed when the stack is."""
    opened.push_async_callback(part.close)
    return part


@asynccontextmanager
async def build_runtime(
    settings: Settings,
    providers: Mapping[str, Provider] | None = None,
    telemetry: Telemetry | None = None,
    authenticator: KeyFileAuthenticator | None = None,
    packages: Sequence[RuntimePackage] | None = None,
) -> AsyncIterator[tuple[AgentRuntime, CallbackRegistry]]:
    """The runtime of a server and what registers with it, the journal opened and locked, as a context.

    At its end, and when it cannot be built, everything it opened is closed. `packages`: those of the settings, if they
    were examined before. Raises AgentError for what cannot be used. Enter it on the loop that serves.
    """
    async with AsyncExitStack() as opened:
        clock, log, limits = SystemClock(), StandardLog(), _limits(settings)
        schemas = closed_by(opened, JsonSchemaChecker(limits))
        adapters = {**_built_in(clock), **_models(settings), **(providers or {})}
        if packages is None:
            packages = load_packages(settings.packages, schemas, settings.provider_routes(), list(adapters))
        # Refuses before the journal is locked.
        PackageCatalogue(packages, settings.default_package, settings.package_namespaces)
        journal = closed_by(opened, _open_journal(settings))
        callbacks = DialledCallbacks(_dialer(settings), clock)
        tools = closed_by(opened, _executors(settings, clock, callbacks))
        runtime = closed_by(
            opened,
            AgentRuntimeBuilder(
                journal=(telemetry := telemetry or Telemetry()).watched(journal),
                audit=journal.audit(clock),
                recovery=journal.recovery(),
                approvers=_approvers(settings, authenticator),
                clock=clock,
                ids=RandomIds(),
                tools=tools,
                remote_policies=closed_by(opened, DialledPolicies(callbacks, clock)),
                approval_dispatcher=closed_by(opened, DialledDispatchers(callbacks, clock, log=log)),
                schemas=schemas,
                conditions=closed_by(opened, CelConditions()),
                log=log,
                providers=adapters,
                packages=packages,
                package_store=journal.packages(),
                package_reader=closed_by(opened, _package_reader(settings, limits)),
                default_package_id=settings.default_package,
                package_namespaces=settings.package_namespaces,
                traces=telemetry.traces,
                conversation_memory=settings.conversation_memory,
            ).build(),
        )
        registry = closed_by(
            opened,
            CallbackRegistry(
                store=journal.callbacks(),
                dialer=callbacks,
                clock=clock,
                log=log,
                rules=_registration_rules(settings, authenticator),
                audit=runtime.ports.audit,
            ),
        )
        yield runtime, registry


def _limits(settings: Settings) -> CheckLimits:
    return CheckLimits(settings.schema_check_ms, settings.schema_check_bytes)


def _package_reader(settings: Settings, limits: CheckLimits) -> DocumentReader:
    return DocumentReader(limits, models={name: route.kind for name, route in settings.provider_routes().items()})


def _executors(settings: Settings, clock: Clock, callbacks: DialledCallbacks) -> DialledExecutors:
    """The executors; those that are configured are dialled from now on, before runs look for them."""
    tools = DialledExecutors(settings.executors, clock, callbacks, most_calls=settings.executor_calls)
    tools.connect()
    return tools


def _registration_rules(settings: Settings, authenticator: Authenticator | None) -> RegistrationRules:
    return RegistrationRules(callback_names(settings), authenticator)


def _dialer(settings: Settings) -> Dialer:
    allowed = AllowList.parse(settings.callback_allow)
    return Dialer(allowed, StandardLog(), certificate=client_certificate(settings))


def client_certificate(settings: Settings) -> ClientCertificate | None:
    """What callbacks are shown; it reads files. Raises INVALID_REQUEST for those that cannot be used."""
    if settings.callback_cert is None or settings.callback_key is None:
        return None
    return ClientCertificate(*read_pair(settings.callback_cert, settings.callback_key, "callback"))


def callback_names(settings: Settings) -> Mapping[CallbackKind, NameOwners]:
    """What the operator says of names, for each kind of callback."""
    names = {kind: NameOwners(owners) for kind, owners in settings.name_owners.items()}
    return {**names, CallbackKind.TOOL_EXECUTOR: executor_names(settings)}


def executor_names(settings: Settings) -> ExecutorNames:
    """What the operator says of executors' names."""
    return ExecutorNames.of(settings.executor_owners, settings.executors)


def _approvers(settings: Settings, keys: KeyFileAuthenticator | None) -> Approvers:
    """Who can approve, by the keys; without any everybody is `local`, and may."""
    return KeyApprovers(keys, executor_names(settings)) if keys is not None else NoSeparation()


def _built_in(clock: Clock) -> dict[str, Provider]:
    return dict(zip(BUILT_IN_ADAPTERS, (DemoProvider(clock), ScriptedProvider()), strict=True))


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


def _open_journal(settings: Settings) -> SqliteJournal:
    try:
        return SqliteJournal.open(settings.data, max_bytes=settings.journal_max_bytes, log=StandardLog())
    except OSError as error:
        raise unusable_data(settings.data, unusable_directory(settings.data, error)) from None


def credentials(
    settings: Settings, reload_failed: Callable[[AgentError], None]
) -> tuple[KeyFileAuthenticator | None, Certificates | None]:
    """Who is known by keys, and what the server shows of itself. `reload_failed` is told of files that went bad."""
    keys = tls = None
    if settings.keys:
        keys = KeyFileAuthenticator(settings.keys, SystemClock(), StandardLog(), reload_failed)
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = Certificates(TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca), reload_failed)
    return keys, tls
