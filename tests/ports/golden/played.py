"""The runs of a golden journal that a runtime makes: ended, waiting, in need of repair, cut off, removed."""

from __future__ import annotations

import asyncio

from msgspec import structs
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.sqlite import SqliteJournal
from runwright.core import records as r
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.callback_kinds import ToolExecutor
from runwright.core.callbacks import Callback, Tls
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace, RunId, RunKey
from runwright.core.images import Image
from runwright.core.kinds import EventKind
from runwright.core.outcomes import ExecutorIdentity
from runwright.core.package import RuntimePackage
from runwright.core.request import Budget
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools, ManualClock
from runwright.wire.records import decode_event

from tests import builders as b
from tests.ports.golden import side_rows
from tests.runtime.watching import abandoned, eventually, reached, stood_still

THEIRS = Namespace("theirs")
BEGIN = 1_700_000_000_000_000
LATER = BEGIN + 60 * b.SECOND  # when a runtime takes up what is open; nothing has been given up by then
A_DAY = 24 * 3600 * b.SECOND
REGISTERED = ExecutorIdentity("desk-1", "desk-owner", "127.0.0.1:7001")
CONFIGURED = ExecutorIdentity("", "local", "127.0.0.1:7002")
TRACE_PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
LOOK = b.tool()
REMOVED = (RunKey(DEFAULT_NAMESPACE, RunId("removed")), side_rows.REMOVED)


class Vendor:
    """Answers as the script says; how it fails, what it adds and whether it answers at all is in the model's name."""

    def __init__(self, *, answers: bool = False) -> None:
        self.answers = answers

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        named = {"adapter": "vendor"}
        match request.model:
            case "refused":
                raise AgentError(ErrorReason.PROVIDER_REFUSED, "No.", metadata=named)
            case "limited" if request.attempt == 2:
                requested = named | {"retry_after": "7s"}
                raise AgentError(ErrorReason.PROVIDER_RATE_LIMITED, "Later.", metadata=requested)
            case "silent" if not self.answers:
                await asyncio.Event().wait()
        reply = await ScriptedProvider().complete(request, emit)
        return structs.replace(reply, opaque=b'[{"signed":"thought"}]', input_tokens=11, output_tokens=3)


def tools(*, away: bool) -> FunctionTools:
    """What each tool does. `desk` cannot be reached while it is away, and `stuck` answers only when it is there."""
    kind = ToolOutcomeKind
    slow = [ToolOutcome(kind.TIMED_OUT, executor_identity=REGISTERED)]

    async def stuck(arguments: object) -> str:
        if away:
            await asyncio.Event().wait()
        return "unstuck"

    functions = {
        "look": lambda _: ToolOutcome(kind.RESULT, b'"a lamp"', "application/json", executor_identity=REGISTERED),
        "plain": lambda _: "seen",
        "slow": lambda _: slow.pop() if slow else "in the end",
        "late": lambda _: ToolOutcome(kind.TIMED_OUT, executor_identity=REGISTERED) if away else "after all",
        "broken": lambda _: ToolOutcome(kind.ERROR, b"It broke.", executor_identity=CONFIGURED),
        "large": lambda _: ToolOutcome(kind.TOO_LARGE, size=9_000_000),
        "garbled": lambda _: ToolOutcome(kind.UNREADABLE, executor_identity=REGISTERED),
        "write": lambda _: ToolOutcome(kind.LOST, executor_identity=REGISTERED),
        "stuck": stuck,
        "far": lambda _: "here",
    }
    return FunctionTools(functions, unreachable={"desk"} if away else set())


def _vendor(model: str, *script: b.Fields, max_attempts: int = 3) -> b.Fields:
    parameters = {"script": list(script)}
    return {"adapter": "vendor", "model": model, "parameters": parameters, "max_attempts": max_attempts}


def packages() -> tuple[RuntimePackage, ...]:
    """What the runs are started with."""
    many = b.asks("plain", "slow", "broken", "large", "garbled", "nobody", {"tool": "look", "arguments_json": "{"})
    message = b.asks("look", text="Let me see.")
    each = [b.tool(name) for name in ("plain", "slow", "broken", "large", "look")]
    each.append(b.tool("garbled", max_attempts=1))
    spare = _vendor("limited", message, b.says("So."))
    write = b.writing_tool()
    return (
        b.package(b.says("Hello."), id="hello"),
        b.package(message, b.says("A lamp.", input_tokens=5, output_tokens=2), id="talk", tools=(LOOK,)),
        b.package(id="fallback", provider=_vendor("refused"), fallbacks=[spare], tools=(LOOK,)),
        b.package(many, b.says("Done."), id="tools", tools=tuple(each)),
        b.package(b.asks("write"), b.says("Fine."), id="denied", tools=(write,), policy="builtin:read-only"),
        b.package(id="failing", provider=_vendor("refused")),
        b.package(b.asks("write"), id="writes", tools=(write,)),
        b.package(b.asks("far"), b.says("Far: {results}"), id="waits", tools=(b.tool("far", executor="desk"),)),
        b.package(id="silent", provider=_vendor("silent", b.says("At last."))),
        b.package(b.asks("stuck"), b.says("It is {results}"), id="stuck", tools=(b.tool("stuck"),)),
        b.package({**b.says("Again."), "fail_attempts": 1}, id="again"),
        b.package(b.asks("late"), b.says("Late: {results}"), id="late", tools=(b.tool("late"),)),
    )


def bench(journal: SqliteJournal, clock: ManualClock, *, away: bool) -> b.Bench:
    """A runtime's parts over the journal; while `away`, executors and vendor leave open what is to stay open."""
    return b.Bench(
        journal=journal,
        clock=clock,
        tools=tools(away=away),
        providers={"scripted": ScriptedProvider(), "vendor": Vendor(answers=not away)},
        packages=packages(),
    )


async def play(journal: SqliteJournal) -> None:
    """Makes the runs, one after the other, and dies twice: with one of them open, and with those that stay open."""
    clock = ManualClock(BEGIN - A_DAY)
    async with abandoned():
        runtime = bench(journal, clock, away=True).runtime()
        await runtime.recover()
        await _ended(runtime, "removed", "hello")
        await side_rows.write_removed(journal, clock.now())
        clock.advance(A_DAY)
        await runtime.start_run(b.request("lost", package_id="silent"))
        await reached(runtime, EventKind.MODEL_ATTEMPT_STARTED, "lost")
    async with abandoned():
        runtime = bench(journal, clock, away=True).runtime()
        await runtime.recover()
        await reached(runtime, EventKind.MODEL_ATTEMPT_STARTED, "lost", times=2)
        await _talk(runtime, clock)
        await _remove(journal, clock.now())
        await _fail(runtime, clock)
        await _cancel(runtime)
        await _leave_open(runtime, clock)


async def _remove(journal: SqliteJournal, now: int) -> None:
    """Removes what ended a day ago; refused while the anchor, which is written beside, has not got that far."""
    removed = 0
    for _ in range(1000):
        removed += len((await journal.remove_ended(before=now - A_DAY // 2, now=now, limit=99)).runs)
        if removed == len(REMOVED):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("they are not removed")


async def _ended(runtime: AgentRuntime, run_id: str, package: str, *input: str | Image, **fields: object) -> None:
    await runtime.start_run(b.request(run_id, *input, package_id=package, **fields))
    await stood_still(runtime, run_id)


async def _talk(runtime: AgentRuntime, clock: ManualClock) -> None:
    seen = b.request(
        "talk-1",
        "What is this?",
        Image("image/png", b.PIXEL),
        session_id="morning",
        turn_id="first",
        agent_id="helper",
        package_id="talk",
        labels={"team": "blue", "stage": "test"},
        budget=Budget(3, 4, 2),
    )
    await runtime.start_run(seen, principal="host", trace_parent=TRACE_PARENT)
    await stood_still(runtime, "talk-1")
    await _ended(runtime, "talk-2", "hello", session_id="morning")
    theirs = structs.replace(seen, package_id="hello", budget=Budget(), session_id="")
    await runtime.start_run(theirs, namespace=THEIRS, principal="their-host")
    await runtime.wait_run("talk-1", namespace=THEIRS)
    await runtime.start_run(b.request("fallback", package_id="fallback"))
    await _retry(runtime, clock, "fallback")
    await stood_still(runtime, "fallback")


async def _fail(runtime: AgentRuntime, clock: ManualClock) -> None:
    await runtime.start_run(b.request("tools", package_id="tools"))
    await _retry(runtime, clock, "tools")
    await stood_still(runtime, "tools")
    for name in ("denied", "failing"):
        await _ended(runtime, name, name)


async def _retry(runtime: AgentRuntime, clock: ManualClock, run_id: str) -> None:
    """Turns the clock to the next attempt of the run, once that is planned and waited for."""
    planned = decode_event((await reached(runtime, EventKind.RETRY_SCHEDULED, run_id)).data)
    assert isinstance(planned, r.RetryScheduled)
    while clock.now() < planned.not_before:  # others, such as the parking of runs, may be due before
        await eventually(lambda: bool(clock.waiting))
        clock.advance(min(clock.waiting[0], planned.not_before) - clock.now())


async def _cancel(runtime: AgentRuntime) -> None:
    await runtime.start_run(b.request("cancelled", package_id="stuck"))
    await reached(runtime, EventKind.TOOL_STARTED, "cancelled")
    await runtime.cancel_run("cancelled", reason="enough", principal="host")
    await stood_still(runtime, "cancelled")
    await _ended(runtime, "unknown", "writes")
    await runtime.cancel_run("unknown")
    await reached(runtime, EventKind.RUN_CANCELLED, "unknown")


async def _leave_open(runtime: AgentRuntime, clock: ManualClock) -> None:
    await _ended(runtime, "repair", "writes")
    last = {
        "waits": EventKind.RETRY_SCHEDULED,
        "silent": EventKind.MODEL_ATTEMPT_STARTED,
        "stuck": EventKind.TOOL_STARTED,
        "again": EventKind.RETRY_SCHEDULED,
        "late": EventKind.RETRY_SCHEDULED,
    }
    for name, kind in last.items():
        await runtime.start_run(b.request(name, package_id=name))
        await reached(runtime, kind, name)


OPEN = {
    name: RunKey(DEFAULT_NAMESPACE, RunId(name))
    for name in ("lost", "repair", "waits", "silent", "stuck", "again", "late")
}


async def register(journal: SqliteJournal) -> None:
    """Registrations with everything set and with as little as can be."""
    full = Callback(
        namespace=THEIRS,
        callback_id="desk-1",
        owner="desk-owner",
        name="desk",
        address="127.0.0.1:7001",
        details=ToolExecutor(("far", "look")),
        tls=Tls(b"-----BEGIN CERTIFICATE-----", "desk"),
        credential="not-a-secret",
        lease=30 * b.SECOND,
        expires_at=BEGIN + A_DAY,
        max_calls_in_flight=3,
        owner_key="key:1:2",
    )
    bare = Callback(
        namespace=DEFAULT_NAMESPACE, callback_id="bare", owner="local", name="tools", address="127.0.0.1:7002"
    )
    for each in (full, bare):
        await journal.callbacks().put(each)


def note(journal: SqliteJournal) -> None:
    """An audit entry of every kind, and one with everything set."""
    audit = journal.audit(ManualClock(BEGIN))
    set_in_all = AuditEntry(
        kind=AuditKind.UNAUTHENTICATED,
        principal="host",
        namespace=THEIRS,
        method="StartRun",
        reason="INTERNAL",
        subjects=("talk-1", "c1.1"),
    )
    for entry in (set_in_all, *(AuditEntry(kind=kind) for kind in AuditKind)):
        audit.note(entry)
