"""What a run sees of its session: the earlier turns, chosen once, with what is left out and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

from msgspec import Struct

from runwright.core.content import ContentRef
from runwright.core.ids import RunId
from runwright.core.images import IMAGE_TYPES
from runwright.core.outcomes import RunStatus
from runwright.core.package import ContextPolicy
from runwright.core.taint import Taint, taint_of_context, taint_of_turn

MAX_OMITTED = 100


class Omission(Enum):
    """Why a run is left out. The numbers are those of `runwright.v1.ContextOmission`."""

    TURNS = 1
    BYTES = 2
    NOT_ENDED = 3
    FAILED = 4
    CANCELLED = 5
    OTHER_AGENT = 6
    UNREADABLE = 7


def input_seen(said: tuple[ContentRef, ...], replaced: tuple[ContentRef, ...]) -> tuple[ContentRef, ...]:
    """What a model sees of an input: as it was said, or the text that a policy put there, with the images as sent."""
    return (*replaced, *(ref for ref in said if ref.media_type in IMAGE_TYPES)) if replaced else said


class SessionTurn(Struct, frozen=True):
    """An earlier turn: what the user said, part by part, and the final answer."""

    run_id: RunId
    turn_id: str
    input: tuple[ContentRef, ...]
    answer: ContentRef
    tainted: bool = False  # the model had seen what a tool marked `untrusted` answered

    @property
    def refs(self) -> tuple[ContentRef, ...]:
        """Everything that was said, in order."""
        return (*self.input, self.answer)

    @property
    def bytes(self) -> int:
        """How much was said."""
        return sum(ref.size for ref in self.refs)


class SessionRun(Struct, frozen=True):
    """A run of a session as it stands. `turn` is there for the newest completed ones that can be read.

    `tainted_by` is what the run of a tainted turn ended with, None where that is not on record.
    """

    run_id: RunId
    agent_id: str
    status: RunStatus
    turn: SessionTurn | None = None
    tainted_by: Taint | None = None


class OmittedRun(Struct, frozen=True):
    """A run that the model does not see."""

    run_id: RunId
    why: Omission


class Context(Struct, frozen=True):
    """The turns the model sees, oldest first; the newest of those it does not see, and how many these are.

    `tainted_by` is what these turns bring along; older events do not say it, and name the turns that are tainted.
    """

    included: tuple[SessionTurn, ...] = ()
    omitted: tuple[OmittedRun, ...] = ()
    omitted_count: int = 0
    has_older: bool = False
    tainted_by: Taint | None = None

    @property
    def is_tainted(self) -> bool:
        """True when one of the turns that the model sees is."""
        return any(turn.tainted for turn in self.included)

    @property
    def taint(self) -> Taint | None:
        """By what the run is tainted as it begins; None when it is not."""
        if self.tainted_by is not None:
            return self.tainted_by
        return taint_of_context(taint_of_turn(turn.run_id, None) for turn in self.included if turn.tainted)


def choose(
    policy: ContextPolicy,
    agent_id: str,
    runs: Sequence[SessionRun],
    *,
    has_older: bool,
    unreadable: Collection[RunId] = (),
) -> Context:
    """The context of a new run, from the runs of its session, newest first.

    Turns are taken from the newest back. The first that does not fit into the
    bytes ends the taking: a conversation with its beginning cut off is less
    misleading than one with a hole.
    """
    included: list[SessionTurn] = []
    taints: list[Taint] = []
    omitted: list[OmittedRun] = []
    turns, room, is_full = policy.session_turns, policy.session_bytes, False
    for run in runs:
        why = _unfit(run, agent_id)
        if why is None and turns == 0:
            why = Omission.TURNS
        elif why is None and is_full:
            why = Omission.BYTES
        elif why is None and run.turn is None:
            why = Omission.UNREADABLE
        elif why is None and run.turn is not None:
            turns -= 1  # what cannot be had counts, too: no more turns than these were read
            if run.run_id in unreadable:
                why = Omission.UNREADABLE
            elif run.turn.bytes > room:
                why, is_full = Omission.BYTES, True
            else:
                included.append(run.turn)
                if run.turn.tainted:
                    taints.append(taint_of_turn(run.run_id, run.tainted_by))
                room -= run.turn.bytes
        if why is not None:
            omitted.append(OmittedRun(run.run_id, why))
    tainted_by = taint_of_context(reversed(taints))
    return Context(tuple(reversed(included)), tuple(omitted[:MAX_OMITTED]), len(omitted), has_older, tainted_by)


def _unfit(run: SessionRun, agent_id: str) -> Omission | None:
    if run.agent_id != agent_id:
        return Omission.OTHER_AGENT
    match run.status:
        case RunStatus.COMPLETED:
            return None
        case RunStatus.FAILED:
            return Omission.FAILED
        case RunStatus.CANCELLED:
            return Omission.CANCELLED
        case _:
            return Omission.NOT_ENDED
