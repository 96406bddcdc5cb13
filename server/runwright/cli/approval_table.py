"""Approvals in rows: how old, how long they can still be decided on, whose turn it is, what for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from runwright._gen.runwright.v1 import approval_pb2
from runwright.cli import names
from runwright.cli.approval_text import WHAT, approvers
from runwright.cli.decisions import PENDING
from runwright.cli.escapes import escaped
from runwright.cli.time_left import left

_WIDEST_SUMMARY = 80
_HEADINGS = ("APPROVAL", "STATE", "AGE", "LEFT", "TURN", "WHAT", "RISK", "AGENT", "SUMMARY")


def table(approvals: Sequence[approval_pb2.Approval], now: float) -> list[str]:
    """A line for each approval below one of headings, in columns as wide as they need to be."""
    rows = [_HEADINGS, *(_cells(one, now) for one in approvals)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def what(one: approval_pb2.Approval) -> str:
    """What is to be approved: a tool, or what of the run."""
    return WHAT.get(one.kind, one.tool)


def summary(one: approval_pb2.Approval) -> str:
    """The call in the words of its tool, as much as a row has room for."""
    whole = one.summary or "-"
    return whole if len(whole) <= _WIDEST_SUMMARY else whole[: _WIDEST_SUMMARY - 1] + "\u2026"


def turn(one: approval_pb2.Approval) -> str:
    """Whose turn it is; of one that is closed, who decided."""
    if one.state != PENDING:
        return f"by {one.decision.decided_by}" if one.HasField("decision") else "-"
    return approvers(one.sets[one.current_set]) if one.current_set < len(one.sets) else "-"


def _cells(one: approval_pb2.Approval, now: float) -> tuple[str, ...]:
    age = names.elapsed(max(1.0, now - names.seconds(one.requested_at)))
    state = names.approval_state(one.state)
    cells = (one.approval_id, state, age, left(one, now), turn(one), what(one), one.risk or "-", one.agent_id)
    return tuple(escaped(cell) for cell in (*cells, summary(one)))
