"""What a run asks of the world. `pending` says which of these are wanted now."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.ids import EffectId
from runwright.core.units import Micros


class CallModel(Struct, frozen=True):
    """Ask the model over one of the package's routes; the intent is recorded."""

    round: int
    attempt: int
    route: int = 0


class AwaitRetry(Struct, frozen=True):
    """Wait until the model may be asked again; `attempt` is the one that failed."""

    round: int
    attempt: int
    due: Micros


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


class AwaitExecutor(Struct, frozen=True):
    """Wait until `not_before` has passed and a place at the executor is free, or until `give_up_at`.

    `attempt` is the last one; 0 when none was made. `give_up_at` is 0 while no outage of the executor is on record.
    """

    call_id: EffectId
    attempt: int
    executor: str  # empty in runs of older versions that have made no attempt; the package names it
    not_before: Micros
    give_up_at: Micros


class WaitForCancelDeadline(Struct, frozen=True):
    """Wait until the grace of a cancel is over."""

    due: Micros


Effect: TypeAlias = CallModel | AwaitRetry | CallTool | AwaitExecutor | WaitForCancelDeadline
# (id, kind of wish, attempt): a wish with the same key is the same wish.
EffectKey: TypeAlias = tuple[str, str, int]
