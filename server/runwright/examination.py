"""What a server is to be started with, looked at as a whole. Nothing is opened for writing, nobody is called.

`serve`, `config check` and `doctor` show what is found here, each in its form and none of them less than another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.keys import KeyEntry, read_keys
from runwright.adapters.operator_policies import ALL, read_operator_policies
from runwright.adapters.package_files import PackageFile, examine_package
from runwright.adapters.package_rules import Rule
from runwright.adapters.private_files import exposure
from runwright.adapters.providers.models import missing_libraries
from runwright.adapters.start_errors import extra_missing, unusable_data
from runwright.adapters.telemetry import installed
from runwright.core.allow_list import AllowList
from runwright.core.approval_rules import approval_spec
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.name_owners import NameOwners
from runwright.core.near import did_you_mean, nearest
from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import OperatorRules
from runwright.core.principal import Role
from runwright.files import unusable_directory
from runwright.ports.schemas import SchemaChecker
from runwright.runtime.approver_rules import approvals_of
from runwright.settings import DEFAULT_PROVIDER_TIMEOUT_SECONDS, Loaded, ProviderSettings, provider_routes
from runwright.transport.tls import TlsFiles, read_pair

BUILT_IN_ADAPTERS = ("demo", "scripted")
MODEL_KINDS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "ollama": ""}
Routes = Mapping[str, ProviderSettings]


class Finding(Struct, frozen=True):
    """Something that is wrong: what it is about, one sentence, what to do. Without `blocks` the server starts."""

    subject: str
    message: str
    remedy: str
    blocks: bool = True
    reason: ErrorReason = ErrorReason.INVALID_REQUEST
    is_missing: bool = False  # a setting that was not given, which only a server that starts minds
    metadata: Mapping[str, str] = {}

    @classmethod
    def of(cls, subject: str, error: AgentError) -> Finding:
        """What an error says that keeps a server from starting."""
        return cls(subject, error.message, error.remedy, reason=error.reason, metadata=error.metadata)

    def error(self) -> AgentError:
        """The error that says it."""
        return AgentError(self.reason, self.message, remedy=self.remedy, metadata=self.metadata)


class Examined(Struct, frozen=True):
    """Everything that was found, and the packages in the order of their files, as far as they can be used."""

    findings: Sequence[Finding]
    packages: Sequence[RuntimePackage]

    @property
    def blocking(self) -> list[Finding]:
        """What a server does not start with."""
        return [finding for finding in self.findings if finding.blocks]


def examine(loaded: Loaded) -> Examined:
    """Looks at every setting and at the files that they name. Raises nothing."""
    wrong = {one.key for one in loaded.findings}
    # Of a setting that cannot be read nobody knows what it would have named.
    models = _kinds(_known_routes(loaded)) if "providers" not in wrong else {}
    files = [examine_package(path, JsonSchemaChecker(), models) for path in _paths(loaded)]
    findings = [
        *(Finding("configuration", one.message, one.remedy, is_missing=one.is_missing) for one in loaded.findings),
        *(Finding("configuration", one.message, one.remedy, blocks=False) for one in loaded.warnings),
        *_data(loaded),
        *_credentials(loaded),
        *_operator_policies(loaded),
        *_extras(loaded),
        *_models(loaded),
        *(Finding.of("package", error) for file in files for error in file.found),
        *_among(loaded, files),
        *_approvals(loaded, files),
        *(_routes(files, _known_routes(loaded)) if "providers" not in wrong else ()),
        *(_executors(loaded, files) if not {"executors", "callback_allow"} & wrong else ()),
    ]
    return Examined(findings, [file.package for file in files if file.package is not None])


def load_packages(
    paths: Sequence[Path], schemas: SchemaChecker, known: Routes, more: Sequence[str]
) -> list[RuntimePackage]:
    """The packages of these files. Raises PACKAGE_INVALID or PROVIDER_MISSING for the first that cannot be used.

    `known` are the real models, `more` the names of other adapters beside the built-in ones.
    """
    files = [examine_package(path, schemas, _kinds(known)) for path in paths]
    for file in files:
        if file.found:
            raise file.found[0]
    for finding in _routes(files, known, more):
        raise finding.error()
    return [file.package for file in files if file.package is not None]


def _kinds(routes: Routes) -> dict[str, str]:
    return {name: route.kind for name, route in routes.items()}


def _paths(loaded: Loaded) -> tuple[Path, ...]:
    paths = loaded.value("packages")
    return paths if isinstance(paths, tuple) else ()


def _path(loaded: Loaded, name: str) -> Path | None:
    value = loaded.value(name)
    return value if isinstance(value, Path) else None


def _data(loaded: Loaded) -> Iterator[Finding]:
    data = _path(loaded, "data")
    if data is not None and (cause := unusable_directory(data)):
        yield Finding.of("data directory", unusable_data(data, cause))


def _operator_policies(loaded: Loaded) -> Iterator[Finding]:
    path = _path(loaded, "policies")
    if path is not None:
        try:
            rules = read_operator_policies(path)
        except AgentError as error:
            yield Finding.of("policies file", error)
        else:
            yield from _operator_dispatchers(loaded, path, rules)


def _operator_dispatchers(loaded: Loaded, path: Path, rules: Mapping[Namespace, OperatorRules]) -> Iterator[Finding]:
    """Dispatchers of the operator's that nobody can register: approvals are listed, and they are told of none."""
    row, allowed = KINDS[CallbackKind.APPROVAL_DISPATCHER], loaded.value("callback_allow")
    named = dict.fromkeys(name for each in rules.values() for name in each.dispatchers)
    if named and isinstance(allowed, tuple) and AllowList.parse(allowed).is_empty:
        message = f"{path}: dispatchers names {', '.join(named)}, and nothing can be registered; they are told nothing."
        yield Finding(row.word, message, "--callback-allow lets them register themselves.", blocks=False)
        return
    keys, owned = _path(loaded, "keys"), loaded.value(row.owners_setting)
    if keys is None:
        return
    try:
        known = read_keys(keys).keys
    except AgentError:
        return  # said of the keys file
    owners = NameOwners(owned) if isinstance(owned, Mapping) else NameOwners()
    for namespace, each in rules.items():
        may = [key for key in known if key.roles & {row.role, Role.ADMIN} and namespace in (ALL, key.namespace)]
        inside, more = ("", "") if namespace == ALL else (f" in namespace {namespace}", f" --namespace {namespace}")
        remedy = f"Make a key for its host: runwright keys add NAME --file {keys} --role {row.role.value}{more}"
        for name in each.dispatchers:
            if not any(key.name in (owners.principals(Namespace(key.namespace), name) or (key.name,)) for key in may):
                message = f"{path}: dispatchers names {name}, which nobody can register{inside}; it is told nothing."
                yield Finding(row.word, message, remedy, blocks=False)


def _credentials(loaded: Loaded) -> Iterator[Finding]:
    keys = _path(loaded, "keys")
    if keys is not None:
        try:
            known = read_keys(keys).keys
        except AgentError as error:
            yield Finding.of("keys file", error)
        else:
            yield from _exposed("keys file", keys)
            if not known:
                remedy = f"Make a key: runwright keys add NAME --file {keys} --role caller"
                yield Finding("keys file", f"{keys} lists nobody, so that every call is refused.", remedy, blocks=False)
            else:
                yield from _owners(loaded, keys, known)
    certificate, key = _path(loaded, "tls_cert"), _path(loaded, "tls_key")
    if certificate is not None and key is not None:
        try:
            TlsFiles(certificate, key, _path(loaded, "tls_client_ca")).configuration()
        except AgentError as error:
            yield Finding.of("tls", error)
        yield from _exposed("private key", key)
    certificate, key = _path(loaded, "callback_cert"), _path(loaded, "callback_key")
    if certificate is not None and key is not None:
        try:
            read_pair(certificate, key, "callback")
        except AgentError as error:
            yield Finding.of("callback certificate", error)
        yield from _exposed("callback key", key)


def _owners(loaded: Loaded, file: Path, keys: Sequence[KeyEntry]) -> Iterator[Finding]:
    """Principals that own a callback's name and cannot register it: nobody else can either."""
    for row in KINDS.values():
        owned = loaded.value(row.owners_setting)
        for name, principals in owned.items() if isinstance(owned, Mapping) else ():
            namespace, _, bare = name.rpartition("/")
            able = {key.name for key in keys if key.roles & {row.role, Role.ADMIN} and namespace in ("", key.namespace)}
            inside = f" in namespace {namespace}" if namespace else ""
            more = f" --namespace {namespace}" if namespace else ""
            for principal in principals:
                if principal not in able:
                    message = (
                        f"{row.owners_setting}: {bare} is {principal}'s, who has no key with the role "
                        f"{row.role.value}{inside}."
                    )
                    remedy = f"Make one: runwright keys add {principal} --file {file} --role {row.role.value}{more}"
                    yield Finding(row.word, message, did_you_mean(principal, able) + remedy, blocks=False)


def _exposed(subject: str, path: Path) -> Iterator[Finding]:
    if what := exposure(path):
        yield Finding(subject, f"{what[0].upper()}{what[1:]}.", f"chmod 600 {path}", blocks=False)


def _extras(loaded: Loaded) -> Iterator[Finding]:
    for extra, option, name in (("metrics", "--metrics", "metrics"), ("otel", "--otlp-endpoint", "otlp_endpoint")):
        missing = installed.missing_libraries(extra) if loaded.value(name) else ()
        if missing:
            yield Finding.of("configuration", extra_missing(option, extra, missing))


def _known_routes(loaded: Loaded) -> Routes:
    try:
        return provider_routes(loaded.value("providers"), DEFAULT_PROVIDER_TIMEOUT_SECONDS)
    except AgentError:
        return {}  # said of the setting


def _models(loaded: Loaded) -> Iterator[Finding]:
    routes = _known_routes(loaded)
    missing = missing_libraries() if routes else ()
    if missing:
        yield Finding.of("provider", extra_missing("--provider", "models", missing))
    for route in routes.values():
        try:
            route.key()
        except AgentError as error:
            yield Finding.of("provider", error)


def _among(loaded: Loaded, files: Sequence[PackageFile]) -> Iterator[Finding]:
    """What is wrong with the packages taken together."""
    seen: dict[str, Path] = {}
    for file in files:
        if file.package is not None and file.package.id in seen:
            first = seen[file.package.id]
            remedy = "Name the file once." if first == file.path else "Give it another id."
            rule = Rule(f"package {file.package.id} is in {first} already", remedy)
            yield Finding.of("package", file.finding(["id"], rule))
        elif file.package is not None:
            seen[file.package.id] = file.path
    default = loaded.values.get("default_package")
    if seen and default is not None and isinstance(default.value, str) and default.value not in seen:
        message = f"{default.origin}: default_package {default.value} is the id of no package that is given."
        yield _no_package(message, default.value, seen)
    named = loaded.values.get("package_namespaces")
    if seen and named is not None and isinstance(named.value, Mapping):
        for name in sorted(named.value.keys() - seen.keys()):
            message = f"{named.origin}: package_namespaces names {name}, which is the id of no package that is given."
            yield _no_package(message, name, seen)


def _approvals(loaded: Loaded, files: Sequence[PackageFile]) -> Iterator[Finding]:
    """Packages that ask for approvals, where nobody is told from anybody else."""
    if loaded.value("keys") is not None:
        return
    remedy = "Start the server with --keys FILE; to make a key: runwright keys add NAME --file FILE --role approver"
    for file in files:
        asked = [*approvals_of(file.package, OperatorRules())] if file.package else []
        for name in asked:
            if file.package and approval_spec(file.package.approvals, name).four_eyes:
                rule = Rule("keys, as without any nobody can be told from whoever started the run", remedy)
                yield Finding.of("approvals", file.finding(["approvals", name, "four_eyes"], rule))
        if asked and file.package:
            message = (
                f"Package {file.package.id} asks for approvals; without keys everybody may give them (NOT_ENFORCED)."
            )
            yield Finding("approvals", message, remedy, blocks=False)


def _no_package(message: str, name: str, known: Mapping[str, Path]) -> Finding:
    remedy = did_you_mean(name, known) + f"Known: {', '.join(known)}."
    return Finding("package", message, remedy, reason=ErrorReason.PACKAGE_NOT_FOUND)


def _routes(files: Sequence[PackageFile], known: Routes, more: Sequence[str] = ()) -> Iterator[Finding]:
    """Adapters that nobody provides."""
    adapters = list(dict.fromkeys((*BUILT_IN_ADAPTERS, *more, *known)))
    for file in files:
        for index, route in enumerate(file.package.routes if file.package else ()):
            where = ["fallbacks", index - 1] if index else ["provider"]
            if route.adapter not in adapters:
                error = file.finding([*where, "adapter"], _no_adapter(route.adapter, adapters))
                named = {"adapter": route.adapter, "known": ", ".join(adapters)}
                missing = AgentError(ErrorReason.PROVIDER_MISSING, error.message, remedy=error.remedy, metadata=named)
                yield Finding.of("provider", missing)


def _no_adapter(adapter: str, known: Sequence[str]) -> Rule:
    expected = f"no provider adapter is called {adapter}; known: {', '.join(known)}"
    kind = nearest(adapter, MODEL_KINDS)
    if adapter in MODEL_KINDS:
        return Rule(expected, f"Start the server with --provider {adapter}={MODEL_KINDS[adapter]} for that model.")
    meant = did_you_mean(adapter, known)
    if not meant and kind:
        return Rule(expected, f"Did you mean {kind}? It needs --provider {kind}={MODEL_KINDS[kind]}.")
    return Rule(expected, meant.strip() or f"Name one of them, or give --provider for one of {', '.join(MODEL_KINDS)}.")


def _executors(loaded: Loaded, files: Sequence[PackageFile]) -> Iterator[Finding]:
    """Executors that tools name and nothing serves, and the other way round."""
    addresses, allowed = loaded.value("executors"), loaded.value("callback_allow")
    configured = list(addresses) if isinstance(addresses, Mapping) else []
    may_register = not (isinstance(allowed, tuple) and AllowList.parse(allowed).is_empty)
    named: set[str] = set()
    for file in files:
        for index, tool in enumerate(file.package.tools if file.package else ()):
            if tool.executor not in configured and tool.executor not in named:
                rule = _nobody_serves(tool.executor, configured, may_register=may_register)
                error = file.finding(["tools", index, "executor"], rule)
                yield Finding("executor", error.message, error.remedy, blocks=False)
            named.add(tool.executor)
    for name in configured:
        if named and name not in named:
            message = f"Executor {name} is configured, and no tool of a package names it."
            remedy = did_you_mean(name, named) + f"Tools name: {', '.join(sorted(named))}."
            yield Finding("executor", message, remedy, blocks=False)


def _nobody_serves(name: str, configured: Sequence[str], *, may_register: bool) -> Rule:
    address = f"Give --executor {name}=HOST:PORT, or write it into [executors]"
    if may_register:
        expected = f"executor {name} has no address; calls wait until a program registers under that name"
        return Rule(expected, f"{did_you_mean(name, configured)}{address}.")
    expected = f"executor {name} has no address and cannot be registered; runs of this package are refused"
    return Rule(expected, f"{did_you_mean(name, configured)}{address}; --callback-allow lets it register itself.")
