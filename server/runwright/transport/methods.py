"""The method table: one row for each method that is served. What has no row is refused with UNIMPLEMENTED.

The guard, the registration with gRPC and the check of roles are made from it. A new RPC is a method in the proto, a
handler at the service's class and a row here; `tests/transport/test_methods.py` fails for a method of a served proto
that has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import package_service_pb2 as package_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.principal import Role
from runwright.transport import health, reflection, usage
from runwright.transport.access import (
    DECIDES,
    EVERY_ROLE,
    PUTS_PACKAGES,
    READS_PACKAGES,
    READS_RUNS,
    SEES_APPROVALS,
    SERVES_CALLBACKS,
    STARTS_RUNS,
)
from runwright.transport.approval_service import ApprovalService
from runwright.transport.callback_service import CallbackRegistryService
from runwright.transport.connections import (
    MAX_BATCH_BYTES,
    MAX_DOCUMENT_REQUEST_BYTES,
    MAX_RESOLUTION_BYTES,
    MAX_START_BYTES,
)
from runwright.transport.health import Health
from runwright.transport.method import Method, bidi, bytes_stream, stream, unary
from runwright.transport.package_service import PackageService
from runwright.transport.reflection import Reflection
from runwright.transport.runtime_service import RuntimeService
from runwright.transport.usage import PAGE_BYTES

RUNTIME = pb.DESCRIPTOR.services_by_name["RuntimeService"].full_name
PACKAGES = package_pb.DESCRIPTOR.services_by_name["PackageService"].full_name
APPROVALS = approval_pb.DESCRIPTOR.services_by_name["ApprovalService"].full_name
CALLBACKS = callback_pb.DESCRIPTOR.services_by_name["CallbackRegistryService"].full_name
_ADMINS = frozenset({Role.ADMIN})

METHODS: Sequence[Method] = (
    Method(
        path=f"/{RUNTIME}/StartRun",
        handler=unary(RuntimeService.StartRun, pb.StartRunRequest),
        roles=STARTS_RUNS,
        request_bytes=MAX_START_BYTES,
    ),
    Method(path=f"/{RUNTIME}/Cancel", handler=unary(RuntimeService.Cancel, pb.CancelRequest), roles=STARTS_RUNS),
    Method(
        path=f"/{RUNTIME}/ResolveEffect",
        handler=unary(RuntimeService.ResolveEffect, pb.ResolveEffectRequest),
        roles=frozenset({Role.REPAIRER}),
        request_bytes=MAX_RESOLUTION_BYTES,
    ),
    Method(path=f"/{RUNTIME}/Resume", handler=unary(RuntimeService.Resume, pb.ResumeRequest), roles=STARTS_RUNS),
    Method(
        path=f"/{RUNTIME}/ReleaseRun", handler=unary(RuntimeService.ReleaseRun, pb.ReleaseRunRequest), roles=_ADMINS
    ),
    Method(path=f"/{RUNTIME}/RemoveRun", handler=unary(RuntimeService.RemoveRun, pb.RemoveRunRequest), roles=_ADMINS),
    Method(path=f"/{RUNTIME}/Snapshot", handler=unary(RuntimeService.Snapshot, pb.SnapshotRequest), roles=READS_RUNS),
    Method(
        path=f"/{RUNTIME}/ExportRun",
        handler=stream(RuntimeService.ExportRun, pb.ExportRunRequest),
        roles=READS_RUNS,
        limit=usage.EXPORTS,
    ),
    Method(
        path=f"/{RUNTIME}/Subscribe",
        handler=bytes_stream(RuntimeService.Subscribe, pb.SubscribeRequest),
        roles=READS_RUNS,
        lasting=True,
    ),
    Method(path=f"/{RUNTIME}/Wait", handler=unary(RuntimeService.Wait, pb.WaitRequest), roles=READS_RUNS, lasting=True),
    Method(
        path=f"/{RUNTIME}/ListEvents",
        handler=unary(RuntimeService.ListEvents, pb.ListEventsRequest),
        roles=READS_RUNS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{RUNTIME}/ListRuns",
        handler=unary(RuntimeService.ListRuns, pb.ListRunsRequest),
        roles=READS_RUNS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{RUNTIME}/ListAuditEvents",
        handler=unary(RuntimeService.ListAuditEvents, pb.ListAuditEventsRequest),
        roles=_ADMINS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{RUNTIME}/GetServerInfo",
        handler=unary(RuntimeService.GetServerInfo, pb.GetServerInfoRequest),
        roles=EVERY_ROLE,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{PACKAGES}/PutPackage",
        handler=unary(PackageService.PutPackage, package_pb.PutPackageRequest),
        roles=PUTS_PACKAGES,
        request_bytes=MAX_DOCUMENT_REQUEST_BYTES,
        limit=usage.DOCUMENTS,
    ),
    Method(
        path=f"/{PACKAGES}/GetPackage",
        handler=unary(PackageService.GetPackage, package_pb.GetPackageRequest),
        roles=READS_PACKAGES,
        answer_bytes=2 * PAGE_BYTES,  # the package twice, as a message and as JSON
    ),
    Method(
        path=f"/{PACKAGES}/ListPackages",
        handler=unary(PackageService.ListPackages, package_pb.ListPackagesRequest),
        roles=READS_PACKAGES | READS_RUNS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{PACKAGES}/TagPackage",
        handler=unary(PackageService.TagPackage, package_pb.TagPackageRequest),
        roles=PUTS_PACKAGES,
    ),
    Method(
        path=f"/{PACKAGES}/ListTagHistory",
        handler=unary(PackageService.ListTagHistory, package_pb.ListTagHistoryRequest),
        roles=READS_PACKAGES | READS_RUNS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{PACKAGES}/ValidatePackage",
        handler=unary(PackageService.ValidatePackage, package_pb.ValidatePackageRequest),
        roles=PUTS_PACKAGES,
        request_bytes=MAX_DOCUMENT_REQUEST_BYTES,
        limit=usage.DOCUMENTS,
    ),
    Method(
        path=f"/{PACKAGES}/ResolvePackage",
        handler=unary(PackageService.ResolvePackage, package_pb.ResolvePackageRequest),
        roles=READS_PACKAGES,
        answer_bytes=2 * PAGE_BYTES,
    ),
    Method(
        path=f"/{APPROVALS}/ListApprovals",
        handler=unary(ApprovalService.ListApprovals, approval_pb.ListApprovalsRequest),
        roles=SEES_APPROVALS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{APPROVALS}/GetApproval",
        handler=unary(ApprovalService.GetApproval, approval_pb.GetApprovalRequest),
        roles=SEES_APPROVALS,
        answer_bytes=PAGE_BYTES,
    ),
    Method(
        path=f"/{APPROVALS}/WatchApprovals",
        handler=stream(ApprovalService.WatchApprovals, approval_pb.WatchApprovalsRequest),
        roles=SEES_APPROVALS,
        lasting=True,
    ),
    Method(
        path=f"/{APPROVALS}/DecideApproval",
        handler=unary(ApprovalService.DecideApproval, approval_pb.DecideApprovalRequest),
        roles=DECIDES,
    ),
    Method(
        path=f"/{APPROVALS}/BatchDecide",
        handler=unary(ApprovalService.BatchDecide, approval_pb.BatchDecideRequest),
        roles=DECIDES,
        request_bytes=MAX_BATCH_BYTES,
        answer_bytes=2 * PAGE_BYTES,
    ),
    Method(
        path=f"/{APPROVALS}/ListGrants",
        handler=unary(ApprovalService.ListGrants, approval_pb.ListGrantsRequest),
        roles=SEES_APPROVALS,
        answer_bytes=2 * PAGE_BYTES,
    ),
    Method(
        path=f"/{APPROVALS}/RevokeGrant",
        handler=unary(ApprovalService.RevokeGrant, approval_pb.RevokeGrantRequest),
        roles=DECIDES,
    ),
    Method(
        path=f"/{CALLBACKS}/RegisterCallback",
        handler=unary(CallbackRegistryService.RegisterCallback, callback_pb.RegisterCallbackRequest),
        roles=SERVES_CALLBACKS,
    ),
    Method(
        path=f"/{CALLBACKS}/UnregisterCallback",
        handler=unary(CallbackRegistryService.UnregisterCallback, callback_pb.UnregisterCallbackRequest),
        roles=SERVES_CALLBACKS,
    ),
    Method(
        path=f"/{CALLBACKS}/ListCallbacks",
        handler=unary(CallbackRegistryService.ListCallbacks, callback_pb.ListCallbacksRequest),
        roles=frozenset({Role.CALLER, Role.OBSERVER, Role.EXECUTOR, Role.POLICY, Role.DISPATCHER, Role.REPAIRER}),
        answer_bytes=PAGE_BYTES,
    ),
    # Without credentials, because load balancers and probes have none.
    Method(path=f"/{health.SERVICE}/Check", handler=unary(Health.Check, health_pb2.HealthCheckRequest), roles=None),
    Method(path=f"/{health.SERVICE}/List", handler=unary(Health.List, health.LIST_REQUEST), roles=None),
    Method(
        path=f"/{health.SERVICE}/Watch",
        handler=stream(Health.Watch, health_pb2.HealthCheckRequest),
        roles=None,
        lasting=True,
        limit=usage.HEALTH_WATCHES,
    ),
    Method(
        path=f"/{reflection.V1}/ServerReflectionInfo",
        handler=bidi(Reflection.ServerReflectionInfo, ServerReflectionRequest),
        roles=EVERY_ROLE,
        lasting=True,
        limit=usage.REFLECTION_STREAMS,
    ),
    Method(
        path=f"/{reflection.V1ALPHA}/ServerReflectionInfo",
        handler=bidi(Reflection.ServerReflectionInfo, ServerReflectionRequest),
        roles=EVERY_ROLE,
        lasting=True,
        limit=usage.REFLECTION_STREAMS,
    ),
)


def undecided(services: Iterable[str], methods: Sequence[Method] = METHODS) -> list[str]:
    """The methods that the protos of these services (full names) declare and no row decides on, by path."""
    decided = {method.path for method in methods}
    pool = descriptor_pool.Default()
    declared = (f"/{name}/{method.name}" for name in services for method in pool.FindServiceByName(name).methods)
    return [path for path in declared if path not in decided]
