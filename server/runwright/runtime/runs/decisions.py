"""Decisions: what the machine says of inputs, as one change to append; and once more where a condition did not hold."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from runwright.core import inputs as i
from runwright.core.kinds import side_rows
from runwright.core.machine import advance
from runwright.core.outcomes import RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.records import Record
from runwright.core.side_rows import Condition, FailedCondition
from runwright.core.state import RunState
from runwright.core.units import Micros
from runwright.runtime.runs.inbox import Delivery
from runwright.runtime.runs.run_on_record import Change, RunOnRecord


class DecidedChange(Struct, frozen=True):
    """What each of several inputs has made true, in their order, and all of it as one change.

    `is_cancelling`: the run is being cancelled after one of them, whatever becomes of it then.
    """

    produced: Sequence[list[Record]]
    change: Change
    is_cancelling: bool


def decide_on(package: RuntimePackage, state: RunState, arrived: Sequence[Delivery]) -> DecidedChange:
    """Puts the inputs to the machine, each to the state after those before it."""
    produced: list[list[Record]] = []
    is_cancelling = False
    for delivery in arrived:
        new, state = advance(package, state, delivery.input)
        produced.append(new)
        is_cancelling = is_cancelling or state.phase is RunPhase.CANCELLING
    records = [record for new in produced for record in new]
    contents = [part for each, new in zip(arrived, produced, strict=True) if new for part in each.input.contents]
    return DecidedChange(produced, Change(records, state, contents), is_cancelling)


def without(
    arrived: Sequence[Delivery], decision: DecidedChange, failed: FailedCondition, at: Micros
) -> list[Delivery]:
    """What has arrived, with the input whose records were under the condition put as one that must do without."""
    ends = accumulate(sum(len(side_rows(decision.change.state, record)) for record in new) for new in decision.produced)
    at_fault = next(index for index, end in enumerate(ends) if failed.number < end)
    return [
        once_more(delivery, failed.condition, at) if index == at_fault else delivery
        for index, delivery in enumerate(arrived)
    ]


def once_more(delivery: Delivery, condition: Condition, at: Micros) -> Delivery:
    """The delivery with what is known not to hold. Raises when that was known before: `decide` must not insist."""
    before = delivery.input if isinstance(delivery.input, i.ConditionFailed) else None
    known = before.conditions if before else ()
    if condition in known:
        raise RuntimeError(f"{condition} does not hold, and is asked for again")
    of = before.of if before else delivery.input
    return replace(delivery, input=i.ConditionFailed(at=at, of=of, conditions=(*known, condition)))


async def cancel_at_once(on_record: RunOnRecord, package: RuntimePackage, requested: i.CancelRequested) -> None:
    """Ends a run that nobody drives: what must not be repeated is closed as after a crash, nothing is begun.

    Raises what the journal refuses it with: whoever asks may ask again.
    """
    records, state = advance(package, on_record.state, requested)
    rest, state = advance(package, state, i.Recovered(at=requested.at))
    (await on_record.append(Change([*records, *rest], state), holds_on=lambda: False)).or_raise()
