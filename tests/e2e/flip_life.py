"""The life of a server on a damaged directory, and what may not be seen in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from runwright.adapters.sqlite import SqliteJournal
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import RunStatus
from runwright.core.selection import Scope, ScopeKind, Selection
from runwright.ports.journal import StoredEvent
from runwright.ports.provider import UserMessage
from runwright.runtime import AgentRuntime
from runwright.wire.references import event_refs

from tests import builders as b
from tests.e2e.flip_scene import (
    CUT_OFF,
    ENDED,
    PAY,
    RUNS,
    WAITING,
    Clerk,
    Desk,
    Scene,
    answer_of,
    arguments_of,
    bench,
    key,
)

T = TypeVar("T")
CAP_SECONDS = 20.0
STEP_US = 1_000_000
LIVES = 2
REFUSED = "refused at start"


@dataclass
class Findings:
    """What became of a damaged directory."""

    kind: str = "nothing seen"
    held: set[str] = field(default_factory=set)  # runs that JOURNAL_CORRUPT was said of
    wrong: list[str] = field(default_factory=list)

    def hold(self, run_id: str) -> None:
        """Notes a run that is refused, which is right."""
        self.held.add(run_id)


async def live(scene: Scene, directory: Path) -> Findings:
    """Two lives on the directory: each recovers, settles, and is asked for everything."""
    findings = Findings()
    sent: Counter[tuple[str, int]] = Counter()
    for life in range(1, LIVES + 1):
        log = b.ListLog()
        try:
            journal = SqliteJournal.open(directory, log=log)
        except AgentError as error:
            _require(findings, error.reason is ErrorReason.JOURNAL_CORRUPT, f"open: {error}")
            findings.kind = REFUSED if life == 1 else f"{REFUSED}, the second time"
            return findings
        desk, clerk = Desk(), Clerk()
        parts = bench(journal, desk, clerk, log)
        runtime = parts.runtime()
        try:
            async with asyncio.timeout(CAP_SECONDS):
                await runtime.recover()
                await _settled(runtime, parts)
                await _look(scene, runtime, findings)
        except AgentError as error:
            _require(findings, error.reason is ErrorReason.JOURNAL_CORRUPT, f"life {life}: {error}")
            findings.kind = "refused at recovery"
        except TimeoutError:
            findings.wrong.append(f"life {life} does not settle: {runtime.report().runs}")
        _check_sent(scene, desk, sent, findings)
        _check_told(scene, clerk, findings)
        await runtime.drain(0)
        await runtime.close()
        if any("row of a run" in line.event for line in log.lines):
            findings.kind = "a row made anew"
        elif any("journal.head" in line.event for line in log.lines):
            findings.kind = "the anchor made anew"
    if findings.held:
        findings.kind = "one run held" if len(findings.held) == 1 else "several runs held"
    return findings


def _nothing() -> None:
    """What a thread does so that others have had their turn."""


async def _settled(runtime: AgentRuntime, parts: b.Bench) -> None:
    """Turns the clock until no run goes on by itself."""
    names = [status.name.lower() for status in (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.CANCELLING)]
    while sum(runtime.report().runs[name] for name in names):
        parts.manual_clock.advance(STEP_US)
        # The loop that waits must not keep the threads of the journal from what it waits for.
        await asyncio.to_thread(_nothing)


async def _look(scene: Scene, runtime: AgentRuntime, findings: Findings) -> None:
    """Asks for everything that a reader may ask for."""
    for run_id in RUNS:
        await _look_at_run(scene, runtime, run_id, findings)
    await _look_at_all(scene, runtime, findings)
    listed = await _or_held(runtime.list_runs(limit=100), "", findings)
    for snapshot in listed.runs if listed else []:
        run_id = snapshot.state.key.run_id
        if run_id in ENDED and run_id not in findings.held and snapshot.status is not RunStatus.HELD:
            _require(findings, snapshot.state == scene.states[run_id], f"{run_id} is listed in another state")


async def _look_at_run(scene: Scene, runtime: AgentRuntime, run_id: str, findings: Findings) -> None:
    journal = runtime.ports.journal
    seen: list[StoredEvent] = []
    page: list[StoredEvent] | None = [*()]
    while page is not None:
        after = seen[-1].position if seen else 0
        page = await _or_held(journal.read(key(run_id), after=after, limit=5), run_id, findings)
        if not page:
            break
        seen += page
    was = scene.events[run_id]
    _require(findings, seen[: len(was)] == was[: len(seen)], f"{run_id} shows other events")
    _require(findings, len(seen) >= len(was) or run_id in findings.held, f"{run_id} shows fewer events")
    for digest in {ref.digest for event in was for ref in event_refs(event.data)}:
        data = await _or_held(runtime.required_content(key(run_id), digest), run_id, findings)
        _require(findings, data in (None, scene.contents[digest]), f"{run_id} shows another content")
    snapshot = await _or_held(runtime.run_snapshot(run_id), run_id, findings)
    if snapshot is None:
        return
    if snapshot.status is RunStatus.HELD:  # and what is intact of it is shown
        findings.hold(run_id)
        return
    if run_id in ENDED:
        _require(findings, snapshot.state == scene.states[run_id], f"{run_id} is in another state")
    unsure = run_id in CUT_OFF and PAY in run_id
    expected = (RunStatus.REPAIR_NEEDED, None) if unsure else (RunStatus.COMPLETED, answer_of(run_id))
    statuses = (snapshot.status, snapshot.text)
    _require(findings, statuses == expected or run_id in findings.held, f"{run_id} is {statuses}")


async def _look_at_all(scene: Scene, runtime: AgentRuntime, findings: Findings) -> None:
    """The stream of the whole namespace, up to the first event that is refused."""
    everything = Selection(Scope(key("").namespace, ScopeKind.ALL))
    seen: list[StoredEvent] = []
    reached, more = 0, True
    while more:
        requested = runtime.ports.journal.select(everything, after=reached, limit=64)
        page = await _or_held(requested, "", findings)
        if page is None:
            break
        seen += page.events
        reached, more = page.reached, page.more
    was = [event for event in scene.order if seen and event.position <= seen[-1].position]
    shown = seen[: len(was)]
    fault = next((f"{a.position} in place of {b.position}" for a, b in zip(shown, was, strict=False) if a != b), "")
    _require(findings, shown == was, f"the namespace shows other events: {fault or len(seen)}")


async def _or_held(requested: Awaitable[T], run_id: str, findings: Findings) -> T | None:
    """The answer; None when it is JOURNAL_CORRUPT, which must name the run."""
    try:
        return await requested
    except AgentError as error:
        named = error.metadata.get("run_id", "")
        _require(findings, error.reason is ErrorReason.JOURNAL_CORRUPT, f"{run_id}: {error}")
        _require(findings, not run_id or named == run_id, f"{run_id}: the error names {named!r}")
        findings.hold(run_id or named or "the namespace")
        return None


def _check_sent(scene: Scene, desk: Desk, sent: Counter[tuple[str, int]], findings: Findings) -> None:
    """Only calls that were due, with their own arguments, each attempt once."""
    for call in desk.sent:
        run_id = call.run_id
        due = run_id in WAITING or (run_id in CUT_OFF and PAY not in run_id)
        _require(findings, due, f"{run_id}: a call that was not due")
        _require(findings, call.arguments_json.decode() == arguments_of(run_id), f"{run_id}: other arguments")
        sent[(run_id, call.attempt)] += 1
    per_run = Counter(run_id for run_id, _ in sent.elements())
    for run_id, times in per_run.items():
        # What may be repeated is, when a life has not brought its result to disk: under another attempt.
        allowed = 1 if PAY in run_id else LIVES
        _require(findings, times <= allowed, f"{run_id}: sent {times} times")
    for (run_id, attempt), times in sent.items():
        _require(findings, times == 1, f"{run_id}: attempt {attempt} was sent {times} times")


def _check_told(scene: Scene, clerk: Clerk, findings: Findings) -> None:
    """The model is told what was said, or nothing."""
    for request in clerk.requests:
        said = [part for message in request.messages if isinstance(message, UserMessage) for part in message.parts]
        _require(findings, said == [f"Do {request.run_id}."], f"{request.run_id}: the model is told {said}")
    _require(findings, len(clerk.requests) <= 2 * len(RUNS), "the model is asked without end")


def _require(findings: Findings, holds: bool, what: str) -> None:
    if not holds:
        findings.wrong.append(what)


def counted(kinds: Iterable[str]) -> str:
    """How often each kind of outcome was seen."""
    return ", ".join(f"{kind}: {number}" for kind, number in sorted(Counter(kinds).items()))
