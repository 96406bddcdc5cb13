"""A content that is damaged on disk reaches no executor, no model and no caller; other runs go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.content import Content
from runwright.core.context import Omission
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool, RecordingProvider
from tests.runtime.watching import abandoned, events, key, quiet, records_of, stood_still

PACKAGE = b.package(
    b.asks({"tool": "look", "arguments": {"at": "the door"}}), b.says("found {results}"), tools=(b.tool(),)
)


def damage(directory: Path, data: bytes) -> None:
    """Flips a bit of a stored content behind the journal's back."""
    db = apsw.Connection(str(directory / "journal.db"))
    other = bytes([data[0] ^ 1]) + data[1:]
    db.execute("UPDATE contents SET data = ? WHERE digest = ?", (other, Content.of(data, "").ref.digest))
    assert db.changes() == 1
    db.close()


async def stored(journal: SqliteJournal, kind: type, name: str, run_id: str = "run-1") -> bytes:
    """The content a record of that kind refers to."""
    record = (await records_of(journal, kind, run_id))[0]
    ref = getattr(record, name)
    return (await journal.content(key(run_id).namespace, [ref.digest]))[ref.digest]


async def left_in_a_call(directory: Path) -> bytes:
    """A crash in the middle of the call of run-1; another run has ended. The arguments of the call."""
    journal = SqliteJournal.open(directory)
    held = HeldTool()
    bench = b.Bench(journal=journal, packages=(PACKAGE,))
    await bench.runtime().run_text(b.request("ended"))
    bench.tools = FunctionTools({"look": held})
    async with abandoned():
        await bench.runtime().start_run(b.request())
        await held.begun.wait()
    arguments = await stored(journal, r.ToolRequested, "arguments")
    await journal.close()
    return arguments


async def test_damaged_arguments_reach_no_executor(tmp_path: Path) -> None:
    arguments = await left_in_a_call(tmp_path)
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute('UPDATE contents SET data = CAST(\'{"at":"the dooR"}\' AS BLOB) WHERE data = ?', (arguments,))
    assert db.changes() == 1
    db.close()

    other = b.package(b.says("hello"), id="other")
    bench = b.Bench(journal=SqliteJournal.open(tmp_path), packages=(PACKAGE, other))
    runtime = bench.runtime()
    await runtime.recover()
    await quiet()
    await runtime.start_run(b.request("new", "Go.", package_id="other"))
    lines = [line.error for line in bench.log.lines if isinstance(line.error, AgentError)]
    new = await stood_still(runtime, "new")
    await runtime.close()

    assert bench.function_tools.ledger == []
    assert [(error.reason, error.metadata) for error in lines] == [
        (ErrorReason.JOURNAL_CORRUPT, {"run_id": "run-1", "first_bad": "5"})
    ]
    assert new.status is RunStatus.COMPLETED


@pytest.mark.parametrize("name", ["arguments", "result", "answer", "input"])
async def test_a_damaged_content_reaches_no_caller_and_names_its_event(tmp_path: Path, name: str) -> None:
    journal = SqliteJournal.open(tmp_path)
    bench = b.Bench(journal=journal, packages=(PACKAGE,))
    await bench.runtime().run_text(b.request())
    data = {
        "arguments": await stored(journal, r.ToolRequested, "arguments"),
        "result": await stored(journal, r.ToolCompleted, "result"),
        "answer": await stored(journal, r.RunCompleted, "result"),
        "input": b"What is there?",
    }[name]
    whole = await events(journal)
    await journal.close()
    damage(tmp_path, data)
    kind = {"arguments": EventKind.TOOL_REQUESTED, "result": EventKind.TOOL_COMPLETED, "input": EventKind.TURN_STARTED}
    first = next(
        event.seq
        for event in whole
        if event.kind is kind.get(name, EventKind.MODEL_MESSAGE_COMPLETED) and (name != "answer" or event.seq > 5)
    )

    runtime = b.Bench(journal=SqliteJournal.open(tmp_path), packages=(PACKAGE,)).runtime()
    digest = Content.of(data, "").ref.digest
    questions: list[Callable[[], Awaitable[object]]] = [
        lambda: runtime.contents(key(), [digest]),
        lambda: runtime.required_content(key(), digest),
    ]
    if name == "answer":
        questions.append(lambda: runtime.run_snapshot("run-1"))
    for ask in questions:
        with pytest.raises(AgentError) as refused:
            await ask()
        assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
        assert refused.value.metadata == {"run_id": "run-1", "first_bad": str(first)}
    assert await events(runtime.ports.journal) == whole
    await runtime.close()


async def test_a_result_that_is_missing_from_the_file_is_said_to_be(tmp_path: Path) -> None:
    runtime, _ = await of_a_session(tmp_path)
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute("DELETE FROM contents WHERE data = CAST('I am here.' AS BLOB)")
    db.close()

    with pytest.raises(AgentError) as refused:
        await runtime.run_snapshot("one")

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert refused.value.metadata["run_id"] == "one"
    await runtime.close()


async def test_a_damaged_turn_of_a_session_is_left_out_on_record_and_the_session_goes_on(tmp_path: Path) -> None:
    runtime, recorder = await of_a_session(tmp_path)
    damage(tmp_path, b"Damage me.")

    ended = await runtime.run_text(b.request("three", "Three.", session_id="s"))

    context = (await records_of(runtime.ports.journal, r.ContextAssembled, "three"))[0].context
    assert ended.status is RunStatus.COMPLETED
    assert [turn.run_id for turn in context.included] == ["one"]
    assert [(run.run_id, run.why) for run in context.omitted] == [("two", Omission.UNREADABLE)]
    assert "amage me" not in str(recorder.requests[-1].messages)
    await runtime.close()


async def of_a_session(directory: Path) -> tuple[AgentRuntime, RecordingProvider]:
    """A session of two runs, and what the model is told."""
    recorder = RecordingProvider()
    package = b.package(b.says("I am here."), context={"session_turns": 5})
    bench = b.Bench(journal=SqliteJournal.open(directory), packages=(package,), providers={"scripted": recorder})
    runtime = bench.runtime()
    await runtime.run_text(b.request("one", "One.", session_id="s"))
    await runtime.run_text(b.request("two", "Damage me.", session_id="s"))
    return runtime, recorder
