"""Side rows, in every journal: written with their append or not at all; what must hold for it is looked at first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.records import TurnStarted
from runwright.core.side_rows import (
    Condition,
    DeleteEntry,
    DeleteWhenSpent,
    EntryIs,
    FailedCondition,
    NoEntry,
    PutEntry,
    SetCounter,
    SideRow,
    Spend,
)
from runwright.ports.journal import Appended, AppendOutcome, Entry, StoredEvent

from tests.ports.journal_builders import AT, key, put_ended, state
from tests.ports.stores import STORES, AnyJournal
from tests.ports.test_journal_removing import LATER, begin, finish

ONE, TWO, THEIRS = key("one"), key("two"), key("one", "elsewhere")
HELLO = Content.text("hello")


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyJournal]:
    journal = STORES[request.param](tmp_path)
    yield journal
    await journal.close()


async def append(
    journal: AnyJournal, run: RunKey, *rows: SideRow, after: int = 0, contents: Sequence[Content] = ()
) -> AppendOutcome:
    """One small record, with side rows."""
    snapshot = state(run, after + 1)
    return await journal.append(
        run, [TurnStarted(at=AT, input=())], after=after, contents=contents, snapshot=snapshot, side_rows=rows
    )


def entry(run: RunKey, name: str, value: bytes = b"", expires_at: int = 0) -> Entry:
    """An entry of the index that these tests write."""
    return Entry("waiting", name, run, value, expires_at)


async def entries(journal: AnyJournal, run: RunKey = ONE, prefix: str = "", after: str = "") -> list[object]:
    """All entries of that index in the run's namespace."""
    return [*await journal.entries(run.namespace, "waiting", prefix=prefix, after=after, limit=100)]


async def test_entries_are_read_in_the_order_of_their_keys_by_prefix_and_page(journal: AnyJournal) -> None:
    names = ["open/3", "done/1", "open/1", "open/2", "open", "ä", "\U0001f600"]
    await append(journal, ONE, *(PutEntry("waiting", name, name.encode(), 7) for name in names))
    await append(journal, TWO, PutEntry("due", "open/1"))
    await append(journal, THEIRS, PutEntry("waiting", "open/9"))

    assert await entries(journal) == [entry(ONE, name, name.encode(), 7) for name in sorted(names)]
    assert await entries(journal, THEIRS) == [entry(THEIRS, "open/9")]
    open_ones = [entry(ONE, f"open/{number}", b"open/%d" % number, 7) for number in (1, 2, 3)]
    assert await entries(journal, prefix="open/") == open_ones
    assert await entries(journal, prefix="open/", after="open/1") == open_ones[1:]
    assert await journal.entries(ONE.namespace, "waiting", prefix="open/", limit=2) == open_ones[:2]
    due = Entry("due", "open/1", TWO, b"", 0)
    assert await journal.named(ONE.namespace, ("due", "open/1"), ("due", "open/3")) == (due, None)
    others = (("due", "open/9"), ("waiting", "open/1"), ("due", "open/1"), ("due", "open/1"))
    assert await journal.named(ONE.namespace, *others) == (None, open_ones[0], due, due)
    assert await journal.named(ONE.namespace) == ()
    assert await journal.entries(ONE.namespace, "nowhere", limit=9) == []


async def test_an_entry_is_of_the_run_that_wrote_it_last_until_one_deletes_it(journal: AnyJournal) -> None:
    await append(journal, ONE, PutEntry("waiting", "a", b"1"), PutEntry("waiting", "b", b"1"))

    await append(journal, TWO, PutEntry("waiting", "a", b"2", 9), DeleteEntry("waiting", "b"))
    await append(journal, TWO, DeleteEntry("waiting", "never there"), after=1)

    assert await entries(journal) == [entry(TWO, "a", b"2", 9)]


async def test_a_counter_is_spent_down_to_nothing_and_no_further(journal: AnyJournal) -> None:
    await append(journal, ONE, SetCounter("uses", 3))

    assert isinstance(await append(journal, TWO, Spend("uses", 2)), Appended)
    assert await append(journal, TWO, Spend("uses", 2), after=1) == FailedCondition(Spend("uses", 2), 0)
    assert await journal.counter(ONE.namespace, "uses") == 1
    assert isinstance(await append(journal, TWO, Spend("uses"), after=1), Appended)
    assert await journal.counter(ONE.namespace, "uses") == 0
    assert await append(journal, TWO, Spend("uses"), after=2) == FailedCondition(Spend("uses"), 0)
    assert await append(journal, THEIRS, Spend("uses")) == FailedCondition(Spend("uses"), 0)
    assert await journal.counter(THEIRS.namespace, "uses") is None


HOLDS: list[Condition] = [
    EntryIs("waiting", "a"),
    EntryIs("waiting", "a", b"1"),
    EntryIs("waiting", "a", at=AT - 1),
    EntryIs("waiting", "for ever", at=AT + 99),
    NoEntry("waiting", "b"),
    NoEntry("due", "a"),
    Spend("uses", 3),
]
FAILS: list[Condition] = [
    EntryIs("waiting", "b"),
    EntryIs("due", "a"),
    EntryIs("waiting", "a", b""),
    EntryIs("waiting", "a", at=AT),
    NoEntry("waiting", "a"),
    Spend("uses", 4),
    Spend("others"),
]


@pytest.mark.parametrize("condition", HOLDS, ids=repr)
async def test_what_holds_lets_its_append_stand(journal: AnyJournal, condition: Condition) -> None:
    await append(
        journal, ONE, PutEntry("waiting", "a", b"1", AT), PutEntry("waiting", "for ever"), SetCounter("uses", 3)
    )

    assert isinstance(await append(journal, TWO, condition), Appended)


@pytest.mark.parametrize("condition", FAILS, ids=repr)
async def test_what_does_not_hold_is_the_answer_and_nothing_of_the_append_stands(
    journal: AnyJournal, condition: Condition
) -> None:
    await append(journal, ONE, PutEntry("waiting", "a", b"1", AT), SetCounter("uses", 3))
    before = await entries(journal), journal.head, journal.commits

    rows = (PutEntry("waiting", "c"), DeleteEntry("waiting", "a c"), SetCounter("new", 1), Spend("uses", 1))
    refused = condition if not isinstance(condition, Spend) or condition.counter != "uses" else Spend("uses", 3)
    outcome = await append(journal, TWO, *rows, refused, PutEntry("waiting", "d"), contents=[HELLO])

    assert outcome == FailedCondition(refused, 4)
    assert (await entries(journal), journal.head, journal.commits) == before
    assert await journal.counter(ONE.namespace, "uses") == 3
    assert await journal.counter(ONE.namespace, "new") is None
    assert await journal.load(TWO) is None
    assert await journal.content(ONE.namespace, [HELLO.ref.digest]) == {}
    assert isinstance(await append(journal, TWO), Appended), "the run is where it was"


async def test_rows_of_one_append_are_worked_off_in_their_order(journal: AnyJournal) -> None:
    outcome = await append(
        journal,
        ONE,
        NoEntry("waiting", "a"),
        PutEntry("waiting", "a", b"1"),
        EntryIs("waiting", "a", b"1"),
        DeleteEntry("waiting", "a"),
        NoEntry("waiting", "a"),
        PutEntry("waiting", "a", b"2"),
        SetCounter("uses", 2),
        Spend("uses"),
        Spend("uses"),
    )

    assert isinstance(outcome, Appended)
    assert await entries(journal) == [entry(ONE, "a", b"2")]
    assert await journal.counter(ONE.namespace, "uses") == 0


async def test_an_entry_is_deleted_with_the_last_use_of_its_counter_and_not_before(journal: AnyJournal) -> None:
    goes = DeleteWhenSpent("waiting", "a", "uses")
    await append(journal, ONE, PutEntry("waiting", "a", b"1"), SetCounter("uses", 2))

    await append(journal, TWO, Spend("uses"), goes)
    assert await entries(journal) == [entry(ONE, "a", b"1")]
    await append(journal, TWO, Spend("uses"), goes, after=1)

    assert await entries(journal) == []
    await append(journal, TWO, goes, after=2)
    await append(journal, TWO, PutEntry("waiting", "b"), DeleteWhenSpent("waiting", "b", "no counter"), after=3)
    assert await entries(journal) == []


async def test_rows_are_changed_beside_a_run_all_or_none_also_after_its_end(journal: AnyJournal) -> None:
    await put_ended(journal, ONE)
    await append(journal, TWO, PutEntry("waiting", "a", b"1", AT), SetCounter("uses", 1))

    stands = await journal.change_beside(ONE, [EntryIs("waiting", "a"), PutEntry("waiting", "b"), Spend("uses")])
    refused = await journal.change_beside(ONE, [DeleteEntry("waiting", "b"), EntryIs("waiting", "a", at=AT)])

    assert (stands, refused) == (None, FailedCondition(EntryIs("waiting", "a", at=AT), 1))
    assert await entries(journal) == [entry(TWO, "a", b"1", AT), entry(ONE, "b")]
    assert await journal.counter(ONE.namespace, "uses") == 0
    assert await append(journal, TWO, Spend("uses"), after=1) == FailedCondition(Spend("uses"), 0)
    with pytest.raises(AgentError) as unknown:
        await journal.change_beside(key("three"), [PutEntry("waiting", "c")])
    assert unknown.value.reason is ErrorReason.RUN_NOT_FOUND


async def test_nothing_is_changed_beside_a_run_that_was_removed(journal: AnyJournal) -> None:
    await put_ended(journal, ONE)
    await append(journal, TWO)
    await journal.remove(ONE, now=AT)

    with pytest.raises(AgentError) as gone:
        await journal.change_beside(ONE, [PutEntry("waiting", "c")])

    assert gone.value.reason is ErrorReason.RUN_NOT_FOUND
    assert await entries(journal) == []


async def test_one_that_fails_among_appends_of_one_moment_fails_alone(journal: AnyJournal) -> None:
    heard: list[StoredEvent] = []
    journal.listen(heard.extend)
    snapshots = [key(f"run-{number}") for number in range(6)]
    rows: list[tuple[SideRow, ...]] = [
        (SetCounter("uses", 1),),
        (NoEntry("waiting", "a"), PutEntry("waiting", "a", b"first")),
        (NoEntry("waiting", "a"), PutEntry("waiting", "a", b"second")),
        (Spend("uses"),),
        (Spend("uses"),),
        (),
    ]

    outcomes = await asyncio.gather(
        *(append(journal, run, *of) for run, of in zip(snapshots, rows, strict=True)), return_exceptions=True
    )

    failed = {number: each for number, each in enumerate(outcomes) if not isinstance(each, Appended)}
    assert failed == {2: FailedCondition(NoEntry("waiting", "a"), 0), 4: FailedCondition(Spend("uses"), 0)}
    stood = [run for number, run in enumerate(snapshots) if number not in failed]
    assert [(event.position, event.run) for event in heard] == list(enumerate(stood, start=1))
    assert journal.head == 4
    assert await entries(journal) == [entry(snapshots[1], "a", b"first")]


async def test_fifty_at_once_spend_no_more_than_there_is(journal: AnyJournal) -> None:
    await append(journal, ONE, SetCounter("uses", 10))
    runs = [key(f"run-{number}") for number in range(50)]

    outcomes = await asyncio.gather(*(append(journal, run, Spend("uses")) for run in runs))

    assert [isinstance(each, Appended) for each in outcomes] == [True] * 10 + [False] * 40
    assert {each for each in outcomes if isinstance(each, FailedCondition)} == {FailedCondition(Spend("uses"), 0)}
    assert await journal.counter(ONE.namespace, "uses") == 0


async def test_a_conflict_leaves_no_side_rows(journal: AnyJournal) -> None:
    await append(journal, ONE, SetCounter("uses", 1))

    with pytest.raises(AgentError) as refused:
        await append(journal, ONE, Spend("uses"), PutEntry("waiting", "a"), after=7)

    assert refused.value.reason is ErrorReason.JOURNAL_CONFLICT
    assert await entries(journal) == []
    assert await journal.counter(ONE.namespace, "uses") == 1


async def test_a_removed_run_takes_its_side_rows_along_and_those_of_no_other(journal: AnyJournal) -> None:
    old, held, other = key("old"), key("held"), key("other")
    for run in (old, held, other):
        await begin(journal, run)
        rows = (PutEntry("waiting", run.run_id), PutEntry("due", run.run_id), SetCounter(run.run_id, 5))
        await append(journal, run, *rows, after=1)
    await append(journal, other, PutEntry("waiting", "old", b"taken over"), Spend("old"), after=2)
    await finish(journal, old, after=2)
    await put_ended(journal, key("last"))

    while (await journal.remove_ended(before=LATER, now=LATER, limit=100)).more:
        pass
    await journal.remove(held, now=LATER)

    assert await entries(journal) == [entry(other, "old", b"taken over"), entry(other, "other")]
    assert [each.key for each in await journal.entries(other.namespace, "due", limit=9) if isinstance(each, Entry)] == [
        "other"
    ]
    counters = [await journal.counter(other.namespace, run.run_id) for run in (old, held, other)]
    assert counters == [None, None, 5]


@pytest.mark.parametrize("made", [lambda: Spend("uses", 0), lambda: Spend("uses", -1), lambda: SetCounter("uses", -1)])
def test_amounts_that_would_make_something_of_nothing_are_refused(made: object) -> None:
    with pytest.raises(ValueError, match="uses"):
        made()  # type: ignore[operator]


async def test_a_closed_journal_tells_nothing_of_them(journal: AnyJournal) -> None:
    await journal.close()

    for question in (
        journal.named(ONE.namespace, ("waiting", "a")),
        journal.entries(ONE.namespace, "waiting", limit=1),
        journal.counter(ONE.namespace, "uses"),
    ):
        with pytest.raises(AgentError) as refused:
            await question
        assert refused.value.reason is ErrorReason.DRAINING


async def test_keys_are_listed_by_their_prefix_whatever_follows_it(journal: AnyJournal) -> None:
    last = "\U0010ffff"
    ends = ["\ud7ff", "\ue000", last, f"{last}{last}", f"{last}a"]
    keys = ["", "p", *(f"p{end}" for end in ends), "q", *ends]
    await append(journal, ONE, *(PutEntry("waiting", name) for name in keys[1:]))

    for prefix in keys:
        listed = [found.key for found in await entries(journal, prefix=prefix) if isinstance(found, Entry)]
        assert listed == sorted(name for name in keys[1:] if name.startswith(prefix))
