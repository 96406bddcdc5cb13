"""Ended runs that are old go, a bounded step at a time; what others still refer to stays, and so does what is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import verification
from runwright.core import records as r
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase, RunStatus, StopReason
from runwright.core.selection import ANY_RUN, RunFilter, Scope, ScopeKind, Selection
from runwright.ports.journal import LoadedRun, Removed

from tests.ports.journal_builders import AT, USAGE, key, one_of_each, put, state
from tests.ports.stores import STORES, AnyJournal

DIGEST = "sha256:" + "ef" * 32
LATER = AT + 1_000_000
SHARED = Content.text("shared")


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyJournal]:
    journal = STORES[request.param](tmp_path)
    yield journal
    await journal.close()


async def begin(journal: AnyJournal, run: RunKey, *contents: Content, at: int = AT) -> None:
    """A run that goes on, with one event that refers to each of the contents."""
    snapshot = replace(state(run, 1), request_digest=DIGEST, started_at=at)
    said = r.TurnStarted(at=at, input=tuple(content.ref for content in contents))
    await journal.append(run, [said], after=0, contents=contents, snapshot=snapshot)


async def finish(journal: AnyJournal, run: RunKey, *, after: int = 1, at: int = AT) -> None:
    """The run's end."""
    ended = replace(
        state(run, after + 1), phase=RunPhase.COMPLETED, request_digest=DIGEST, stop=StopReason.END_TURN, ended_at=at
    )
    record = r.RunCompleted(at=at, stop=StopReason.END_TURN, result=Content.text(run.run_id).ref, usage=USAGE)
    await journal.append(run, [record], after=after, contents=[Content.text(run.run_id)], snapshot=ended)


async def ran(journal: AnyJournal, *names: str, at: int = AT) -> list[RunKey]:
    """Runs that have ended, each with a content of its own and the shared one."""
    runs = [key(name) for name in names]
    for run in runs:
        await begin(journal, run, SHARED, Content.text(f"of {run.run_id}"), at=at)
        await finish(journal, run, at=at)
    return runs


async def removed(journal: AnyJournal, *, before: int = LATER, limit: int = 100) -> list[Removed]:
    """Every step of a removal."""
    steps = [await journal.remove_ended(before=before, now=LATER, limit=limit)]
    while steps[-1].more:
        steps.append(await journal.remove_ended(before=before, now=LATER, limit=limit))
    return steps


def stored(journal: AnyJournal, run: RunKey, *contents: Content) -> object:
    """Which of the contents are there."""
    return journal.content(run.namespace, [content.ref.digest for content in contents])


async def all_events(journal: AnyJournal, scope: Scope, after: int = 0) -> Sequence[tuple[str, int]]:
    page = await journal.select(Selection(scope), after=after, limit=1000)
    return [(event.run.run_id, event.position) for event in page.events]


async def test_an_old_run_goes_with_its_events_and_leaves_an_outline(journal: AnyJournal) -> None:
    first, last = await ran(journal, "first", "last")

    (step,) = await removed(journal)

    assert (step.runs, step.events) == ([first], 2)
    assert await journal.read(first, after=0, limit=10) == []
    assert await journal.messages(first) == []
    loaded = await journal.load(first)
    assert loaded is not None
    left = loaded.state
    assert (left.phase, left.stop, left.seq, left.request_digest) == (
        RunPhase.COMPLETED,
        StopReason.END_TURN,
        2,
        DIGEST,
    )
    assert (left.removed_at, left.ended_at, loaded.last_position) == (LATER, AT, 2)
    assert (left.labels, left.principal, left.package, left.result) == ({}, "", None, None)
    page = await journal.list_runs(first.namespace, ANY_RUN, before=None, limit=10)
    assert [listed.state.key for listed in page.runs] == [last]
    with pytest.raises(AgentError) as refused:
        await begin(journal, first)
    assert refused.value.reason is ErrorReason.JOURNAL_CONFLICT


async def test_what_is_open_what_is_young_and_the_newest_event_stay(journal: AnyJournal) -> None:
    await begin(journal, key("open"))
    (old,) = await ran(journal, "old")
    await ran(journal, "young", at=LATER)
    await ran(journal, "newest")

    steps = await removed(journal)

    assert [run for step in steps for run in step.runs] == [old]
    assert journal.head == 7
    assert [step.runs for step in await removed(journal, before=LATER + 1)] == [[key("young")]]
    await begin(journal, key("next"))
    assert journal.head == 8
    assert await journal.open_runs() == [key("open"), key("next")]


async def test_content_goes_with_the_last_event_that_refers_to_it(journal: AnyJournal) -> None:
    heir, elsewhere = key("heir"), key("old", "elsewhere")
    old, older = await ran(journal, "old", "older")
    inherited = Content.text("of old")
    await begin(journal, elsewhere, SHARED)
    await begin(journal, heir, inherited, at=LATER)

    await removed(journal)

    assert await stored(journal, old, SHARED, inherited, Content.text("of older"), Content.text("old")) == {
        inherited.ref.digest: b"of old"
    }
    assert await stored(journal, elsewhere, SHARED) == {SHARED.ref.digest: b"shared"}
    await finish(journal, heir)
    await begin(journal, key("last"))
    await removed(journal)
    assert await stored(journal, old, inherited) == {}
    assert await journal.load(older) is not None


async def test_the_steps_are_bounded_and_show_no_half_of_a_run(journal: AnyJournal) -> None:
    first, second, _ = await ran(journal, "first", "second", "last")

    steps = [await journal.remove_ended(before=LATER, now=LATER, limit=1) for _ in range(2)]
    half = await journal.remove_ended(before=LATER, now=LATER, limit=1)

    assert [(step.runs, step.events) for step in [*steps, half]] == [([first], 1), ([], 1), ([second], 1)]
    assert await journal.read(second, after=0, limit=10) == []
    everything = Scope(first.namespace, ScopeKind.ALL)
    assert [name for name, _ in await all_events(journal, everything)] == ["last", "last"]
    assert await all_events(journal, Scope(first.namespace, ScopeKind.RUN, "second")) == []
    assert (await removed(journal))[-1].more is False


async def test_the_horizon_tells_each_stream_what_is_missing(journal: AnyJournal) -> None:
    await begin(journal, key("open"))
    (first,) = await ran(journal, "first")
    await ran(journal, "last")
    scopes = [Scope(first.namespace, kind, of) for kind, of in ((ScopeKind.ALL, ""), (ScopeKind.SESSION, "session-1"))]
    others = [Scope(first.namespace, ScopeKind.AGENT, "another"), Scope(key("x", "elsewhere").namespace, ScopeKind.ALL)]

    await removed(journal)

    for scope in scopes:
        page = await journal.select(Selection(scope), after=0, limit=1000)
        assert (page.horizon, await journal.horizon(scope)) == (3, 3)
        assert [event.position for event in page.events] == [1, 4, 5]
    assert [await journal.horizon(scope) for scope in others] == [0, 0]


async def test_a_run_is_removed_on_an_operators_word_whether_it_has_ended_or_not(journal: AnyJournal) -> None:
    one, two, last = key("one"), key("two"), key("last")
    await begin(journal, one, SHARED, Content.text("of one"))
    await begin(journal, two, SHARED, Content.text("of two"))
    await finish(journal, two)
    await begin(journal, last, SHARED)

    horizons = [await journal.remove(run, now=LATER) for run in (one, two)]

    assert horizons == [1, 3]
    outlines = await journal.load_many([one, two])
    assert [(left.state.phase, left.state.removed_at) for left in outlines if isinstance(left, LoadedRun)] == [
        (RunPhase.CANCELLED, LATER),
        (RunPhase.COMPLETED, LATER),
    ]
    assert await all_events(journal, Scope(one.namespace, ScopeKind.ALL)) == [("last", 4)]
    assert await journal.open_runs() == [last]
    assert set(await stored(journal, last, SHARED, Content.text("of one"), Content.text("of two"))) == {  # type: ignore[call-overload]
        SHARED.ref.digest
    }
    assert await journal.horizon(Scope(one.namespace, ScopeKind.ALL)) == 3


async def test_removing_a_run_that_nobody_knows_is_refused(journal: AnyJournal) -> None:
    with pytest.raises(AgentError) as caught:
        await journal.remove(key("nobody"), now=LATER)

    assert caught.value.reason is ErrorReason.RUN_NOT_FOUND


async def test_a_run_is_removed_once(journal: AnyJournal) -> None:
    gone, _ = await ran(journal, "gone", "last")
    await journal.remove(gone, now=LATER)
    before = await journal.load(gone)

    with pytest.raises(AgentError) as caught:
        await journal.remove(gone, now=LATER + 1)

    assert caught.value.reason is ErrorReason.RUN_NOT_FOUND
    assert await journal.load(gone) == before


async def test_the_newest_event_of_a_removed_run_is_hidden_and_goes_with_the_next_removal(tmp_path: Path) -> None:
    """The journal finds its own end by it."""
    first = SqliteJournal.open(tmp_path)
    await begin(first, key("one"), SHARED)
    await begin(first, key("damaged"), SHARED)
    await first.remove(key("damaged"), now=LATER)
    seen = await all_events(first, Scope(key().namespace, ScopeKind.ALL))
    await first.close()

    second = SqliteJournal.open(tmp_path)
    head = second.head
    await begin(second, key("another"), SHARED)
    await second.close()
    third = SqliteJournal.open(tmp_path)
    await third.remove(key("one"), now=LATER)
    await third.close()

    assert (seen, head) == ([("one", 1)], 2)
    db = apsw.Connection(str(tmp_path / "journal.db"))
    assert db.execute("SELECT position FROM events").fetchall() == [(3,)]
    assert db.execute("SELECT * FROM removals").fetchall() == []
    assert verification.verify(db).faults == ()


async def test_what_is_intact_ends_before_the_first_event_that_is_not_what_was_written(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    records = [record for record in one_of_each() if isinstance(record, r.RunStarted | r.TurnStarted)][:2]
    await put(journal, key(), *records, r.ModelAttemptStarted(at=AT, round=1, attempt=1, provider="p"), after=0)
    whole = await journal.intact(key())
    unknown = await journal.intact(key("nobody"))

    db = apsw.Connection(str(tmp_path / "journal.db"))
    cut = []
    for seq in (3, 2, 1):
        db.execute("UPDATE events SET data = CAST(data || x'00' AS BLOB) WHERE seq = ?", (seq,))
        cut.append(await journal.intact(key()))
    await journal.close()

    assert unknown is None
    assert whole is not None and (whole[0].seq, whole[1], whole[0].round) == (3, 3, 1)
    assert [(found[0].seq, found[1], found[0].agent_id) for found in cut if found] == [
        (2, 2, "agent-1"),
        (1, 1, "agent-1"),
        (0, 0, "agent-1"),
    ]


@pytest.mark.parametrize("wanted", [RunStatus.HELD, RunStatus.RUNNING])
async def test_runs_that_stand_otherwise_than_their_events_say_are_listed_so(
    journal: AnyJournal, wanted: RunStatus
) -> None:
    for name in ("one", "two", "three"):
        await begin(journal, key(name), SHARED)

    page = await journal.list_runs(
        key().namespace,
        RunFilter(statuses=frozenset({wanted})),
        before=None,
        limit=9,
        statuses={"two": RunStatus.HELD, "nobody": RunStatus.HELD},
    )

    expected = {RunStatus.HELD: ["two"], RunStatus.RUNNING: ["three", "one"]}
    assert [run.state.key.run_id for run in page.runs] == expected[wanted]


async def test_every_removal_raises_the_horizon_also_of_a_run_that_ended_before_one_that_is_gone(
    journal: AnyJournal,
) -> None:
    """Whoever has heard of the later one must hear of the earlier one, too."""
    earlier, later = await ran(journal, "earlier", "later")
    await begin(journal, key("new"))
    everything = Scope(earlier.namespace, ScopeKind.ALL)
    head = journal.head

    first = await journal.remove(later, now=LATER)
    heard_of = await journal.horizon(everything)
    steps = await removed(journal)

    assert first == heard_of
    assert [run for step in steps for run in step.runs] == [earlier]
    assert await journal.horizon(everything) > heard_of
    loaded = await journal.load(earlier)
    assert loaded is not None
    assert loaded.last_position <= head == journal.head


async def test_nobody_is_removed_behind_one_that_is_young(journal: AnyJournal) -> None:
    """The order is that of last events: else the horizon of what is missing would lie above what is there."""
    (old,) = await ran(journal, "old")
    (young,) = await ran(journal, "young", at=LATER)
    (behind,) = await ran(journal, "behind")
    await begin(journal, key("newest"))

    steps = await removed(journal)
    everything = Scope(old.namespace, ScopeKind.ALL)
    horizon = await journal.horizon(everything)

    assert [run for step in steps for run in step.runs] == [old]
    assert [len(await journal.read(run, after=0, limit=9)) for run in (young, behind)] == [2, 2]
    assert [position for _, position in await all_events(journal, everything)] == list(range(horizon + 1, 8))
    assert [run for step in await removed(journal, before=LATER + 1) for run in step.runs] == [young, behind]


@pytest.mark.parametrize("is_known", [True, False], ids=["after an append", "after a restart"])
@pytest.mark.parametrize("by_word", [True, False], ids=["by an operator", "by age"])
async def test_nothing_is_appended_to_a_removed_run(
    tmp_path: Path, journal: AnyJournal, is_known: bool, by_word: bool
) -> None:
    (run,) = await ran(journal, "gone")
    await begin(journal, key("last"))
    if not is_known and isinstance(journal, SqliteJournal):
        await journal.close()
        journal = SqliteJournal.open(tmp_path)
    await (journal.remove(run, now=LATER) if by_word else removed(journal))
    outline = await journal.load(run)

    with pytest.raises(AgentError) as caught:
        await put(journal, run, r.TurnStarted(at=AT, input=()), after=2)

    assert caught.value.reason is ErrorReason.JOURNAL_CONFLICT
    assert await journal.load(run) == outline
    await journal.close()
