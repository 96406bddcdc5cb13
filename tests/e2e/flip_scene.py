"""A data directory worth damaging: runs that wait, that were cut off, that have ended; and all that is true of it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import anchor
from runwright.core.callbacks import UnusedTool
from runwright.core.content import JSON
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.state import RunState
from runwright.ports.journal import StoredEvent
from runwright.ports.provider import EmitText, ModelReply, ModelRequest, ProviderCall, ToolResultMessage
from runwright.ports.tools import Granted, Place, PlaceRequest, PlaceWait, ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime
from runwright.wire.references import event_refs

from tests import builders as b
from tests.runtime.watching import abandoned, eventually

FILES = ("journal.db", "journal.db-wal", "journal.head")
PAY, MARK = "pay", "mark"  # a call that must not be repeated, and one that may be
WAITING = [*(f"wait-{PAY}-{n}" for n in range(8)), *(f"wait-{MARK}-{n}" for n in range(4))]
CUT_OFF = [*(f"cut-{PAY}-{n}" for n in range(3)), *(f"cut-{MARK}-{n}" for n in range(3))]
ENDED = [f"done-{tool}-{n}" for tool in (PAY, MARK) for n in range(4)]
RUNS = [*ENDED, *WAITING, *CUT_OFF]


class Clerk:
    """A model that asks for one call, with arguments of the run's own, and then says what came of it."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """The same answer to the same run, whenever it is asked."""
        self.requests.append(request)
        results = [message.content for message in request.messages if isinstance(message, ToolResultMessage)]
        if results:
            return ModelReply(text=f"{request.run_id}: {results[-1]}")
        call = ProviderCall("one", request.run_id.split("-")[1], arguments_of(request.run_id))
        return ModelReply(calls=(call,))


def arguments_of(run_id: str) -> str:
    """What a run's call is made with, as it is stored."""
    return json.dumps({"for": run_id, "note": "x" * 60}, separators=(",", ":"), sort_keys=True)


def result_of(arguments: str) -> str:
    """What the desk answers."""
    return json.dumps({"done": arguments})


def answer_of(run_id: str) -> str:
    """How a run ends."""
    return f"{run_id}: {result_of(arguments_of(run_id))}"


class DeskPlace:
    """One of as many places as are wanted."""

    def release(self) -> None:
        """See `Place`."""


class NoPlace:
    """A wait for one that never comes."""

    def leave(self) -> None:
        """See `PlaceWait`."""


@dataclass
class Desk:
    """ToolExecutors with a ledger and room for everybody.

    `holds`: calls of runs named `cut` are not answered; `closed`: those named `wait` reach nobody.
    """

    holds: bool = False
    closed: bool = False
    sent: list[ToolInvocation] = field(default_factory=list)

    def knows(self, namespace: str, executor: str) -> bool:
        """See the port."""
        return True

    def is_reachable(self, wanted: PlaceRequest) -> bool:
        """See the port."""
        return not self._shuts_out(wanted.run.run_id)

    def unused(self, wanted: PlaceRequest) -> Sequence[UnusedTool]:
        """See the port."""
        return ()

    def take_place(self, wanted: PlaceRequest) -> Place | None:
        """See the port."""
        return DeskPlace() if self.is_reachable(wanted) else None

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """See the port: whoever cannot be reached stays so."""
        return NoPlace()

    async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
        """See the class."""
        if self._shuts_out(call.run_id) or not call.may_begin():
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        self.sent.append(call)
        if self.holds and call.run_id.startswith("cut"):
            await asyncio.Event().wait()
        return ToolOutcome(ToolOutcomeKind.RESULT, result_of(call.arguments_json.decode()).encode(), JSON)

    def _shuts_out(self, run_id: str) -> bool:
        return self.closed and run_id.startswith("wait")

    async def close(self) -> None:
        """Nothing to let go of."""


PACKAGE = b.package(
    tools=(
        b.writing_tool(PAY, executor="desk"),
        b.writing_tool(MARK, executor="desk", idempotent=True),
    ),
    provider={"adapter": "clerk", "model": "one"},
)


def bench(journal: SqliteJournal, desk: Desk, clerk: Clerk, log: b.ListLog | None = None) -> b.Bench:
    """The parts of a server's life."""
    return b.Bench(
        journal=journal,
        recovery=journal.recovery(),
        tools=desk,
        providers={"clerk": clerk},
        packages=(PACKAGE,),
        log=log or b.ListLog(),
    )


def key(run_id: str) -> RunKey:
    """The journal's key of a run."""
    return RunKey(DEFAULT_NAMESPACE, RunId(run_id))


@dataclass
class Scene:
    """Two directories with the same runs: as a crash leaves them, and with everything in `journal.db`."""

    crashed: Path
    whole: Path
    events: dict[str, list[StoredEvent]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    states: dict[str, RunState] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)  # idempotency keys of before the crash

    @property
    def order(self) -> list[StoredEvent]:
        """Every event by position."""
        return sorted((event for events in self.events.values() for event in events), key=lambda e: e.position)


async def make_scene(directory: Path) -> Scene:
    """Runs a server's life to its crash. Half of what it wrote is in `journal.db`, half in `-wal`."""
    data = directory / "data"
    scene = Scene(directory / "crashed", directory / "whole")
    journal = SqliteJournal.open(data)
    runtime = bench(journal, Desk(), Clerk()).runtime()
    for number, run_id in enumerate(ENDED):
        await runtime.run_text(b.request(run_id, f"Do {run_id}.", session_id=f"s{number % 2}", labels={"n": run_id}))
    await journal.close()
    journal = SqliteJournal.open(data)
    desk = Desk(holds=True, closed=True)
    async with abandoned():
        runtime = bench(journal, desk, Clerk()).runtime()
        for run_id in (*WAITING, *CUT_OFF):
            await runtime.start_run(b.request(run_id, f"Do {run_id}."))
        await eventually(lambda: len(desk.sent) == len(CUT_OFF) and _waiting(runtime) == len(WAITING))
        await eventually(lambda: (known := anchor.read(data)) is not None and known.position == journal.head)
        _copy(data, scene.crashed)
    await _remember(scene, journal)
    scene.sent = Counter(call.idempotency_key for call in desk.sent)
    await journal.close()
    _copy(data, scene.whole)
    return scene


def _waiting(runtime: AgentRuntime) -> int:
    return runtime.report().runs[RunStatus.WAITING.name.lower()]


async def _remember(scene: Scene, journal: SqliteJournal) -> None:
    for run_id in RUNS:
        events = await journal.read(key(run_id), after=0, limit=1000)
        scene.events[run_id] = events
        digests = [ref.digest for event in events for ref in event_refs(event.data)]
        scene.contents |= await journal.content(key(run_id).namespace, digests, required=True)
        loaded = await journal.load(key(run_id))
        assert loaded is not None
        scene.states[run_id] = loaded.state


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for name in FILES:
        if (source / name).exists():
            shutil.copy(source / name, target / name)
