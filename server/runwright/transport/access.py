"""Who calls, and whether they may: what the roles of a method's row mean. Calls that are turned away are audited."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import grpc
from msgspec import Struct

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.principal import LOCAL, Principal, Role
from runwright.ports.access import Authenticator, Credentials
from runwright.ports.audit import Audit
from runwright.transport.method import Method

# The object identifier of the extension, 2.5.29.17, in DER.
_ALTERNATIVE_NAMES = bytes((0x06, 0x03, 0x55, 0x1D, 0x11))
# Roles that methods share; admins have every role.
STARTS_RUNS = frozenset({Role.CALLER})
READS_RUNS = frozenset({Role.CALLER, Role.OBSERVER, Role.APPROVER, Role.REPAIRER})
PUTS_PACKAGES = frozenset({Role.AUTHOR})
READS_PACKAGES = frozenset({Role.CALLER, Role.AUTHOR})  # whole: observers see no instructions
SEES_APPROVALS = frozenset({Role.APPROVER, Role.OBSERVER})
DECIDES = frozenset({Role.APPROVER})
SERVES_CALLBACKS = frozenset({Role.EXECUTOR, Role.POLICY, Role.DISPATCHER})
EVERY_ROLE = frozenset(Role)

Metadata = Sequence[tuple[str, str | bytes]]


class Caller(Struct, frozen=True):
    """Who makes a call, and the W3C trace context it came with; empty without one."""

    principal: Principal = LOCAL
    trace_parent: str = ""


# The metadata of the call that a task serves, where it has been copied from gRPC already: another copy costs as much
# as the rest of an admission.
incoming: ContextVar[Metadata | None] = ContextVar("incoming", default=None)
_LOCAL = Caller()
_caller: ContextVar[Caller] = ContextVar("caller", default=_LOCAL)


def principal() -> Principal:
    """Who makes the call that this task serves."""
    return _caller.get().principal


def trace_parent() -> str:
    """The trace context that the call of this task came with."""
    return _caller.get().trace_parent


class Access:
    """Lets calls in. Without an authenticator everyone is `local`: see `Settings.problems` for what is bound then."""

    def __init__(self, authenticator: Authenticator | None, audit: Audit) -> None:
        self._authenticator = authenticator
        self._audit = audit

    def admit(self, method: Method, context: grpc.aio.ServicerContext[Any, Any]) -> Principal | None:
        """Finds out who calls and whether they may; None for a method that needs no credentials.

        Raises UNAUTHENTICATED or ROLE_MISSING.
        """
        roles = method.roles
        authorizations, trace = _metadata(context)
        if self._authenticator is None or roles is None:
            _caller.set(Caller(LOCAL, trace))
            return None if roles is None else LOCAL
        try:
            found = self._authenticator.authenticate(_credentials(context, authorizations))
        except AgentError as error:
            kind, came_from = AuditKind.UNAUTHENTICATED, (_address(context),)
            self._audit.note(AuditEntry(kind=kind, method=method.path, reason=error.reason.name, subjects=came_from))
            raise
        if not found.has_any(roles):
            self._note(AuditKind.ROLE_DENIED, found, method.path, ErrorReason.ROLE_MISSING.name)
            named = ", ".join(sorted(role.value for role in roles))
            raise AgentError(
                ErrorReason.ROLE_MISSING, f"The call needs one of the roles {named}.", metadata={"role": named}
            )
        _caller.set(Caller(found, trace))
        return found

    def _note(self, kind: AuditKind, who: Principal, method: str, reason: str) -> None:
        entry = AuditEntry(kind=kind, principal=who.name, namespace=who.namespace, method=method, reason=reason)
        self._audit.note(entry)

    def is_revoked(self, principal: Principal) -> bool:
        """True once the principal's credential was revoked, changed or has expired."""
        return self._authenticator is not None and not self._authenticator.is_current(principal)

    def ended(self, method: str, principal: Principal) -> AgentError:
        """Notes that a call ends because its principal is revoked. Returns UNAUTHENTICATED, to end it with."""
        self._note(AuditKind.CREDENTIAL_REVOKED, principal, method, ErrorReason.UNAUTHENTICATED.name)
        expected = "a credential that is still valid"
        message = "The credential of this call was revoked or has expired."
        return AgentError(ErrorReason.UNAUTHENTICATED, message, metadata={"expected": expected})


def _address(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Where a call comes from, without the port: that is another one each time."""
    kind, _, place = str(context.peer()).partition(":")
    return place.rpartition(":")[0] if kind in ("ipv4", "ipv6") else kind


def _metadata(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[list[str], str]:
    """Every `authorization` and the `traceparent` of a call, in one walk: asking for the metadata copies it."""
    authorizations, traces = [], []
    found = incoming.get()
    incoming.set(None)  # else it is held for as long as the call
    for key, value in found or context.invocation_metadata() or ():
        if key == "authorization":
            authorizations.append(value if isinstance(value, str) else "")
        elif key == "traceparent" and isinstance(value, str):
            traces.append(value)
    # Two contradict each other: then there is none, as the W3C recommendation has it.
    return authorizations, traces[0] if len(traces) == 1 else ""


def _credentials(context: grpc.aio.ServicerContext[Any, Any], authorizations: list[str]) -> Credentials:
    """What a call shows of itself. Raises UNAUTHENTICATED for two authorizations.

    Which of two a proxy before us has looked at cannot be known, so none of them is believed.
    """
    if len(authorizations) > 1:
        expected = "one authorization entry in the metadata"
        message = f"The call brings {len(authorizations)} authorization entries; it must bring one."
        raise AgentError(ErrorReason.UNAUTHENTICATED, message, metadata={"expected": expected})
    for authorization in authorizations:  # what a certificate says besides is not asked for
        scheme, _, token = authorization.partition(" ")
        return Credentials(token.strip() if scheme.lower() == "bearer" else "")
    return Credentials(None, _subjects(context.auth_context()))


def _subjects(known: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """The names of a client's certificate: its alternative names, the common name only of one that has none.

    RFC 6125, 6.4.4: an authority checks the alternative names of what it signs and lets the common name be any text.
    gRPC does not show every kind of alternative name, so the certificate itself is asked whether it has the extension.
    """
    names = list(known.get("x509_subject_alternative_name", ()))
    if not names and not any(_has_alternative_names(pem) for pem in known.get("x509_pem_cert", ())):
        names = list(known.get("x509_common_name", ()))
    return tuple(name.decode("utf-8", "replace") for name in names)


def _has_alternative_names(pem: bytes) -> bool:
    try:
        return _ALTERNATIVE_NAMES in ssl.PEM_cert_to_DER_cert(pem.decode("ascii").strip())
    except ValueError:
        return True  # what cannot be read is not believed
