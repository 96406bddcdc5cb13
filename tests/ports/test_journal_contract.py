"""What every journal must do, whatever it writes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runwright.adapters.memory import MemoryJournal
from runwright.adapters.sqlite import SqliteJournal
from runwright.core import records as r
from runwright.core.content import Content, ContentRef
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.kinds import KINDS, MESSAGE_BEARING, kind_of
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun
from runwright.wire.records import decode_event, encode_events

from tests.ports.journal_builders import AT, check_chain, end, key, one_of_each, pages, put, state, turn
from tests.ports.stores import STORES, AnyJournal

RUN, OTHER = key("run-1"), key("run-2")
HELLO, WORLD = Content.text("hello"), Content.text("world")


def encoded(state: RunState, seq: int, record: Record) -> bytes:
    """The bytes that are stored of a record."""
    return encode_events(state, seq - 1, [record])[0]


async def put_many(journal: AnyJournal, run: RunKey, number: int) -> None:
    """So many small appends, one after the other."""
    for after in range(number):
        await put(journal, run, turn(), after=after)


@pytest.fixture(params=STORES)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyJournal]:
    journal = STORES[request.param](tmp_path)
    yield journal
    await journal.close()


async def test_every_kind_of_record_comes_back_as_it_was(journal: AnyJournal) -> None:
    records = one_of_each()
    assert {type(record) for record in records} == set(KINDS)

    stored = await put(journal, RUN, *records, after=0)

    assert await journal.read(RUN, after=0, limit=100) == stored
    assert [event.kind for event in stored] == [kind_of(record) for record in records]
    snapshot = state(RUN, len(records))
    assert [event.data for event in stored] == [encoded(snapshot, n, rec) for n, rec in enumerate(records, 1)]
    assert [decode_event(event.data) for event in stored] == records


async def test_sequence_numbers_and_positions_have_no_gaps(journal: AnyJournal) -> None:
    runs = [key(f"run-{number}") for number in range(5)]

    stored = []
    for after in (0, 2, 4):
        for run in runs:
            stored += await put(journal, run, turn(), turn(), after=after)

    assert [event.position for event in stored] == list(range(1, 31))
    assert journal.head == 30
    for run in runs:
        assert [event.seq for event in await journal.read(run, after=0, limit=100)] == list(range(1, 7))


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_conflict_writes_nothing(journal: AnyJournal, after: int) -> None:
    stored = await put(journal, RUN, turn(), turn(), after=0)
    before = await journal.load(RUN), journal.head, journal.commits

    with pytest.raises(AgentError) as refused:
        await put(journal, RUN, turn(), after=after, contents=[HELLO])

    assert refused.value.reason is ErrorReason.JOURNAL_CONFLICT
    assert refused.value.metadata == {"run_id": RUN.run_id}
    assert (await journal.load(RUN), journal.head, journal.commits) == before
    assert await journal.read(RUN, after=0, limit=10) == stored
    assert await journal.content(RUN.namespace, [HELLO.ref.digest]) == {}


async def test_a_conflict_on_a_new_run_leaves_it_unknown(journal: AnyJournal) -> None:
    with pytest.raises(AgentError) as refused:
        await put(journal, RUN, turn(), after=1)

    assert refused.value.reason is ErrorReason.JOURNAL_CONFLICT
    assert await journal.load(RUN) is None
    assert await journal.open_runs() == []


async def test_an_append_stores_events_contents_and_snapshot(journal: AnyJournal) -> None:
    stored = await put(journal, RUN, turn(), turn(), after=0, contents=[HELLO, WORLD])

    assert journal.head == stored[-1].position == 2
    assert await journal.read(RUN, after=0, limit=10) == stored
    assert await journal.load(RUN) == LoadedRun(state(RUN, 2), 2)
    assert await journal.content(RUN.namespace, [HELLO.ref.digest, WORLD.ref.digest]) == {
        HELLO.ref.digest: b"hello",
        WORLD.ref.digest: b"world",
    }


async def test_a_snapshot_of_another_moment_is_refused(journal: AnyJournal) -> None:
    for snapshot in (state(RUN, 2), state(OTHER, 1)):
        with pytest.raises(ValueError, match="snapshot"):
            await journal.append(RUN, [turn()], after=0, contents=[], snapshot=snapshot)

    assert journal.head == 0
    assert await journal.load(RUN) is None


async def test_the_chain_of_a_run_can_be_recomputed_from_its_bytes(journal: AnyJournal) -> None:
    for after in range(3):
        for run in (RUN, OTHER, key("run-1", "elsewhere")):
            await put(journal, run, turn(AT + after), after=after)

    chains = {run: await journal.read(run, after=0, limit=10) for run in (RUN, OTHER, key("run-1", "elsewhere"))}

    for run, events in chains.items():
        assert len(events) == 3
        check_chain(run, events)
    assert len({events[0].previous_hash for events in chains.values()}) == 3


async def test_messages_are_the_records_that_carry_the_conversation(journal: AnyJournal) -> None:
    records = one_of_each()
    await put(journal, OTHER, turn(), after=0)
    await put(journal, RUN, *records, after=0)

    messages = await journal.messages(RUN)

    assert messages == [record for record in records if kind_of(record) in MESSAGE_BEARING]
    assert {kind_of(record) for record in messages} == MESSAGE_BEARING


async def test_a_run_is_read_in_pages_by_position(journal: AnyJournal) -> None:
    mine = []
    for after in range(5):
        mine += await put(journal, RUN, turn(AT + after), after=after)
        await put(journal, OTHER, turn(), after=after)

    assert [page async for page in pages(journal, RUN, 2)] == [mine[0:2], mine[2:4], mine[4:]]
    assert await journal.read(RUN, after=2, limit=10) == mine[1:]  # position 2 is the other run's
    assert await journal.read(RUN, after=99, limit=10) == []


async def test_one_event_of_a_run_is_found_by_its_number(journal: AnyJournal) -> None:
    stored = await put(journal, RUN, turn(), turn(), turn(), after=0)
    await put(journal, OTHER, turn(), after=0)

    assert [await journal.event(RUN, seq) for seq in (1, 2, 3)] == stored
    assert [await journal.event(RUN, seq) for seq in (0, 4)] == [None, None]
    assert await journal.event(key("run-3"), 1) is None


async def test_a_run_is_loaded_with_its_state_and_its_last_position_at_once(journal: AnyJournal) -> None:
    for after in range(3):
        await put(journal, RUN, turn(AT + after), after=after)
        await put(journal, OTHER, turn(), after=after)

    assert await journal.load(RUN) == LoadedRun(state(RUN, 3), 5)
    assert await journal.load(OTHER) == LoadedRun(state(OTHER, 3), journal.head)


async def test_many_runs_are_loaded_in_the_order_in_which_they_are_asked_for(journal: AnyJournal) -> None:
    runs = [key(f"run-{number}") for number in range(600)]
    await asyncio.gather(*(put(journal, run, turn(), after=0) for run in runs))
    requested = [*reversed(runs), key("unknown"), runs[7]]

    loaded = await journal.load_many(requested)

    expected = [LoadedRun(state(run, 1), number) for number, run in enumerate(runs, start=1)]
    assert loaded == [*reversed(expected), None, expected[7]]
    assert await journal.load_many([]) == []


async def test_a_reader_never_sees_a_state_beside_the_position_of_another_moment(journal: AnyJournal) -> None:
    writing = asyncio.create_task(put_many(journal, RUN, 100))
    seen = set[int]()

    while not writing.done():
        loaded = await journal.load(RUN)
        if loaded is not None:
            seen.add(loaded.state.seq)
            assert loaded == LoadedRun(state(RUN, loaded.state.seq), loaded.state.seq)
        await asyncio.sleep(0)

    await writing
    assert len(seen) > 1 or isinstance(journal, MemoryJournal)


async def test_open_runs_are_those_that_have_not_ended_oldest_first(journal: AnyJournal) -> None:
    runs = [key("c"), key("a"), key("b"), key("a", "elsewhere")]
    for run in runs:
        await put(journal, run, turn(), after=0)
    await put(journal, runs[0], turn(), after=1)

    await put(journal, runs[2], turn(), end(), after=1)

    assert await journal.open_runs() == [runs[0], runs[1], runs[3]]


async def test_content_is_found_by_digest_in_its_own_namespace_only(journal: AnyJournal) -> None:
    stranger = key("run-1", "elsewhere")
    await put(journal, RUN, turn(), after=0, contents=[HELLO])
    await put(journal, RUN, turn(), after=1, contents=[HELLO])
    await put(journal, stranger, turn(), after=0, contents=[WORLD])
    digests = [HELLO.ref.digest, WORLD.ref.digest, "sha256:" + "0" * 64]

    assert await journal.content(RUN.namespace, digests) == {HELLO.ref.digest: b"hello"}
    assert await journal.content(OTHER.namespace, digests) == {HELLO.ref.digest: b"hello"}
    assert await journal.content(stranger.namespace, digests) == {WORLD.ref.digest: b"world"}
    assert await journal.content(RUN.namespace, []) == {}


async def test_an_unknown_run_is_empty(journal: AnyJournal) -> None:
    await put(journal, RUN, turn(), after=0)
    unknown = key("run-1", "elsewhere")

    assert await journal.load(unknown) is None
    assert await journal.messages(unknown) == []
    assert await journal.read(unknown, after=0, limit=10) == []


async def test_one_append_after_the_other_is_one_commit_each(journal: AnyJournal) -> None:
    for after in range(3):
        await put(journal, RUN, turn(), after=after, contents=[HELLO])

    assert journal.commits == 3


async def test_a_journal_has_an_identity_of_its_own(journal: AnyJournal, tmp_path: Path) -> None:
    other = SqliteJournal.open(tmp_path / "other") if isinstance(journal, SqliteJournal) else MemoryJournal()

    assert journal.incarnation != other.incarnation
    assert len(journal.cursor_key) == len(other.cursor_key) == 32
    assert journal.cursor_key != other.cursor_key
    assert (journal.head, journal.commits) == (0, 0)
    await other.close()


async def test_a_closed_journal_refuses_everything_and_closes_again(journal: AnyJournal) -> None:
    await journal.close()

    for requested in (
        put(journal, RUN, turn(), after=0),
        journal.load(RUN),
        journal.open_runs(),
        journal.messages(RUN),
    ):
        with pytest.raises(AgentError) as refused:
            await requested
        assert refused.value.reason is ErrorReason.DRAINING
    await journal.close()


async def test_a_content_that_is_not_of_its_digest_is_refused_naming_run_and_event(journal: AnyJournal) -> None:
    damaged = Content(ContentRef(HELLO.ref.digest, 5, HELLO.ref.media_type), b"hellp")
    refers = r.TurnStarted(at=AT, input=(damaged.ref,))
    await put(journal, RUN, turn(), refers, after=0, contents=[damaged, WORLD])

    assert await journal.content(RUN.namespace, [WORLD.ref.digest]) == {WORLD.ref.digest: b"world"}
    with pytest.raises(AgentError) as refused:
        await journal.content(RUN.namespace, [WORLD.ref.digest, HELLO.ref.digest], run=RUN.run_id)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert refused.value.metadata == {"run_id": "run-1", "first_bad": "2"}


async def test_a_content_that_must_be_there_and_is_not_is_refused_naming_run_and_event(journal: AnyJournal) -> None:
    refers = r.TurnStarted(at=AT, input=(HELLO.ref,))
    await put(journal, RUN, turn(), turn(), refers, after=0, contents=[WORLD])

    assert await journal.content(RUN.namespace, [WORLD.ref.digest, HELLO.ref.digest]) == {WORLD.ref.digest: b"world"}
    with pytest.raises(AgentError) as refused:
        await journal.content(RUN.namespace, [WORLD.ref.digest, HELLO.ref.digest], run=RUN.run_id, required=True)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert refused.value.metadata == {"run_id": "run-1", "first_bad": "3"}


async def test_a_content_asked_for_in_a_namespace_alone_is_refused_naming_no_run(journal: AnyJournal) -> None:
    damaged = Content(ContentRef(HELLO.ref.digest, 5, HELLO.ref.media_type), b"hellp")
    await put(journal, RUN, r.TurnStarted(at=AT, input=(damaged.ref,)), after=0, contents=[damaged])

    for digest in (HELLO.ref.digest, WORLD.ref.digest):
        with pytest.raises(AgentError) as refused:
            await journal.content(RUN.namespace, [digest], required=True)
        assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
        assert refused.value.metadata == {"run_id": "", "first_bad": ""}
        assert digest in refused.value.message
