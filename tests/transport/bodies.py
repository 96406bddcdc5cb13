"""A good body for every method of ours, and what mutation makes of one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2, grant_pb2, package_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import package_service_pb2 as package_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.transport.methods import METHODS

from tests import builders as b
from tests.transport.serving import registration, run_request, scope, subscription

SERVICE = "/runwright.v1.RuntimeService/"
PACKAGES = "/runwright.v1.PackageService/"
APPROVALS = "/runwright.v1.ApprovalService/"
REGISTRY = "/runwright.callback.v1.CallbackRegistryService/"
STREAMING = ("Subscribe", "ExportRun", "WatchApprovals")
DECISION = approval_pb.DecisionRequest(
    approval_id="run-1/a1.1.1",
    digest=f"sha256:runwright-approval-v1:{'0' * 64}",
    verdict=approval_pb2.APPROVAL_VERDICT_DENY,
    message="not now",
    note="seen",
    on_behalf_of="bob",
    request_id="decision-1",
)
FINGERPRINT = f"sha256:runwright-package-v0:{'0' * 64}"
DOCUMENT = json.dumps(b.package(b.says("hi"), id="desk").model_dump(mode="json"))
GOOD: Mapping[str, Message] = {
    SERVICE + "StartRun": pb.StartRunRequest(
        run=run_request(
            "",
            agent_id="helper",
            session_id="s",
            labels={"team": "blue"},
            budget=package_pb2.Budget(rounds=3),
            package=run_pb2.PackageSelector(package_id="p"),
        )
    ),
    SERVICE + "Cancel": pb.CancelRequest(run_id="run-1", reason="enough", grace=Duration(seconds=1)),
    SERVICE + "ResolveEffect": pb.ResolveEffectRequest(
        run_id="run-1",
        effect_id="c1.1",
        attempt=1,
        request_id="decision-1",
        resolution=run_pb2.RESOLUTION_HAPPENED,
        result=pb.ResolvedResult(data=b"1", media_type="text/plain"),
        reason="seen",
    ),
    SERVICE + "Resume": pb.ResumeRequest(
        run_id="run-1", effect_id="p1.1.1", request_id="resume-1", reason="it is over"
    ),
    SERVICE + "ReleaseRun": pb.ReleaseRunRequest(run_id="run-1", reason="the disk was exchanged"),
    SERVICE + "RemoveRun": pb.RemoveRunRequest(run_id="run-1", reason="nobody needs it"),
    SERVICE + "Snapshot": pb.SnapshotRequest(run_id="run-1"),
    SERVICE + "Wait": pb.WaitRequest(run_id="run-1", timeout=Duration(nanos=1000)),
    SERVICE + "Subscribe": subscription(view=pb.EVENT_VIEW_FULL),
    SERVICE + "ExportRun": pb.ExportRunRequest(run_id="run-1"),
    SERVICE + "ListEvents": pb.ListEventsRequest(scope=scope(), page_size=5, view=pb.EVENT_VIEW_SUMMARY),
    SERVICE + "ListRuns": pb.ListRunsRequest(page_size=5, filter=pb.RunFilter(agent_id="helper", labels={"a": "b"})),
    SERVICE + "ListAuditEvents": pb.ListAuditEventsRequest(page_size=5),
    SERVICE + "GetServerInfo": pb.GetServerInfoRequest(),
    PACKAGES + "PutPackage": package_pb.PutPackageRequest(
        document=DOCUMENT, tag="prod", expected_previous_fingerprint=FINGERPRINT, request_id="q"
    ),
    PACKAGES + "GetPackage": package_pb.GetPackageRequest(package=run_pb2.PackageSelector(tag="prod")),
    PACKAGES + "ListPackages": package_pb.ListPackagesRequest(page_size=5, package_id="desk"),
    PACKAGES + "TagPackage": package_pb.TagPackageRequest(
        tag="prod", fingerprint=FINGERPRINT, expected_previous_fingerprint="", request_id="q"
    ),
    PACKAGES + "ListTagHistory": package_pb.ListTagHistoryRequest(tag="prod", page_size=5),
    PACKAGES + "ValidatePackage": package_pb.ValidatePackageRequest(document=DOCUMENT),
    PACKAGES + "ResolvePackage": package_pb.ResolvePackageRequest(
        package=run_pb2.PackageSelector(fingerprint=FINGERPRINT), budget=package_pb2.Budget(rounds=3), agent_id="helper"
    ),
    APPROVALS + "ListApprovals": approval_pb.ListApprovalsRequest(
        page_size=5, states=[approval_pb2.APPROVAL_STATE_DENIED], agent_id="helper", tool="write", risk="high"
    ),
    APPROVALS + "GetApproval": approval_pb.GetApprovalRequest(approval_id="run-1/a1.1.1", include_arguments=True),
    APPROVALS + "WatchApprovals": approval_pb.WatchApprovalsRequest(mine=True),
    APPROVALS + "DecideApproval": approval_pb.DecideApprovalRequest(decision=DECISION),
    APPROVALS + "BatchDecide": approval_pb.BatchDecideRequest(decisions=[DECISION, DECISION]),
    APPROVALS + "ListGrants": approval_pb.ListGrantsRequest(
        page_size=5, states=[grant_pb2.GRANT_STATE_REVOKED], agent_id="helper", tool="write", issuer="ann"
    ),
    APPROVALS + "RevokeGrant": approval_pb.RevokeGrantRequest(grant_id="run-1/g1.1.1", note="enough"),
    REGISTRY + "RegisterCallback": registration("one", tools=["look"], credential="x", lease=5),
    REGISTRY + "UnregisterCallback": callback_pb.UnregisterCallbackRequest(callback_id="one"),
    REGISTRY + "ListCallbacks": callback_pb.ListCallbacksRequest(page_size=5, executor="tools"),
    "/grpc.health.v1.Health/Check": health_pb2.HealthCheckRequest(service="runwright.v1.RuntimeService"),
}


def methods() -> Iterator[MethodDescriptor]:
    """Every method of ours that is served."""
    for row in METHODS:
        if row.service.startswith("runwright."):
            yield descriptor_pool.Default().FindServiceByName(row.service).methods_by_name[row.name]


def mutated(body: bytes, seed: random.Random) -> bytes:
    """The body after one to four changes."""
    data = bytearray(body)
    for _ in range(seed.randint(1, 4)):
        at = seed.randint(0, len(data))
        match seed.randrange(5):
            case 0:
                data[at : at + 1] = bytes([seed.randrange(256)])
            case 1:
                data[at:at] = seed.randbytes(seed.randint(1, 8))
            case 2:
                del data[at : at + seed.randint(1, 8)]
            case 3:
                data += data[: seed.randint(0, 64)]
            case _:
                data[at:at] = b"\xff" * seed.randint(1, 10)
    return bytes(data)
