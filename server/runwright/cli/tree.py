"""A run as a tree of turn, rounds and tool calls. Pure; `grow` fills it from events."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright.cli import names
from runwright.cli.delta_text import DeltaText


class State(StrEnum):
    """Where a run, a round or a call stands, in the word that is shown."""

    REQUESTED = "asked"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Step(Struct):
    """Something that takes time and may be tried more than once. Times are seconds since 1970."""

    state: State = State.REQUESTED
    attempt: int = 0
    started: float | None = None
    ended: float | None = None
    note: str = ""

    def begin(self, event: event_pb2.Event) -> None:
        """An attempt began; the first one starts the clock."""
        self.state, self.attempt = State.RUNNING, event.attempt
        self.started = names.seconds(event.time) if self.started is None else self.started

    def end(self, event: event_pb2.Event, state: State, note: str = "") -> None:
        """It ended like this."""
        self.state, self.ended, self.note = state, names.seconds(event.time), note

    def elapsed(self, now: float) -> float | None:
        """Seconds it took, or takes so far; None when its beginning was not seen."""
        if self.started is None:
            return None
        return max(0.0, (now if self.ended is None else self.ended) - self.started)


class Call(Step):
    """One tool call."""

    effect_id: str = ""
    tool: str = ""
    arguments: str = ""
    executor: str = ""
    idempotency_key: str = ""
    identity: run_pb2.ExecutorIdentity | None = None  # who got the last attempt


class Round(Step):
    """One model request and the calls it asked for."""

    number: int = 0
    tokens: tuple[int, int] = (0, 0)
    delta_text: DeltaText = field(default_factory=DeltaText)
    calls: dict[str, Call] = field(default_factory=dict)


class RunTree(Step):
    """A run, as far as its events were seen."""

    run_id: str = ""
    agent: str = ""
    package: str = ""
    model: str = ""
    question: str = ""
    earlier: int = 0  # turns of the session that the model sees
    rounds: dict[int, Round] = field(default_factory=dict)
    cursor: str = ""
    # What the terminal event says of the run; None before it.
    outcome: run_pb2.RunSnapshot | None = None

    @property
    def calls(self) -> list[Call]:
        """Every call, in the order in which they were asked for."""
        return [call for number in list(self.rounds) for call in list(self.rounds[number].calls.values())]

    @property
    def stuck(self) -> bool:
        """True when a call's outcome is unknown, no other is under way and nobody has cancelled."""
        states = [call.state for call in self.calls]
        return self.state is State.RUNNING and State.UNKNOWN in states and State.RUNNING not in states

    def call(self, event: event_pb2.Event) -> Call:
        """The call an event is about; made up from the event when its beginning was not seen."""
        return self.round(event).calls.setdefault(event.effect_id, Call(effect_id=event.effect_id))

    def round(self, event: event_pb2.Event) -> Round:
        """The round an event is about."""
        return self.rounds.setdefault(event.round, Round(number=event.round))
