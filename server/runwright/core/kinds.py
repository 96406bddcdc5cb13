"""One kind is one row: what is true of a kind of event is said here, and everything else goes by it.

A new kind needs its message in `event.proto`, its member and its row here, its struct in `records.py`, its function in
`apply.py`, and something in `machine/` that decides it. Its wire form, its references, the tables of phases and the
sets that stores and readers go by follow from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct, structs

from runwright.core import records as r
from runwright.core.approval_delegation_rows import rows_of_delegation
from runwright.core.approval_dispatch_rows import rows_of_dispatch_started, rows_of_dispatched
from runwright.core.approval_rows import (
    rows_of_decision,
    rows_of_expiry,
    rows_of_request,
    rows_of_successor,
    rows_of_withdrawal,
)
from runwright.core.grant_rows import rows_of_issue, rows_of_use
from runwright.core.ids import EffectId, model_effect_id, parse_effect_id
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.side_rows import SideRow
from runwright.core.state import RunState


class EventKind(Enum):
    """The numbers are those of `runwright.v1.EventKind`; a test holds them equal."""

    RUN_STARTED = 1
    TURN_STARTED = 2
    MODEL_ATTEMPT_STARTED = 3
    MODEL_MESSAGE_COMPLETED = 4
    MODEL_ATTEMPT_FAILED = 5
    TOOL_REQUESTED = 6
    POLICY_DECIDED = 7
    TOOL_STARTED = 8
    TOOL_COMPLETED = 9
    TOOL_FAILED = 10
    TOOL_DENIED = 11
    TOOL_CANCELLED = 12
    TOOL_RECOVERY_REQUIRED = 13
    RUN_CANCEL_REQUESTED = 14
    TURN_COMPLETED = 15
    TURN_FAILED = 16
    RUN_COMPLETED = 17
    RUN_FAILED = 18
    RUN_CANCELLED = 19
    RETRY_SCHEDULED = 20
    CONTEXT_ASSEMBLED = 21
    EFFECT_RESOLVED = 30
    RECONCILE_STARTED = 31
    RECONCILE_ENDED = 32
    POLICY_ASKED = 33
    POLICY_ANSWERED = 34
    POLICY_RESUMED = 35
    SUBJECT_REPLACED = 36
    TOOL_RESULT_RELEASED = 37
    APPROVAL_REQUESTED = 40
    APPROVAL_DECIDED = 41
    APPROVAL_EXPIRED = 42
    APPROVAL_WITHDRAWN = 43
    APPROVAL_SUPERSEDED = 44
    APPROVAL_ESCALATED = 45
    APPROVAL_DELEGATED = 53
    APPROVAL_DISPATCH_STARTED = 46
    APPROVAL_DISPATCHED = 47
    GRANT_ISSUED = 50
    GRANT_USED = 51
    GRANT_SUPERSEDED = 52

    # A member is only equal to itself; Enum would hash its name, in Python.
    __hash__ = object.__hash__


class Family(Enum):
    """What a record is about, and by which fields it says so."""

    RUN = "the run or its turn: by none"
    MODEL = "a model request: by `round` and `attempt`"
    CALL = "a tool call: by its one field that is an EffectId, and `attempt` if it is about one"
    NOTICE = "telling a dispatcher: by its one field that is an EffectId, and `attempt`"
    EFFECT = "any effect, or the run if there is none: by its one field that is an EffectId, and `attempt`"


class EffectRole(Enum):
    """What a record is to the effect it is about."""

    NONE = 0
    INTENT = 1  # an attempt is about to be made
    OUTCOME = 2  # what an attempt came to: it is not in hand any more


class Row(Struct, frozen=True):
    """One kind of event. It may stand in the phases that are keys of `run` and `call`, and leads to their values."""

    kind: EventKind
    record: type[r.Record]
    family: Family
    run: Mapping[RunPhase, RunPhase]
    call: Mapping[CallPhase, CallPhase] = {}  # of the call that it is about
    role: EffectRole = EffectRole.NONE
    bears_message: bool = False  # a model request is rebuilt from it; stores index these
    ends_run: bool = False
    side_rows: Callable[[RunState, Any], Sequence[SideRow]] | None = None  # what an append writes beside it


_K, _P, _C = EventKind, RunPhase, CallPhase
_RUN, _MODEL, _CALL, _EFFECT = Family.RUN, Family.MODEL, Family.CALL, Family.EFFECT
_INTENT, _OUTCOME = EffectRole.INTENT, EffectRole.OUTCOME
# Phases of the run: nothing changes them but its beginning, a cancel and its end.
_RUNNING = {_P.RUNNING: _P.RUNNING}
_TO_CLOSE = {_P.RUNNING: _P.RUNNING, _P.CANCELLING: _P.CANCELLING}  # also after a cancel: what is open gets its result
_CANCELLING = {_P.CANCELLING: _P.CANCELLING}
# Phases of the call.
_STARTED = {_C.REQUESTED: _C.RUNNING, _C.RUNNING: _C.RUNNING}
# What is unknown is only left by what stands behind an EFFECT_RESOLVED, RECONCILING only behind a RECONCILE_ENDED too.
_SETTLED = (_C.RUNNING, _C.UNKNOWN, _C.RECONCILING)
_AGAIN = {_C.REQUESTED: _C.REQUESTED, **dict.fromkeys(_SETTLED, _C.REQUESTED)}
# Without an attempt: somebody who was asked to approve it answered in place of the tool.
_COMPLETED = {_C.REQUESTED: _C.COMPLETED, **dict.fromkeys(_SETTLED, _C.COMPLETED)}
_FAILED = {_C.REQUESTED: _C.FAILED, **dict.fromkeys(_SETTLED, _C.FAILED)}
_DENIED = {_C.REQUESTED: _C.DENIED}
_CANCELLED = dict.fromkeys((_C.REQUESTED, _C.RUNNING, _C.RECONCILING), _C.CANCELLED)
_UNKNOWN = {_C.RUNNING: _C.UNKNOWN, _C.RECONCILING: _C.UNKNOWN}
_RECONCILING = {_C.RECONCILING: _C.RECONCILING}
# A call is decided on before it is sent, and when what came of it awaits its release.
_RELEASED = {_C.COMPLETED: _C.COMPLETED, _C.FAILED: _C.FAILED}
_DECIDED = {_C.REQUESTED: _C.REQUESTED, **_RELEASED}
_HELD = _DECIDED  # while a remote policy is asked
_UNSENT = {_C.REQUESTED: _C.REQUESTED}  # while somebody is asked to approve it

ROWS = (
    Row(_K.RUN_STARTED, r.RunStarted, _RUN, {_P.NEW: _P.RUNNING}),
    Row(_K.CONTEXT_ASSEMBLED, r.ContextAssembled, _RUN, _RUNNING, bears_message=True),
    Row(_K.TURN_STARTED, r.TurnStarted, _RUN, _RUNNING, bears_message=True),
    Row(_K.MODEL_ATTEMPT_STARTED, r.ModelAttemptStarted, _MODEL, _RUNNING, role=_INTENT),
    Row(_K.MODEL_MESSAGE_COMPLETED, r.ModelMessageCompleted, _MODEL, _RUNNING, role=_OUTCOME, bears_message=True),
    Row(_K.MODEL_ATTEMPT_FAILED, r.ModelAttemptFailed, _MODEL, _TO_CLOSE, role=_OUTCOME),
    Row(_K.TOOL_REQUESTED, r.ToolRequested, _CALL, _RUNNING, {_C.NONE: _C.REQUESTED}, bears_message=True),
    Row(_K.POLICY_DECIDED, r.PolicyDecided, _EFFECT, _RUNNING, _DECIDED),
    Row(_K.POLICY_ASKED, r.PolicyAsked, _EFFECT, _RUNNING, _HELD, role=_INTENT),
    Row(_K.POLICY_ANSWERED, r.PolicyAnswered, _EFFECT, _TO_CLOSE, _HELD, role=_OUTCOME),
    Row(_K.POLICY_RESUMED, r.PolicyResumed, _EFFECT, _RUNNING, _HELD),
    Row(
        _K.SUBJECT_REPLACED,
        r.SubjectReplaced,
        _EFFECT,
        _RUNNING,
        _HELD,
        bears_message=True,  # the model sees the input that is there now
    ),
    Row(_K.TOOL_STARTED, r.ToolStarted, _CALL, _RUNNING, _STARTED, role=_INTENT),
    Row(_K.TOOL_COMPLETED, r.ToolCompleted, _CALL, _TO_CLOSE, _COMPLETED, role=_OUTCOME, bears_message=True),
    Row(_K.TOOL_FAILED, r.ToolFailed, _CALL, _TO_CLOSE, _FAILED, role=_OUTCOME, bears_message=True),
    Row(_K.TOOL_DENIED, r.ToolDenied, _CALL, _RUNNING, _DENIED, role=_OUTCOME, bears_message=True),
    Row(_K.TOOL_RESULT_RELEASED, r.ToolResultReleased, _CALL, _RUNNING, _RELEASED, bears_message=True),
    Row(_K.TOOL_CANCELLED, r.ToolCancelled, _CALL, _CANCELLING, _CANCELLED, role=_OUTCOME),
    Row(_K.TOOL_RECOVERY_REQUIRED, r.ToolRecoveryRequired, _CALL, _TO_CLOSE, _UNKNOWN, role=_OUTCOME),
    Row(_K.RECONCILE_STARTED, r.ReconcileStarted, _CALL, _RUNNING, _RECONCILING, role=_INTENT),
    Row(
        _K.RECONCILE_ENDED,
        r.ReconcileEnded,
        _CALL,
        _TO_CLOSE,
        {_C.RUNNING: _C.RECONCILING, **_RECONCILING},
        role=_OUTCOME,
    ),
    Row(_K.EFFECT_RESOLVED, r.EffectResolved, _CALL, _RUNNING, {_C.UNKNOWN: _C.UNKNOWN, **_RECONCILING}),
    Row(_K.APPROVAL_REQUESTED, r.ApprovalRequested, _EFFECT, _RUNNING, _UNSENT, side_rows=rows_of_request),
    Row(_K.APPROVAL_DECIDED, r.ApprovalDecided, _EFFECT, _RUNNING, _UNSENT, side_rows=rows_of_decision),
    Row(_K.APPROVAL_EXPIRED, r.ApprovalExpired, _EFFECT, _RUNNING, _UNSENT, side_rows=rows_of_expiry),
    Row(_K.APPROVAL_WITHDRAWN, r.ApprovalWithdrawn, _EFFECT, _TO_CLOSE, _UNSENT, side_rows=rows_of_withdrawal),
    Row(_K.APPROVAL_SUPERSEDED, r.ApprovalSuperseded, _EFFECT, _RUNNING, _UNSENT, side_rows=rows_of_successor),
    Row(_K.APPROVAL_ESCALATED, r.ApprovalEscalated, _EFFECT, _RUNNING, _UNSENT),
    Row(_K.GRANT_ISSUED, r.GrantIssued, _CALL, _RUNNING, _UNSENT, side_rows=rows_of_issue),
    Row(_K.GRANT_USED, r.GrantUsed, _CALL, _RUNNING, _UNSENT, side_rows=rows_of_use),
    Row(_K.GRANT_SUPERSEDED, r.GrantSuperseded, _CALL, _RUNNING, _UNSENT),
    Row(_K.APPROVAL_DELEGATED, r.ApprovalDelegated, _EFFECT, _RUNNING, _UNSENT, side_rows=rows_of_delegation),
    Row(
        _K.APPROVAL_DISPATCH_STARTED,
        r.ApprovalDispatchStarted,
        Family.NOTICE,
        _TO_CLOSE,
        role=_INTENT,
        side_rows=rows_of_dispatch_started,
    ),
    Row(
        _K.APPROVAL_DISPATCHED,
        r.ApprovalDispatched,
        Family.NOTICE,
        _TO_CLOSE,
        role=_OUTCOME,
        side_rows=rows_of_dispatched,
    ),
    Row(_K.RETRY_SCHEDULED, r.RetryScheduled, _EFFECT, _RUNNING, _AGAIN),
    Row(_K.RUN_CANCEL_REQUESTED, r.RunCancelRequested, _RUN, {_P.RUNNING: _P.CANCELLING}),
    Row(_K.TURN_COMPLETED, r.TurnCompleted, _RUN, _RUNNING),
    Row(_K.TURN_FAILED, r.TurnFailed, _RUN, _TO_CLOSE),
    Row(_K.RUN_COMPLETED, r.RunCompleted, _RUN, {_P.RUNNING: _P.COMPLETED}, ends_run=True),
    Row(_K.RUN_FAILED, r.RunFailed, _RUN, {_P.RUNNING: _P.FAILED, _P.CANCELLING: _P.FAILED}, ends_run=True),
    Row(_K.RUN_CANCELLED, r.RunCancelled, _RUN, {_P.CANCELLING: _P.CANCELLED}, ends_run=True),
)

KINDS: Mapping[type[r.Record], EventKind] = {row.record: row.kind for row in ROWS}
_FAMILIES: Mapping[type[r.Record], Family] = {row.record: row.family for row in ROWS}
TERMINAL = frozenset(row.kind for row in ROWS if row.ends_run)
MESSAGE_BEARING = frozenset(row.kind for row in ROWS if row.bears_message)
INTENTS = tuple(row.record for row in ROWS if row.role is EffectRole.INTENT)
OUTCOMES = tuple(row.record for row in ROWS if row.role is EffectRole.OUTCOME)
_SIDE_ROWS = {row.record: row.side_rows for row in ROWS if row.side_rows}


def side_rows(state: RunState, record: r.Record) -> Sequence[SideRow]:
    """What an append writes beside the record, and the conditions under which it stands.

    `state` is the run's after the append: nothing of it but what never changes within a run may be relied on.
    """
    rows = _SIDE_ROWS.get(type(record))
    return rows(state, record) if rows else ()


def kind_of(record: r.Record) -> EventKind:
    """The event kind of a record."""
    return KINDS[type(record)]


# Round, effect and attempt that a record is about; 0 and none where it is about none.
About: TypeAlias = tuple[int, EffectId | None, int]


def about(record: r.Record) -> About:
    """What a record is about, of whatever family it is."""
    return about_of(type(record))(record)


@cache
def fields_of(struct: type[Struct]) -> tuple[structs.FieldInfo, ...]:
    """The fields of a struct with their types; found once, because finding types takes long."""
    return structs.fields(struct)


def effect_field(record: type[r.Record]) -> str | None:
    """The field of a record that holds the id of the effect it is about; None: there is none."""
    named = [field.name for field in fields_of(record) if field.type in (EffectId, EffectId | None)]
    return named[0] if named else None


@cache
def about_of(kind: type[r.Record]) -> Callable[[Any], About]:
    """How to read what records of a class are about: made once, because every event says it."""
    match _FAMILIES[kind]:
        case Family.RUN:
            return lambda _: (0, None, 0)
        case Family.MODEL:
            return lambda record: (record.round, model_effect_id(record.round), record.attempt)
        case Family.CALL | Family.NOTICE | Family.EFFECT:
            name = effect_field(kind)
            assert name is not None, f"{kind.__name__} does not say which effect it is about"
            effect = attrgetter(name)
            if not any(field.name == "attempt" for field in fields_of(kind)):
                return lambda record: _of_effect(effect(record), 0)
            return lambda record: _of_effect(effect(record), record.attempt)


def _of_effect(effect: EffectId | None, attempt: int) -> About:
    return (parse_effect_id(effect).numbers[0] if effect else 0, effect, attempt)
