"""The table of settings: each field with its kind and unit, one sentence and its default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from runwright.core import allow_list
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.callbacks import DEFAULT_CALLS_IN_FLIGHT, MAX_CALLS_IN_FLIGHT
from runwright.core.errors import AgentError, invalid_request
from runwright.core.ids import DEFAULT_NAMESPACE, LOCAL_PRINCIPAL
from runwright.core.loopback import is_loopback
from runwright.core.space import DEFAULT_FREE_BYTES, DEFAULT_FREE_PERCENT, LeastSpace
from runwright.settings import kinds
from runwright.settings.kinds import Kind
from runwright.settings.providers import DEFAULT_PROVIDER_TIMEOUT_SECONDS, ProviderSettings, provider_routes

_PAIR = ("tls_cert", "tls_key")
_GUARDS = ("keys", "insecure_allow_remote", *_PAIR)
DEFAULT_LISTEN = "127.0.0.1:7760"


def setting(
    kind: Kind, says: str, default: object = MISSING, *, flag: str = "", absent: str = "", secret: bool = False
) -> Any:  # a field of any type, as dataclasses.field is
    """A row of the table.

    `flag` is for a flag that is not called like the field, `absent` says what
    None or nothing means. A secret's value is never printed.
    """
    row = {"kind": kind, "says": says, "flag": flag, "absent": absent, "secret": secret}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=row)
    return field(default=default, metadata=row)


class Unfit(NamedTuple):
    """A setting that cannot be used beside the others: its name, what is expected of it, what to do.

    `beside` are the settings that it depends on.
    """

    name: str
    expected: str
    remedy: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with. Flags, environment, file, their help and docs/configuration.md follow from it."""

    data: Path = setting(kinds.PATH, "Directory of the journal; made if missing.")
    listen: str = setting(kinds.ADDRESS, "Address to serve on; port 0 lets the system choose.", DEFAULT_LISTEN)
    packages: tuple[Path, ...] = setting(
        kinds.PATHS,
        "Package files (YAML or JSON), beside the packages that are put.",
        (),
        flag="--package",
        absent="none",
    )
    default_package: str | None = setting(
        kinds.TEXT, "Id of the package that answers requests without one.", None, absent="the first package"
    )
    package_namespaces: Mapping[str, tuple[str, ...]] = setting(
        kinds.NAMESPACES,
        "Namespaces that a package belongs to, by its id; one that is not here belongs to all.",
        {},
        flag="--package-namespace",
    )
    executors: Mapping[str, str] = setting(
        kinds.ADDRESSES, "Where each executor is, and whose; without a principal `local`'s.", {}, flag="--executor"
    )
    executor_calls: int = setting(
        kinds.whole("calls", 1, MAX_CALLS_IN_FLIGHT),
        "How many calls each of these executors gets at once; more wait. Registered ones say it themselves.",
        DEFAULT_CALLS_IN_FLIGHT,
    )
    executor_owners: Mapping[str, tuple[str, ...]] = setting(
        kinds.OWNERS,
        "Principals that may register an executor's name, in one namespace or in all; a name that is not here belongs "
        "to the principal that holds a lease under it. Read again from the file on SIGHUP, as are the next two.",
        {},
        flag="--executor-owner",
    )
    policy_owners: Mapping[str, tuple[str, ...]] = setting(
        kinds.OWNERS,
        "Principals that may register a policy's name, likewise.",
        {},
        flag="--policy-owner",
    )
    dispatcher_owners: Mapping[str, tuple[str, ...]] = setting(
        kinds.OWNERS,
        "Principals that may register the name of a dispatcher of approvals, likewise.",
        {},
        flag="--dispatcher-owner",
    )
    callback_allow: tuple[str, ...] = setting(
        kinds.ALLOWED,
        "Addresses that executors may register and the server may dial; `none`: nothing can be registered.",
        allow_list.LOOPBACK,
    )
    callback_cert: Path | None = setting(
        kinds.PATH,
        "Certificate chain that the server shows to callbacks it dials with TLS, PEM; read again on SIGHUP.",
        None,
        absent="it shows none",
    )
    callback_key: Path | None = setting(kinds.PATH, "Private key of that certificate, PEM.", None)
    drain_grace_seconds: float = setting(
        kinds.seconds(0, 3600), "How long SIGTERM waits for calls that must not be repeated.", 20.0, flag="--grace"
    )
    stall_seconds: float = setting(kinds.seconds(0.1, 3600), "How long one write to a subscriber may take.", 30.0)
    journal_max_bytes: int | None = setting(
        kinds.whole("bytes", 65_536),
        "Bound on the size of the journal's file and its `-wal` together.",
        None,
        absent="the disk",
    )
    retention_days: float | None = setting(
        kinds.amount("days", 0.000001, 36_500), "How long ended runs are kept.", None, absent="for ever"
    )
    warn_free_bytes: int = setting(
        kinds.whole("bytes", 0), "Warn when the disk of the data directory has less free.", DEFAULT_FREE_BYTES
    )
    warn_free_percent: float = setting(
        kinds.amount("percent", 0, 100),
        "Warn when less of the disk, or of `journal_max_bytes`, is left.",
        DEFAULT_FREE_PERCENT,
    )
    providers: Mapping[str, str] = setting(
        kinds.ROUTES,
        "Real models: openai, anthropic or ollama, each with the variable that holds its key, its address, or both.",
        {},
        flag="--provider",
        secret=True,
    )
    provider_timeout_seconds: float = setting(
        kinds.seconds(0.1, 3600),
        "How long one request to a real model may take.",
        DEFAULT_PROVIDER_TIMEOUT_SECONDS,
        flag="--provider-timeout",
    )
    policies: Path | None = setting(
        kinds.PATH,
        "File of the operator's policies and dispatchers of approvals, by namespace; read again on SIGHUP.",
        None,
        absent="packages decide alone",
    )
    keys: Path | None = setting(kinds.PATH, "Keys file of the principals.", None, absent="everyone is `local`")
    tls_cert: Path | None = setting(kinds.PATH, "Certificate chain of the server, PEM.", None, absent="no TLS")
    tls_key: Path | None = setting(kinds.PATH, "Private key of the certificate, PEM.", None)
    tls_client_ca: Path | None = setting(
        kinds.PATH, "Authority whose certificates clients must show, PEM.", None, absent="no client certificates"
    )
    connection_age_seconds: float | None = setting(
        kinds.seconds(0.1, 604_800),
        "How long a connection may live, so that clients spread over servers anew; streams come back by their cursor.",
        None,
        flag="--connection-age",
        absent="for ever",
    )
    connection_age_grace_seconds: float = setting(
        kinds.seconds(0, 3600),
        "How long the calls of an aged connection may go on.",
        30.0,
        flag="--connection-age-grace",
    )
    keepalive_seconds: float = setting(
        kinds.seconds(0.1, 86_400), "After how much silence a connection is pinged.", 20.0, flag="--keepalive"
    )
    keepalive_timeout_seconds: float = setting(
        kinds.seconds(0.1, 3600),
        "How long a ping may stay unanswered before the connection is closed.",
        10.0,
        flag="--keepalive-timeout",
    )
    min_ping_interval_seconds: float = setting(
        kinds.seconds(0, 3600),
        "How often a client may ping without sending data; one that does so more often is disconnected.",
        10.0,
        flag="--min-ping-interval",
    )
    max_concurrent_streams: int = setting(
        kinds.whole("calls", 1, 1_000_000),
        "How many calls and streams one connection may have open; more wait in their client.",
        5_000,
    )
    max_connections: int = setting(
        kinds.whole("connections", 1, 1_000_000), "How many connections there may be; more are closed at once.", 1_000
    )
    max_principal_calls: int = setting(
        kinds.whole("calls", 1, 1_000_000),
        "How many calls and streams one key, or everyone where there are no keys, may have open; more are refused.",
        7_000,
    )
    health_listen: str | None = setting(
        kinds.ADDRESS,
        "Address that serves health alone, without TLS and keys, for probes that have neither; port 0 lets the "
        "system choose.",
        None,
        absent="health is served with everything else",
    )
    metrics: str | None = setting(
        kinds.ADDRESS,
        "Address of the Prometheus endpoint /metrics; port 0 lets the system choose. Needs the extra metrics.",
        None,
        absent="no metrics",
    )
    otlp_endpoint: str | None = setting(
        kinds.COLLECTOR,
        "OpenTelemetry collector (OTLP over gRPC) that gets the spans of runs. Needs the extra otel.",
        None,
        absent="no traces",
    )
    loop_stall_ms: int = setting(
        kinds.whole("milliseconds", 0, 60_000),
        "After how long an event loop that does not turn is logged with what keeps it; 0: never.",
        250,
    )
    schema_check_ms: int = setting(
        kinds.whole("milliseconds", 10, 60_000),
        "How much processor time one check against a schema may take that has to be made in a process of its own.",
        500,
    )
    schema_check_bytes: int = setting(
        kinds.whole("bytes", 64 * 1024 * 1024),
        "Bound on the memory (address space) of each of the two processes that make such checks.",
        256 * 1024 * 1024,
    )
    conversation_memory: int = setting(
        kinds.whole("bytes", 64 * 1024 * 1024),
        "How much of their conversations all runs together hold in memory; the journal has the rest.",
        256 * 1024 * 1024,
    )
    insecure_allow_remote: bool = setting(
        kinds.SWITCH, "Bind other addresses than loopback although TLS or keys are missing.", False
    )

    @property
    def least_space(self) -> LeastSpace:
        """What there should be left of disk and journal."""
        return LeastSpace(self.warn_free_bytes, self.warn_free_percent)

    @property
    def name_owners(self) -> Mapping[CallbackKind, Mapping[str, Sequence[str]]]:
        """Whose the names of callbacks are, for each kind."""
        return {
            CallbackKind.TOOL_EXECUTOR: self.executor_owners,
            CallbackKind.POLICY: self.policy_owners,
            CallbackKind.APPROVAL_DISPATCHER: self.dispatcher_owners,
        }

    def provider_routes(self) -> dict[str, ProviderSettings]:
        """How each kind of real model is reached. Raises INVALID_REQUEST for a route of another form."""
        return provider_routes(self.providers, self.provider_timeout_seconds)

    def problems(self) -> Iterator[Unfit]:
        """What cannot be used together."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit():
            yield Unfit("listen", "HOST:PORT", f"Leave it out for {DEFAULT_LISTEN}.")
        elif not (self.keys and self.tls_cert) and not self.insecure_allow_remote and not is_loopback(host):
            expected = "a loopback address, unless --keys and --tls-cert are given, or --insecure-allow-remote"
            yield Unfit("listen", expected, f"Use 127.0.0.1:{port}, or give keys and a certificate.", _GUARDS)
        metrics_host = self.metrics.rpartition(":")[0] if self.metrics else "localhost"
        if not self.insecure_allow_remote and not is_loopback(metrics_host):
            expected = "a loopback address, unless --insecure-allow-remote is given: anybody may read it there"
            yield Unfit("metrics", expected, "Use 127.0.0.1:9464, and let the collector run beside the server.")
        health_host, _, health_port = (self.health_listen or DEFAULT_LISTEN).rpartition(":")
        if not health_host or not health_port.isdigit():
            yield Unfit("health_listen", "HOST:PORT", "Leave it out to serve health with everything else.")
        if (self.tls_cert is None) != (self.tls_key is None):
            remedy = "Give both files: --tls-cert CERTIFICATE --tls-key ITS-PRIVATE-KEY."
            if self.tls_key is None:
                yield Unfit("tls_cert", "given together with --tls-key", remedy, _PAIR)
            else:
                yield Unfit("tls_key", "given together with --tls-cert", remedy, _PAIR)
        if (self.callback_cert is None) != (self.callback_key is None):
            given, other = ("cert", "key") if self.callback_key is None else ("key", "cert")
            remedy = "Give both files: --callback-cert CERTIFICATE --callback-key ITS-PRIVATE-KEY."
            beside = ("callback_cert", "callback_key")
            yield Unfit(f"callback_{given}", f"given together with --callback-{other}", remedy, beside)
        if self.tls_client_ca is not None and self.tls_cert is None:
            remedy = "Give the server's own certificate too: without it there is no TLS."
            yield Unfit("tls_client_ca", "given together with --tls-cert and --tls-key", remedy, _PAIR)
        alone = [name for name, seen in self.package_namespaces.items() if DEFAULT_NAMESPACE not in seen]
        if self.keys is None and alone:
            expected = f"given together with --keys: without keys everyone is of namespace `{DEFAULT_NAMESPACE}`"
            remedy = f"Make a file with `runwright keys add`, or nobody sees {', '.join(alone)}."
            yield Unfit("package_namespaces", expected, remedy, ("keys",))
        for kind, owned in self.name_owners.items():
            if self.keys is None and any(LOCAL_PRINCIPAL not in owners for owners in owned.values()):
                expected = f"given together with --keys: without keys everyone is `{LOCAL_PRINCIPAL}`"
                remedy = "Make a file with `runwright keys add` and give it with --keys."
                yield Unfit(KINDS[kind].owners_setting, expected, remedy, ("keys",))
        try:
            self.provider_routes()
        except AgentError as error:
            yield Unfit("providers", error.metadata["expected"], error.remedy)

    def check(self) -> None:
        """Raises INVALID_REQUEST naming the setting that cannot be used."""
        for unfit in self.problems():
            raise invalid_request(unfit.name, unfit.expected, unfit.remedy)
