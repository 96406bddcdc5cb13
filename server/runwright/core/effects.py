"""What a run asks of the world, and what each effect says of itself. `pending` says which are wanted now.

The driver knows effects by these attributes alone:

- `may_be_repeated`: another attempt at it does no harm, so nobody has to hold on to its answer at any price.
- `is_left_to_restart`: an answer that comes while the server stops is not recorded; the next start asks again.
- `settles_while_draining`: it goes on while the server stops, until it is settled.
- `parks`: nothing has to run for it. A timer, or an executor that comes back, brings the input that settles it.
- `needs_intent`: it is sent to somebody, and only once its intent is durable.
- `key`: two effects with the same key are the same one.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.ids import EffectId, model_effect_id
from runwright.core.units import Micros

# (id, what is done about it, attempt)
EffectKey: TypeAlias = tuple[EffectId, str, int]


def ask_key(effect_id: EffectId, ask: int) -> EffectKey:
    """The key of asking, for the `ask`-th time, what became of the call's attempt; its intent is on record."""
    return (effect_id, "reconcile", ask)


def attempt_key(effect_id: EffectId, attempt: int) -> EffectKey:
    """The key of one attempt at what has an intent on record: a model request or a tool call."""
    return (effect_id, "call", attempt)


class CallModel(Struct, frozen=True):
    """Ask the model over one of the package's routes; the intent is recorded."""

    round: int
    attempt: int
    route: int = 0
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = True

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return attempt_key(model_effect_id(self.round), self.attempt)


class AwaitRetry(Struct, frozen=True):
    """Wait until the model may be asked again; `attempt` is the one that failed."""

    round: int
    attempt: int
    due: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (model_effect_id(self.round), "retry", self.attempt)


class CallTool(Struct, frozen=True):
    """Send one attempt of a call to its executor; its intent is recorded."""

    call_id: EffectId
    tool: str
    executor: str
    attempt: int
    arguments: ContentRef
    idempotency_key: str
    idempotent: bool
    deadline: Micros
    is_left_to_restart: ClassVar[bool] = False  # what was performed is recorded, whenever it is heard of
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = True

    @property
    def may_be_repeated(self) -> bool:
        """See the module."""
        return self.idempotent

    @property
    def settles_while_draining(self) -> bool:
        """See the module: what must not be repeated may still answer."""
        return not self.idempotent

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return attempt_key(self.call_id, self.attempt)


class AwaitExecutor(Struct, frozen=True):
    """Wait until `not_before` has passed and a place at the executor is free, or until `give_up_at`.

    `attempt` is the last one; 0 when none was made. `give_up_at` is 0 while no
    outage of the executor is on record.
    """

    call_id: EffectId
    attempt: int
    executor: str  # empty in runs of older versions that have made no attempt; the package names it
    not_before: Micros
    give_up_at: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.call_id, "await", self.attempt)


class ReconcileTool(Struct, frozen=True):
    """Ask an executor what became of an attempt; the intent of the ask is recorded."""

    call_id: EffectId
    tool: str
    attempt: int
    ask: int
    arguments: ContentRef
    idempotency_key: str
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = True

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return ask_key(self.call_id, self.ask)


class AwaitReconcile(Struct, frozen=True):
    """Wait until `not_before` has passed and an executor has a place for the next ask, or until `give_up_at`.

    `ask` is the last one; 0 when nobody was asked yet.
    """

    call_id: EffectId
    attempt: int
    ask: int
    not_before: Micros
    give_up_at: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.call_id, "await reconcile", self.ask)


class EvaluateResult(Struct, frozen=True):
    """Find out what policies say of what came of a call, which is on record, so that it can be released."""

    call_id: EffectId
    attempt: int
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.call_id, "release", self.attempt)


class WaitForCancelDeadline(Struct, frozen=True):
    """Wait until the grace of a cancel is over."""

    due: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = False
    settles_while_draining: ClassVar[bool] = True
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (EffectId("cancel"), "deadline", 1)


class AskPolicy(Struct, frozen=True):
    """Ask a remote policy; the intent is recorded."""

    effect_id: EffectId
    attempt: int
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = True

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return attempt_key(self.effect_id, self.attempt)


class HearPolicies(Struct, frozen=True):
    """Find out what policies say of a subject whose walk goes on: a call's id, or an empty one for the run.

    `step` counts what has happened to the walk.
    """

    subject: EffectId
    step: int
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.subject, "hear", self.step)


class AwaitPolicy(Struct, frozen=True):
    """Wait until `not_before` has passed and a host of the policy can be asked, or until `give_up_at`."""

    effect_id: EffectId
    attempt: int
    policy: str
    not_before: Micros
    give_up_at: Micros
    since: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.effect_id, "await", self.attempt)


class AwaitDeferral(Struct, frozen=True):
    """Wait until what the answer to a question has deferred goes on."""

    effect_id: EffectId
    due: Micros
    since: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.effect_id, "defer", 1)


class AwaitApproval(Struct, frozen=True):
    """Wait for somebody to decide, until the turn of the present approver set or the whole time is over."""

    call_id: EffectId | None  # None: the run as a whole is to be approved
    approval_id: str
    current_set: int
    due: Micros
    since: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (EffectId(self.approval_id), "approval", self.current_set + 1)


class DispatchApproval(Struct, frozen=True):
    """Tell a dispatcher how an approval stands; the intent is recorded."""

    effect_id: EffectId
    attempt: int
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = False  # what was acknowledged is not told again
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[False]] = False
    needs_intent: ClassVar[bool] = True

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return attempt_key(self.effect_id, self.attempt)


class AwaitDispatcher(Struct, frozen=True):
    """Wait until `not_before` has passed and a dispatcher of the name can be told."""

    effect_id: EffectId
    attempt: int
    dispatcher: str
    not_before: Micros
    since: Micros
    may_be_repeated: ClassVar[bool] = True
    is_left_to_restart: ClassVar[bool] = True
    settles_while_draining: ClassVar[bool] = False
    parks: ClassVar[Literal[True]] = True
    needs_intent: ClassVar[bool] = False

    @property
    def key(self) -> EffectKey:
        """See the module."""
        return (self.effect_id, "await", self.attempt)


# What has to run until it is answered, and what only has to be waited for.
RunningEffect: TypeAlias = (
    CallModel | CallTool | ReconcileTool | EvaluateResult | AskPolicy | HearPolicies | DispatchApproval
)
HoldingEffect: TypeAlias = AwaitRetry | AwaitExecutor | AwaitReconcile | AwaitPolicy | AwaitDeferral | AwaitApproval
ParkingEffect: TypeAlias = HoldingEffect | WaitForCancelDeadline | AwaitDispatcher
Effect: TypeAlias = RunningEffect | ParkingEffect
