"""By which calls a run is tainted: those of tools marked `untrusted` whose results the model was told.

Ids and names of tools are the server's and the package's: nothing that a model or an executor wrote is in here. What is
named is bounded, the oldest first, and how many more there are is counted.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from runwright.core.ids import EffectId
from runwright.core.units import Seq

MAX_NAMED = 16
MAX_OF_EARLIER = 8  # of earlier turns, so that a long session does not leave the calls of the run itself unnamed


class TaintingCall(Struct, frozen=True):
    """A call whose result was told, as it is found in the stream of its run.

    `seq` is the event with which the model was told: the result itself, or its release. `run_id` is there where
    an earlier turn of the session made it. Without an `effect_id` that turn was tainted, and nothing says by what.
    """

    effect_id: EffectId = EffectId("")
    tool: str = ""
    seq: Seq = 0
    run_id: str = ""


class Taint(Struct, frozen=True):
    """The calls that something is tainted by, the oldest first, and how many more there are.

    Where several earlier turns have calls in common that are not named, there are at least so many more.
    """

    calls: tuple[TaintingCall, ...]
    more: int = 0


class RunTaint(Struct, frozen=True):
    """What a run was told so far. `count` is of all, of which `calls` are the oldest.

    `seen` of them were told before the model was asked last: those taint what it asks for now, whatever has come of
    other calls of the same round since.
    """

    calls: tuple[TaintingCall, ...] = ()
    count: int = 0
    seen: int = 0

    def with_call(self, call: TaintingCall) -> RunTaint:
        """One more was told."""
        calls = self.calls if len(self.calls) == MAX_NAMED else (*self.calls, call)
        return RunTaint(calls, self.count + 1, self.seen)

    def all_seen(self) -> RunTaint:
        """The model is asked, with all that was told."""
        return RunTaint(self.calls, self.count, self.count)

    @property
    def of_what_is_requested(self) -> Taint | None:
        """By what it is tainted that the model asks for, or answers, now; None when it is not."""
        named = self.calls[: self.seen]
        return Taint(named, self.seen - len(named)) if named else None


def taint_of_turn(run_id: str, own: Taint | None) -> Taint:
    """What an earlier turn brings along: `own` is what its run ended with, None where that is not on record."""
    if own is None:
        return Taint((TaintingCall(run_id=run_id),))
    calls = tuple([call if call.run_id else call.__replace__(run_id=run_id) for call in own.calls])
    return Taint(calls, own.more)


def taint_of_context(turns: Iterable[Taint]) -> Taint | None:
    """What a run begins with, by those of its earlier turns that are tainted, the oldest first; None without any.

    A turn also names what it began with, so that the same call comes up again in each turn behind it: it is named once.
    """
    named: dict[TaintingCall, None] = {}
    count = 0
    for turn in turns:
        named.update(dict.fromkeys(turn.calls))
        count = max(count, len(turn.calls) + turn.more)
    count = max(count, len(named))
    calls = tuple(named)[:MAX_OF_EARLIER]
    return Taint(calls, count - len(calls)) if calls else None


def begun_with(taint: Taint | None) -> RunTaint | None:
    """The taint of a run whose context has this one."""
    if taint is None:
        return None
    count = len(taint.calls) + taint.more
    return RunTaint(taint.calls, count, count)
