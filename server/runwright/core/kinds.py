"""One kind is one row: what is true of a kind of event is said here, and everything else goes by it.

A new kind: its message in `event.proto`, its member and its row here, its struct in `records.py`, its function in
`apply.py`, and what decides it in `machine/`. Its wire form, its references and the sets that stores and readers go by
follow from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct, structs

from runwright.core import records as r
from runwright.core.ids import EffectId, model_effect_id, parse_effect_id


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

    # A member is only equal to itself; Enum would hash its name, in Python.
    __hash__ = object.__hash__


class Family(Enum):
    """What a record is about, and by which fields it says so."""

    RUN = "the run or its turn: by none"
    MODEL = "a model request: by `round` and `attempt`"
    CALL = "a tool call: by its one field that is an EffectId, and `attempt` if it is about one"
    EFFECT = "any effect, or the run if there is none: by its one field that is an EffectId, and `attempt`"


class Role(Enum):
    """What a record is to the effect it is about."""

    NONE = 0
    INTENT = 1  # an attempt is about to be made
    OUTCOME = 2  # what an attempt came to: it is not in hand any more


class Row(Struct, frozen=True):
    """One kind of event. `bears_message`: a model request is rebuilt from it; stores index these."""

    kind: EventKind
    record: type[r.Record]
    family: Family
    role: Role = Role.NONE
    bears_message: bool = False
    ends_run: bool = False


_K, _RUN, _MODEL, _CALL, _EFFECT = EventKind, Family.RUN, Family.MODEL, Family.CALL, Family.EFFECT
ROWS = (
    Row(_K.RUN_STARTED, r.RunStarted, _RUN),
    Row(_K.CONTEXT_ASSEMBLED, r.ContextAssembled, _RUN, bears_message=True),
    Row(_K.TURN_STARTED, r.TurnStarted, _RUN, bears_message=True),
    Row(_K.MODEL_ATTEMPT_STARTED, r.ModelAttemptStarted, _MODEL, Role.INTENT),
    Row(_K.MODEL_MESSAGE_COMPLETED, r.ModelMessageCompleted, _MODEL, Role.OUTCOME, bears_message=True),
    Row(_K.MODEL_ATTEMPT_FAILED, r.ModelAttemptFailed, _MODEL, Role.OUTCOME),
    Row(_K.TOOL_REQUESTED, r.ToolRequested, _CALL, bears_message=True),
    Row(_K.POLICY_DECIDED, r.PolicyDecided, _EFFECT),
    Row(_K.TOOL_STARTED, r.ToolStarted, _CALL, Role.INTENT),
    Row(_K.TOOL_COMPLETED, r.ToolCompleted, _CALL, Role.OUTCOME, bears_message=True),
    Row(_K.TOOL_FAILED, r.ToolFailed, _CALL, Role.OUTCOME, bears_message=True),
    Row(_K.TOOL_DENIED, r.ToolDenied, _CALL, Role.OUTCOME, bears_message=True),
    Row(_K.TOOL_CANCELLED, r.ToolCancelled, _CALL, Role.OUTCOME),
    Row(_K.TOOL_RECOVERY_REQUIRED, r.ToolRecoveryRequired, _CALL, Role.OUTCOME),
    Row(_K.RETRY_SCHEDULED, r.RetryScheduled, _EFFECT),
    Row(_K.RUN_CANCEL_REQUESTED, r.RunCancelRequested, _RUN),
    Row(_K.TURN_COMPLETED, r.TurnCompleted, _RUN),
    Row(_K.TURN_FAILED, r.TurnFailed, _RUN),
    Row(_K.RUN_COMPLETED, r.RunCompleted, _RUN, ends_run=True),
    Row(_K.RUN_FAILED, r.RunFailed, _RUN, ends_run=True),
    Row(_K.RUN_CANCELLED, r.RunCancelled, _RUN, ends_run=True),
)

KINDS: Mapping[type[r.Record], EventKind] = {row.record: row.kind for row in ROWS}
_FAMILIES: Mapping[type[r.Record], Family] = {row.record: row.family for row in ROWS}
TERMINAL = frozenset(row.kind for row in ROWS if row.ends_run)
MESSAGE_BEARING = frozenset(row.kind for row in ROWS if row.bears_message)
INTENTS = tuple(row.record for row in ROWS if row.role is Role.INTENT)
OUTCOMES = tuple(row.record for row in ROWS if row.role is Role.OUTCOME)


def kind_of(record: r.Record) -> EventKind:
    """The event kind of a record."""
    return KINDS[type(record)]


# Round, effect and attempt that a record is about; 0 and none where it is about none.
About: TypeAlias = tuple[int, EffectId | None, int]


def about(record: r.Record) -> About:
    """What a record is about, of whatever family it is."""
    return _about(type(record))(record)


@cache
def fields_of(struct: type[Struct]) -> tuple[structs.FieldInfo, ...]:
    """The fields of a struct with their types; found once, because finding types takes long."""
    return structs.fields(struct)


def effect_field(record: type[r.Record]) -> str | None:
    """The field of a record that holds the id of the effect it is about; None: there is none."""
    named = [field.name for field in fields_of(record) if field.type in (EffectId, EffectId | None)]
    return named[0] if named else None


@cache
def _about(kind: type[r.Record]) -> Callable[[Any], About]:
    """How to read what records of a class are about: made once, because every event says it."""
    match _FAMILIES[kind]:
        case Family.RUN:
            return lambda _: (0, None, 0)
        case Family.MODEL:
            return lambda record: (record.round, model_effect_id(record.round), record.attempt)
        case Family.CALL | Family.EFFECT:
            name = effect_field(kind)
            assert name is not None, f"{kind.__name__} does not say which effect it is about"
            effect = attrgetter(name)
            if not any(field.name == "attempt" for field in fields_of(kind)):
                return lambda record: _of_effect(effect(record), 0)
            return lambda record: _of_effect(effect(record), record.attempt)


def _of_effect(effect: EffectId | None, attempt: int) -> About:
    return (parse_effect_id(effect).numbers[0] if effect else 0, effect, attempt)
