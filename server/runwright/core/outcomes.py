"""Words for how things end or stand. Numbers are those of the enums in `runwright.v1`."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class RunPhase(Enum):
    """Where a run stands, as records move it. WAITING and REPAIR_NEEDED are derived (see `status`)."""

    NEW = 0
    RUNNING = 2
    CANCELLING = 4
    COMPLETED = 6
    FAILED = 7
    CANCELLED = 8

    @property
    def is_terminal(self) -> bool:
        """True when nothing can follow."""
        return self in _ENDS

    # A member is only equal to itself; Enum would hash its name, in Python.
    __hash__ = object.__hash__

    @classmethod
    def _missing_(cls, value: object) -> RunPhase | None:
        # Older versions stored 5 for a run with a call of unknown outcome. That such a call is there says as much.
        return cls.RUNNING if value == _STORED_REPAIR_NEEDED else None


_STORED_REPAIR_NEEDED = 5
_ENDS = frozenset({RunPhase.COMPLETED, RunPhase.FAILED, RunPhase.CANCELLED})


class RunStatus(Enum):
    """Where a run stands, as callers see it."""

    RUNNING = 2
    WAITING = 3
    CANCELLING = 4
    REPAIR_NEEDED = 5
    COMPLETED = 6
    FAILED = 7
    CANCELLED = 8
    HELD = 9


class ExecutorIdentity(Struct, frozen=True):
    """Which of the executors of a name got an attempt. No `callback_id`: an address that the operator configured."""

    callback_id: str
    principal: str
    address: str


class CallPhase(Enum):
    """Where a tool call stands."""

    NONE = 0
    REQUESTED = 1
    RUNNING = 2
    COMPLETED = 3
    FAILED = 4
    DENIED = 5
    CANCELLED = 6
    UNKNOWN = 7
    RECONCILING = 8

    @property
    def is_open(self) -> bool:
        """True when the call still needs a result, and gets one without a person."""
        return self in OPEN_PHASES

    __hash__ = object.__hash__


OPEN_PHASES = (CallPhase.REQUESTED, CallPhase.RUNNING, CallPhase.RECONCILING)


class StopReason(Enum):
    """Why a run ended."""

    END_TURN = 1
    MAX_TOKENS = 2
    CONTENT_FILTER = 3
    MAX_ROUNDS = 4
    MAX_TOOL_CALLS = 5
    PROVIDER_FAILURE = 6
    CANCELLED = 7
    INTERNAL = 8
    EFFECT_UNKNOWN = 12
    POLICY_INTERRUPT = 20
    POLICY_DENIED = 21
    APPROVAL_ABORTED = 24
    APPROVAL_EXPIRED = 25
    APPROVAL_DENIED = 27


class Resolution(Enum):
    """What somebody says of a call of unknown outcome. The numbers are those of `runwright.v1.Resolution`."""

    HAPPENED = 1  # with a result, which is the call's
    TRY_AGAIN = 2  # it did not happen: it is sent again, under a higher attempt
    FAILED = 3  # it did not happen: the model is told that it failed
    END_RUN = 4  # it stays unknown, and the run ends


class ReconcileAnswer(Enum):
    """What is known of a call once its executor was asked. The numbers are those of `runwright.v1.ReconcileAnswer`."""

    NOT_ASKED = 1  # nobody was asked: no executor was there, or none got the request
    PERFORMED = 2
    NOT_PERFORMED = 3
    CANNOT_SAY = 4
    NO_ANSWER = 5
    UNREADABLE = 6  # an answer that is not used: it cannot be read, or is about another call


class ResultRelease(Enum):
    """What the model is told of a call that awaits its release. The numbers are those of `runwright.v1`."""

    RELEASED = 1  # what the call came to
    WITHHELD = 2  # that it was made, and by which policy its result is withheld
    REPLACED = 3  # what a remote policy has put in the place of that


class FinishReason(Enum):
    """Why a model stopped."""

    STOP = 1
    TOOL_CALLS = 2
    LENGTH = 3
    CONTENT_FILTER = 4


class WaitKind(Enum):
    """What kind of thing a run waits for."""

    EXECUTOR = 1
    REPAIR = 2
    PROVIDER = 3
    RELEASE = 4
    POLICY = 5
    APPROVAL = 8


class Usage(Struct, frozen=True):
    """What a run used so far."""

    rounds: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
