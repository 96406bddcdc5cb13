"""Reading over many runs: every journal selects alike, in order, in pages, and looks at so much and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.adapters import journal_rules as rules
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace, RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.records import Record
from runwright.core.selection import EventFilter, RunFilter, Scope, ScopeKind, Selection
from runwright.ports.journal import Journal, ListedRun, StoredEvent

from tests.ports.journal_builders import UNKNOWN, end, key, put, state, turn
from tests.ports.stores import STORES

K = EventKind
NOBODY = Namespace("nobody")


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    journal = STORES[request.param](tmp_path)
    yield journal
    await journal.close()


async def add(journal: Journal, run: RunKey, *records: Record, after: int = 0, **known: Any) -> list[StoredEvent]:
    """Appends with a snapshot of these fields."""
    snapshot = replace(state(run, after + len(records)), **known)
    return [*(await journal.append(run, records, after=after, contents=[], snapshot=snapshot)).events]


async def filled(journal: Journal) -> list[StoredEvent]:
    """Runs of two namespaces, three sessions and two agents, their appends mixed; returns every event."""
    rng, events = Random(4), []
    runs = [key(f"run-{number}", rng.choice(["default", "theirs"])) for number in range(12)]
    known = [{"session_id": f"s{n % 3 or ''}", "agent_id": f"a{n % 2}"} for n in range(12)]
    known[0]["session_id"] = ""
    for after in range(4):
        for run, fields in rng.sample(list(zip(runs, known, strict=True)), k=12):
            record = end() if after == 3 and run.run_id != "run-5" else turn()
            phase = RunPhase.COMPLETED if record == end() else RunPhase.RUNNING
            events += await add(journal, run, record, after=after, phase=phase, **fields)
    return events


async def all_of(journal: Journal, selection: Selection, limit: int = 3) -> list[StoredEvent]:
    """The whole stream, page by page."""
    seen: list[StoredEvent] = []
    after = 0
    while True:
        page = await journal.select(selection, after=after, limit=limit)
        assert len(page.events) <= limit
        assert page.reached >= after
        seen += page.events
        after = page.reached
        if not page.more:
            return seen


SCOPES = [
    Scope(namespace, kind, of)
    for namespace in (DEFAULT_NAMESPACE, Namespace("theirs"), NOBODY)
    for kind, of in (
        (ScopeKind.RUN, "run-1"),
        (ScopeKind.SESSION, "s1"),
        (ScopeKind.AGENT, "a1"),
        (ScopeKind.ALL, ""),
    )
]
FILTERS = [
    EventFilter(),
    EventFilter(terminal_only=True),
    EventFilter(kinds=frozenset({K.TURN_STARTED})),
    EventFilter(kinds=frozenset({K.TURN_STARTED, K.RUN_COMPLETED}), terminal_only=True),
    EventFilter(kinds=frozenset({K.TURN_STARTED}), terminal_only=True),
    EventFilter(run_ids=frozenset({"run-1", "run-7", "nobody"})),
    EventFilter(session_ids=frozenset({"s1", "s2"}), agent_ids=frozenset({"a0"})),
]


async def test_a_stream_is_what_its_selection_covers_in_order(journal: Journal) -> None:
    events = await filled(journal)
    assert [event.position for event in events] == list(range(1, 49))

    for scope, chosen in product(SCOPES, FILTERS):
        selection = Selection(scope, chosen)
        expected = [event for event in events if event.is_in(selection)]
        assert await all_of(journal, selection) == expected
        assert await all_of(journal, selection, limit=100) == expected


async def test_a_run_is_read_from_every_position_its_own_or_not(journal: Journal) -> None:
    events = await filled(journal)

    for run in {event.run for event in events}:
        own = [event for event in events if event.run == run]
        for after in range(len(events) + 2):
            expected = [event for event in own if event.position > after]
            page = await journal.select(Selection.of_run(run), after=after, limit=9)
            assert (list(page.events), page.more) == (expected, False)
            assert await journal.read(run, after=after, limit=9) == expected


async def test_selections_really_differ(journal: Journal) -> None:
    await filled(journal)

    sizes = {len(await all_of(journal, Selection(scope))) for scope in SCOPES}

    assert len(sizes) >= 4 and 0 in sizes


async def test_a_page_says_how_far_it_got_and_whether_there_is_more(journal: Journal) -> None:
    await put(journal, key("run-1"), turn(), turn(), turn(), after=0)
    everything = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL))

    first = await journal.select(everything, after=0, limit=2)
    second = await journal.select(everything, after=first.reached, limit=2)
    third = await journal.select(everything, after=second.reached, limit=2)

    assert (len(first.events), first.reached, first.more) == (2, 2, True)
    assert (len(second.events), second.reached, second.more) == (1, 3, False)
    assert (len(third.events), third.reached, third.more) == (0, 3, False)


async def test_a_filter_that_hides_everything_is_passed_in_bounded_steps(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound_scans(monkeypatch, events=10)
    await put(journal, key("run-1"), *[turn()] * 35, after=0)
    hidden = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL), EventFilter(kinds=frozenset({K.TOOL_DENIED})))

    steps = [await journal.select(hidden, after=after, limit=5) for after in (0, 10, 20, 30)]

    assert [(list(page.events), page.reached, page.more) for page in steps] == [
        ([], 10, True),
        ([], 20, True),
        ([], 30, True),
        ([], 35, False),
    ]


async def test_events_outside_of_the_scope_do_not_count_as_looked_at(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound_scans(monkeypatch, events=10)
    await put(journal, key("run-1"), *[turn()] * 50, after=0)
    [mine] = await add(journal, key("run-2"), turn(), session_id="mine")
    selection = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "mine"))

    page = await journal.select(selection, after=0, limit=5)

    assert (list(page.events), page.reached, page.more) == ([mine], 51, False)


def bound_scans(monkeypatch: pytest.MonkeyPatch, *, events: int = 2048, runs: int = 512) -> None:
    """Makes the journals look at less."""
    for module in ("runwright.adapters.journal_rules", "runwright.adapters.sqlite.reading.selecting"):
        monkeypatch.setattr(f"{module}.SCANNED_EVENTS", events)
        monkeypatch.setattr(f"{module}.SCANNED_RUNS", runs)


async def test_commits_are_announced_whole_and_in_order(journal: Journal) -> None:
    heard: list[list[StoredEvent]] = []
    journal.listen(lambda events: heard.append(list(events)))

    await asyncio.gather(*(put(journal, key(f"run-{number}"), turn(), turn(), after=0) for number in range(200)))

    assert [event.position for commit in heard for event in commit] == list(range(1, 401))
    everything = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL))
    assert [event for commit in heard for event in commit] == await all_of(journal, everything, limit=1000)


async def test_a_commit_is_announced_before_its_callers_hear_of_it_and_also_without_them(journal: Journal) -> None:
    heard: list[int] = []
    journal.listen(lambda events: heard.extend(event.position for event in events))

    [stored] = await put(journal, key("run-1"), turn(), after=0)
    assert heard == [stored.position]
    leaving = asyncio.create_task(put(journal, key("run-2"), turn(), after=0))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    await put(journal, key("run-3"), turn(), after=0)

    assert heard == list(range(1, journal.head + 1))


async def test_nobody_is_told_after_unlisten(journal: Journal) -> None:
    heard: list[object] = []
    journal.listen(heard.append)
    journal.unlisten(heard.append)
    journal.unlisten(heard.append)

    await put(journal, key("run-1"), turn(), after=0)

    assert heard == []


async def every_run(
    journal: Journal, wanted: RunFilter, limit: int = 2, namespace: Namespace = DEFAULT_NAMESPACE
) -> list[ListedRun]:
    """The whole list, page by page."""
    seen: list[ListedRun] = []
    before: int | None = None
    while True:
        page = await journal.list_runs(namespace, wanted, before=before, limit=limit)
        assert len(page.runs) <= limit
        seen += page.runs
        before = page.reached
        if not page.more:
            return seen


def ids(runs: Sequence[ListedRun]) -> list[str]:
    """Their run ids."""
    return [run.state.key.run_id for run in runs]


async def test_runs_are_listed_newest_first_by_what_they_are(journal: Journal) -> None:
    await add(journal, key("a"), turn(), agent_id="x", session_id="s", labels={"team": "blue", "x": "1"})
    await add(journal, key("b"), turn(), agent_id="x", labels={"team": "red"})
    await add(journal, key("foreign", "theirs"), turn(), agent_id="x", session_id="s")
    await add(journal, key("c"), turn(), calls=UNKNOWN, agent_id="y", session_id="s", labels={})
    await add(journal, key("b"), end(), after=1, phase=RunPhase.COMPLETED, agent_id="x", labels={"team": "red"})

    async def listed(**fields: Any) -> list[str]:
        return ids(await every_run(journal, RunFilter(**fields)))

    assert await listed() == ["c", "b", "a"]
    assert await listed(statuses=frozenset({RunStatus.COMPLETED})) == ["b"]
    assert await listed(statuses=frozenset({RunStatus.RUNNING, RunStatus.REPAIR_NEEDED})) == ["c", "a"]
    assert await listed(agent_id="x") == ["b", "a"]
    assert await listed(session_id="s", agent_id="y") == ["c"]
    assert await listed(labels={"team": "blue"}) == ["a"]
    assert await listed(labels={"team": "blue", "x": "2"}) == []
    assert ids(await every_run(journal, RunFilter(), namespace=NOBODY)) == []
    newest = (await every_run(journal, RunFilter()))[1]
    assert (newest.state.phase, newest.state.seq, newest.last_position) == (RunPhase.COMPLETED, 2, 5)


async def test_a_list_stays_as_it_is_while_runs_begin_and_end(journal: Journal) -> None:
    for number in range(6):
        await put(journal, key(f"run-{number}"), turn(), after=0)

    first = await journal.list_runs(DEFAULT_NAMESPACE, RunFilter(), before=None, limit=3)
    await put(journal, key("late"), turn(), after=0)
    await add(journal, key("run-1"), end(), after=1, phase=RunPhase.COMPLETED)
    second = await journal.list_runs(DEFAULT_NAMESPACE, RunFilter(), before=first.reached, limit=3)

    assert ids(first.runs) == ["run-5", "run-4", "run-3"]
    assert ids(second.runs) == ["run-2", "run-1", "run-0"]
    assert not second.more


async def test_runs_a_filter_hides_are_passed_in_bounded_steps(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound_scans(monkeypatch, runs=4)
    for number in range(10):
        await put(journal, key(f"run-{number}"), turn(), after=0)

    page = await journal.list_runs(DEFAULT_NAMESPACE, RunFilter(agent_id="nobody"), before=None, limit=5)

    assert (list(page.runs), page.reached, page.more) == ([], 7, True)
    assert ids(await every_run(journal, RunFilter(), limit=3)) == [f"run-{number}" for number in range(9, -1, -1)]
    assert rules.SCANNED_RUNS == 4
