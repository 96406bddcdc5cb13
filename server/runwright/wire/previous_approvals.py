"""How a call differs from the one that was approved before it: core → proto."""

from __future__ import annotations

from runwright._gen.runwright.v1 import previous_approval_pb2 as pb
from runwright.core.argument_changes import ArgumentChange
from runwright.core.previous_approvals import PreviousApproval
from runwright.wire.values import put_timestamp


def put_previous(message: pb.PreviousApproval, value: PreviousApproval) -> None:
    """core → a message's own comparison."""
    message.comparison = pb.ApprovalComparison.ValueType(value.comparison.value)
    if value.earlier is not None and value.earlier.outcome is not None:
        message.approval_id, message.decided_by = value.earlier.asked.id, value.earlier.outcome.decided_by
        put_timestamp(message.decided_at, value.earlier.outcome.at)
    if value.changes is not None:
        message.has_more = value.changes.has_more
        for change in value.changes.changes:
            _put_change(message.changes.add(), change)


def _put_change(message: pb.ArgumentChange, value: ArgumentChange) -> None:
    message.kind = pb.ArgumentChangeKind.ValueType(value.kind.value)
    message.pointer, message.before, message.after = value.pointer, value.before, value.after
    message.pointer_cut, message.before_cut, message.after_cut = value.pointer_cut, value.before_cut, value.after_cut
    message.skipped, message.highlighted = value.skipped, value.highlighted
