"""Who was told of an approval: core → proto."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2
from runwright.core.approval_dispatch_rows import DispatchStanding
from runwright.wire.values import put_timestamp


def put_dispatch(message: approval_pb2.ApprovalDispatch, value: DispatchStanding) -> None:
    """core → a message's own dispatch."""
    message.dispatcher, message.attempt = value.dispatcher, value.attempt
    message.notice = approval_pb2.ApprovalNotice.ValueType(value.notice.value)
    if value.result is not None:
        message.result = approval_pb2.ApprovalDispatchResult.ValueType(value.result.value)
    put_timestamp(message.time, value.at)
    if value.retry_at is not None:
        put_timestamp(message.retry_at, value.retry_at)
    message.principal, message.refusal = value.principal, value.refusal
