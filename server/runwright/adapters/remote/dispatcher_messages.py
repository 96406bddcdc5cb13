"""What dispatchers are told: core → proto, and what one answered: bytes → core. Answers are a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from google.protobuf.message import DecodeError

from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as pb
from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approvals import ApprovalVerdict
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.ports.approval_dispatchers import ApprovalNotification, DispatcherDecision, DispatcherReply
from runwright.wire.approvals import put_approval
from runwright.wire.snapshots import inline_content
from runwright.wire.values import timestamp

_SERVICE = KINDS[CallbackKind.APPROVAL_DISPATCHER].service
METHODS: Mapping[ApprovalNotice, str] = {
    ApprovalNotice.DISPATCH: f"/{_SERVICE}/DispatchApproval",
    ApprovalNotice.UPDATE: f"/{_SERVICE}/UpdateApproval",
    ApprovalNotice.WITHDRAW: f"/{_SERVICE}/WithdrawApproval",
}
Request: TypeAlias = pb.DispatchApprovalRequest | pb.UpdateApprovalRequest | pb.WithdrawApprovalRequest
_REQUESTS: Mapping[ApprovalNotice, type[Request]] = {
    ApprovalNotice.DISPATCH: pb.DispatchApprovalRequest,
    ApprovalNotice.UPDATE: pb.UpdateApprovalRequest,
    ApprovalNotice.WITHDRAW: pb.WithdrawApprovalRequest,
}
_VERDICTS = {verdict.value: verdict for verdict in ApprovalVerdict}


def request_of(notification: ApprovalNotification, deadline: int) -> Request:
    """What is told, as a dispatcher gets it; `deadline` is microseconds."""
    request = _REQUESTS[notification.notice]()
    told = request.notification
    told.namespace, told.dispatcher = notification.namespace, notification.dispatcher
    told.effect_id, told.attempt = notification.effect_id, notification.attempt
    told.idempotency_key, told.revision = notification.key, notification.revision
    told.reference = notification.reference
    told.deadline.CopyFrom(timestamp(deadline))
    put_approval(told.approval, notification.approval)
    if notification.arguments is not None:
        ref = notification.approval.asked.arguments
        told.approval.arguments_content.CopyFrom(inline_content(ref, notification.arguments))
    return request


def read_answer(notice: ApprovalNotice, data: bytes) -> DispatcherReply:
    """What a dispatcher answered; UNREADABLE when that does not parse."""
    try:
        match notice:
            case ApprovalNotice.DISPATCH:
                return _read(pb.DispatchApprovalResponse.FromString(data))
            case ApprovalNotice.UPDATE:
                return _read(pb.UpdateApprovalResponse.FromString(data))
            case ApprovalNotice.WITHDRAW:
                pb.WithdrawApprovalResponse.FromString(data)
                return DispatcherReply(result=DispatchResult.ACKNOWLEDGED)
    except DecodeError:
        return DispatcherReply(result=DispatchResult.UNREADABLE)


def _read(message: pb.DispatchApprovalResponse | pb.UpdateApprovalResponse) -> DispatcherReply:
    said = message.decision
    decision = DispatcherDecision(
        digest=said.digest,
        verdict=_VERDICTS.get(said.verdict),
        message=said.message,
        note=said.note,
        on_behalf_of=said.on_behalf_of,
    )
    return DispatcherReply(
        result=DispatchResult.ACKNOWLEDGED,
        reference=message.reference,
        decision=decision if message.HasField("decision") else None,
    )
