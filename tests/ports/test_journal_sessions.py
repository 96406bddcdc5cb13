"""What a journal says of a session: its newest runs, what was said in them, and which is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace
from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import schema
from runwright.adapters.sqlite.reading import sessions
from runwright.core.content import Content
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.ports.journal import Journal, SessionPage

from tests.ports.journal_builders import REF, UNKNOWN, end, key, put, state, turn
from tests.ports.stores import STORES

REQUESTED, ANSWERED = Content.text("asked"), Content.text("answered")
THEIRS = Namespace("theirs")


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    journal = STORES[request.param](tmp_path)
    yield journal
    await journal.close()


async def add(journal: Journal, run_id: str, phase: RunPhase = RunPhase.COMPLETED, **known: Any) -> None:
    """A run of the session, standing there; a completed one has an answer."""
    run = key(run_id, known.pop("namespace", "default"))
    records = [turn()] if not phase.is_terminal else [turn(), replace(end(), result=ANSWERED.ref)]
    result = {"result": ANSWERED.ref} if phase is RunPhase.COMPLETED else {}
    snapshot = replace(state(run, len(records)), phase=phase, turn_id=f"turn-of-{run_id}", **{**result, **known})
    await journal.append(run, records, after=0, contents=[REQUESTED, ANSWERED], snapshot=snapshot)


async def requested(journal: Journal, turns: int = 20, **of: Any) -> SessionPage:
    """What the journal says of the session."""
    value = {"namespace": DEFAULT_NAMESPACE, "session_id": "session-1", "agent_id": "agent-1", **of}
    return await journal.session(value["namespace"], value["session_id"], value["agent_id"], turns=turns)


async def test_the_runs_of_a_session_come_newest_first_as_they_stand(journal: Journal) -> None:
    await add(journal, "a")
    await add(journal, "b", RunPhase.FAILED)
    await add(journal, "c", RunPhase.RUNNING, calls=UNKNOWN)
    await add(journal, "d", agent_id="agent-2")
    await add(journal, "else", session_id="session-2")
    await add(journal, "alone", session_id="")
    await add(journal, "theirs", namespace="theirs")

    page = await requested(journal)

    found = [(run.run_id, run.agent_id, run.status, run.turn is not None) for run in page.runs]
    assert found == [
        ("d", "agent-2", RunStatus.COMPLETED, False),
        ("c", "agent-1", RunStatus.REPAIR_NEEDED, False),
        ("b", "agent-1", RunStatus.FAILED, False),
        ("a", "agent-1", RunStatus.COMPLETED, True),
    ]
    assert not page.has_older
    assert [run.run_id for run in (await requested(journal, namespace=THEIRS)).runs] == ["theirs"]


async def test_what_was_said_is_told_of_as_many_turns_as_are_wanted(journal: Journal) -> None:
    for name in "abc":
        await add(journal, name)

    page = await requested(journal, turns=2)

    message = [run.turn for run in page.runs]
    assert message[2] is None
    assert message[0] is not None
    assert (message[0].run_id, message[0].turn_id) == ("c", "turn-of-c")
    assert (message[0].input, message[0].answer) == ((REF,), ANSWERED.ref)
    assert [run.turn for run in (await requested(journal, turns=0)).runs] == [None, None, None]


async def test_an_empty_session_has_no_runs(journal: Journal) -> None:
    await add(journal, "alone", session_id="")

    assert await requested(journal, session_id="nobody") == SessionPage([], False, None)
    assert await requested(journal, session_id="") == SessionPage([], False, None), "no session is not a session"


async def test_the_open_run_is_found_however_old_it_is(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SESSION_RUNS", 3)
    monkeypatch.setattr(sessions, "SESSION_RUNS", 3)
    await add(journal, "open", RunPhase.RUNNING)
    await add(journal, "of another", RunPhase.RUNNING, agent_id="agent-2")
    for name in "abc":
        await add(journal, name)

    page = await requested(journal)

    assert [run.run_id for run in page.runs] == ["c", "b", "a"]
    assert page.has_older
    assert page.open_run == "open"
    assert (await requested(journal, agent_id="agent-3")).open_run is None


async def test_a_run_that_has_ended_is_open_no_more(journal: Journal) -> None:
    await put(journal, key("a"), turn(), after=0)
    before = (await requested(journal)).open_run
    await put(journal, key("a"), end(), after=1)

    assert (before, (await requested(journal)).open_run) == ("a", None)


async def test_a_damaged_run_is_told_of_without_what_was_said(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await add(journal, "a")
    await add(journal, "b")
    intruder = apsw.Connection(str(tmp_path / "journal.db"))
    intruder.execute("UPDATE events SET data = x'ff' WHERE run_no = 2")
    intruder.close()

    page = await requested(journal, turns=1)
    await journal.close()

    assert [(run.run_id, run.turn is not None) for run in page.runs] == [("b", False), ("a", True)]


@pytest.mark.parametrize(
    ("query", "values", "index"),
    [
        (sessions.NEWEST, ("default", "s", 9), "runs_of_session (namespace=? AND session_id=?)"),
        (sessions.OPEN, ("default", "s", "a"), "runs_open_in_session (namespace=? AND session_id=? AND agent_id=?)"),
    ],
    ids=["newest", "open"],
)
def test_an_index_answers_without_a_scan_or_a_sort(
    tmp_path: Path, query: str, values: tuple[Any, ...], index: str
) -> None:
    db = schema.open_writer(tmp_path / "journal.db", busy_timeout_ms=0)

    plan = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    db.close()

    assert len(plan) == 1, plan
    assert plan[0].startswith("SEARCH runs USING ")
    assert plan[0].endswith(f"INDEX {index}")
