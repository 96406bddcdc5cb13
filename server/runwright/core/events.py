"""Event kinds: which record is which kind, which are terminal, which carry the conversation."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from runwright.core import records as r


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


KINDS: Mapping[type[r.Record], EventKind] = {
    r.RunStarted: EventKind.RUN_STARTED,
    r.TurnStarted: EventKind.TURN_STARTED,
    r.ModelAttemptStarted: EventKind.MODEL_ATTEMPT_STARTED,
    r.ModelMessageCompleted: EventKind.MODEL_MESSAGE_COMPLETED,
    r.ModelAttemptFailed: EventKind.MODEL_ATTEMPT_FAILED,
    r.ToolRequested: EventKind.TOOL_REQUESTED,
    r.PolicyDecided: EventKind.POLICY_DECIDED,
    r.ToolStarted: EventKind.TOOL_STARTED,
    r.ToolCompleted: EventKind.TOOL_COMPLETED,
    r.ToolFailed: EventKind.TOOL_FAILED,
    r.ToolDenied: EventKind.TOOL_DENIED,
    r.ToolCancelled: EventKind.TOOL_CANCELLED,
    r.ToolRecoveryRequired: EventKind.TOOL_RECOVERY_REQUIRED,
    r.RetryScheduled: EventKind.RETRY_SCHEDULED,
    r.RunCancelRequested: EventKind.RUN_CANCEL_REQUESTED,
    r.TurnCompleted: EventKind.TURN_COMPLETED,
    r.TurnFailed: EventKind.TURN_FAILED,
    r.RunCompleted: EventKind.RUN_COMPLETED,
    r.RunFailed: EventKind.RUN_FAILED,
    r.RunCancelled: EventKind.RUN_CANCELLED,
    r.ContextAssembled: EventKind.CONTEXT_ASSEMBLED,
}

TERMINAL = frozenset({EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED})

# What a model request is rebuilt from; stores index these.
MESSAGE_BEARING = frozenset(
    {
        EventKind.TURN_STARTED,
        EventKind.MODEL_MESSAGE_COMPLETED,
        EventKind.TOOL_REQUESTED,
        EventKind.TOOL_COMPLETED,
        EventKind.TOOL_FAILED,
        EventKind.TOOL_DENIED,
        EventKind.CONTEXT_ASSEMBLED,
    }
)


def kind_of(record: r.Record) -> EventKind:
    """The event kind of a record."""
    return KINDS[type(record)]
