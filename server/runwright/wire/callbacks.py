"""Callbacks: proto ⇄ core. A credential goes in and never out."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright.core.callback_kinds import CallbackKind, Details, DispatcherHost, PolicyHost, ToolExecutor
from runwright.core.callbacks import (
    DEFAULT_LEASE_US,
    LEAST_LEASE_SECONDS,
    MOST_LEASE_SECONDS,
    Callback,
    Health,
    HealthKind,
    Tls,
    UnusedTool,
)
from runwright.core.errors import invalid_request
from runwright.core.principal import Principal
from runwright.wire.requests import duration_us
from runwright.wire.values import timestamp

_MICROS = 1_000_000


def to_callback(request: pb.RegisterCallbackRequest, principal: Principal) -> Callback:
    """What the principal wants registered.

    Raises INVALID_REQUEST for a missing spec, a kind that is not known, or a
    lease that is too short.
    """
    if not request.HasField("spec"):
        raise invalid_request("spec", "set", "Put a CallbackSpec with callback_id, executor and address into it.")
    spec, lease = request.spec, DEFAULT_LEASE_US
    if request.HasField("lease"):
        lease = duration_us("lease", request.lease, most_seconds=MOST_LEASE_SECONDS)
        if lease < LEAST_LEASE_SECONDS * _MICROS:
            raise invalid_request(
                "lease",
                f"{LEAST_LEASE_SECONDS} s to {MOST_LEASE_SECONDS} s",
                "Leave it out for the default and renew it.",
            )
    return Callback(
        namespace=principal.namespace,
        callback_id=spec.callback_id,
        owner=principal.name,
        name=spec.executor,
        address=spec.address,
        details=_details(spec),
        tls=Tls(spec.tls.ca_pem, spec.tls.server_name) if spec.HasField("tls") else None,
        credential=request.credential,
        lease=lease,
        max_calls_in_flight=spec.max_calls_in_flight,
        owner_key=principal.credential,
    )


def callback(value: Callback, health: Health, unused: Sequence[UnusedTool] = ()) -> pb.Callback:
    """A registration as it stands, with the tools that it is not used for."""
    message = pb.Callback(
        spec=pb.CallbackSpec(
            callback_id=value.callback_id,
            kind=pb.CallbackKind.ValueType(value.kind.value),
            executor=value.name,
            address=value.address,
            max_calls_in_flight=value.max_calls_in_flight,
        ),
        owner=value.owner,
        lease=Duration(seconds=value.lease // _MICROS, nanos=value.lease % _MICROS * 1000),
        expires_at=timestamp(value.expires_at),
        health=_HEALTH[health.kind],
        health_detail=health.detail,
        health_since=timestamp(health.since),
        unused_tools=[
            pb.UnusedTool(
                tool=each.tool,
                schema_digest=each.schema_digest,
                package_schema_digest=each.package_schema_digest,
                package_fingerprint=each.package_fingerprint,
                wanted_at=timestamp(each.wanted_at),
            )
            for each in unused
        ],
    )
    _put_details(value.details, message.spec)
    if value.tls is not None:
        message.spec.tls.CopyFrom(pb.CallbackTls(ca_pem=value.tls.ca_pem, server_name=value.tls.server_name))
    return message


def kind_of(spec: pb.CallbackSpec | pb.ListCallbacksRequest) -> CallbackKind:
    """What a registration is for. Raises INVALID_REQUEST for a number that is no kind of this server's."""
    if spec.kind == pb.CALLBACK_KIND_UNSPECIFIED:
        return CallbackKind.TOOL_EXECUTOR
    try:
        return CallbackKind(spec.kind)
    except ValueError:
        taken = ", ".join(f"CALLBACK_KIND_{kind.name}" for kind in CallbackKind)
        remedy = "Register it with a server that takes its kind; leave the kind out for a tool executor."
        field = "spec.kind" if isinstance(spec, pb.CallbackSpec) else "kind"
        raise invalid_request(field, f"a kind that this server takes: {taken}", remedy) from None


def _details(spec: pb.CallbackSpec) -> Details:
    match kind_of(spec):
        case CallbackKind.TOOL_EXECUTOR:
            digests = sorted((each.tool, each.schema_digest) for each in spec.tool_digests)
            return ToolExecutor(tuple(dict.fromkeys(spec.tools)), tuple(digests))
        case CallbackKind.POLICY:
            if spec.tools or spec.tool_digests:
                raise invalid_request("spec.tools", "empty for a policy", "Leave it out: a policy performs no tools.")
            return PolicyHost()
        case CallbackKind.APPROVAL_DISPATCHER:
            if spec.tools or spec.tool_digests:
                remedy = "Leave it out: a dispatcher performs no tools."
                raise invalid_request("spec.tools", "empty for a dispatcher", remedy)
            return DispatcherHost()


def _put_details(details: Details, spec: pb.CallbackSpec) -> None:
    match details:
        case ToolExecutor():
            spec.tools.extend(details.tools)
            spec.tool_digests.extend(pb.ToolDigest(tool=tool, schema_digest=digest) for tool, digest in details.digests)
        case PolicyHost() | DispatcherHost():
            pass


_HEALTH = {
    HealthKind.UNKNOWN: pb.CALLBACK_HEALTH_UNKNOWN,
    HealthKind.HEALTHY: pb.CALLBACK_HEALTH_HEALTHY,
    HealthKind.UNHEALTHY: pb.CALLBACK_HEALTH_UNHEALTHY,
}
