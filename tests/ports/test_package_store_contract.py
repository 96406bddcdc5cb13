"""What every PackageStore keeps to: in memory, and in the journal's file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from runwright.adapters.memory import MemoryPackages
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import inspection
from runwright.adapters.sqlite.inspecting.backup import back_up, restore
from runwright.adapters.sqlite.inspecting.verification import verify
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.stored_packages import ChangeOutcome, StoredPackage, WantedChange
from runwright.ports.packages import PackageStore

OTHER = Namespace("other")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PackageStore]:
    """Each of them, empty."""
    if request.param == "memory":
        yield MemoryPackages()
        return
    journal = SqliteJournal.open(tmp_path)
    yield journal.packages()
    await journal.close()


def stored(name: str, package_id: str = "desk", namespace: Namespace = DEFAULT_NAMESPACE) -> StoredPackage:
    """A package whose fingerprint is its name."""
    return StoredPackage(
        namespace=namespace,
        fingerprint=name,
        package_id=package_id,
        agent_id="helper",
        put_by="ann",
        put_at=7,
        canonical=b'{"name":"%s"}' % name.encode(),
    )


def put(name: str, package_id: str = "desk", namespace: Namespace = DEFAULT_NAMESPACE, **fields: Any) -> WantedChange:
    """A put of that package."""
    package = stored(name, package_id, namespace)
    return WantedChange(namespace=namespace, fingerprint=name, principal="ann", at=9, package=package, **fields)


def move(tag: str, name: str, **fields: Any) -> WantedChange:
    """A move of a tag."""
    return WantedChange(namespace=DEFAULT_NAMESPACE, fingerprint=name, principal="bob", at=11, tag=tag, **fields)


async def test_what_is_put_comes_back_whole_and_only_in_its_namespace(store: PackageStore) -> None:
    answer = await store.change(put("f1"))

    assert (answer.outcome, answer.created, answer.previous) == (ChangeOutcome.MADE, True, "")
    assert await store.get(DEFAULT_NAMESPACE, "f1") == stored("f1")
    assert await store.get(OTHER, "f1") is None
    assert await store.page(OTHER, limit=9) == []
    assert (await store.latest(DEFAULT_NAMESPACE, "desk"), await store.latest(OTHER, "desk")) == ("f1", "")


async def test_a_package_is_immutable_and_its_first_put_stays_on_record(store: PackageStore) -> None:
    await store.change(put("f1"))
    await store.change(put("f2"))

    again = await store.change(
        WantedChange(
            namespace=DEFAULT_NAMESPACE,
            fingerprint="f1",
            principal="eve",
            at=99,
            package=StoredPackage(
                namespace=DEFAULT_NAMESPACE,
                fingerprint="f1",
                package_id="desk",
                agent_id="x",
                put_by="eve",
                put_at=99,
                canonical=b"{}",
            ),
        )
    )

    assert (again.outcome, again.created) == (ChangeOutcome.MADE, False)
    assert await store.get(DEFAULT_NAMESPACE, "f1") == stored("f1")
    assert await store.latest(DEFAULT_NAMESPACE, "desk") == "f1"
    assert (await store.change(put("f1"))).outcome is ChangeOutcome.UNCHANGED


async def test_a_tag_is_moved_to_what_is_there_from_where_it_is_expected(store: PackageStore) -> None:
    await store.change(put("f1"))
    await store.change(put("f2"))

    answers = [
        await store.change(move("prod", "f9")),
        await store.change(move("prod", "f1", expected="f2")),
        await store.change(move("prod", "f1", expected="")),
        await store.change(move("prod", "f2", expected="")),
        await store.change(move("prod", "f2", expected="f1")),
        await store.change(move("prod", "f2")),
    ]

    assert [(answer.outcome, answer.previous) for answer in answers] == [
        (ChangeOutcome.NOT_THERE, ""),
        (ChangeOutcome.TAG_ELSEWHERE, ""),
        (ChangeOutcome.MADE, ""),
        (ChangeOutcome.TAG_ELSEWHERE, "f1"),
        (ChangeOutcome.MADE, "f1"),
        (ChangeOutcome.UNCHANGED, "f2"),
    ]
    assert await store.tagged(DEFAULT_NAMESPACE, "prod") == "f2"
    assert await store.tagged(OTHER, "prod") == ""
    assert await store.history(OTHER, "prod", before=None, limit=9) == []
    moves = await store.history(DEFAULT_NAMESPACE, "prod", before=None, limit=9)
    assert [(one.fingerprint, one.previous, one.principal) for one in moves] == [("f2", "f1", "bob"), ("f1", "", "bob")]
    assert await store.history(DEFAULT_NAMESPACE, "prod", before=moves[0].number, limit=9) == moves[1:]


async def test_a_refused_put_leaves_nothing(store: PackageStore) -> None:
    await store.change(put("f1", tag="prod"))

    refused = await store.change(put("f2", tag="prod", expected=""))

    assert refused.outcome is ChangeOutcome.TAG_ELSEWHERE
    assert await store.get(DEFAULT_NAMESPACE, "f2") is None
    assert await store.latest(DEFAULT_NAMESPACE, "desk") == "f1"


async def test_a_request_id_stands_for_one_request_for_ever(store: PackageStore) -> None:
    made = await store.change(put("f1", tag="prod", expected="", request_id="q"))
    await store.change(put("f2", tag="prod"))

    again = await store.change(put("f1", tag="prod", expected="", request_id="q"))
    taken = [
        await store.change(put("f3", tag="prod", request_id="q")),
        await store.change(put("f1", request_id="q")),
        await store.change(move("prod", "f1", request_id="q")),
    ]

    assert (again.outcome, again.created, again.previous) == (ChangeOutcome.UNCHANGED, made.created, made.previous)
    assert {answer.outcome for answer in taken} == {ChangeOutcome.REQUEST_TAKEN}
    assert await store.tagged(DEFAULT_NAMESPACE, "prod") == "f2"
    assert (await store.change(put("f1", "desk", OTHER, request_id="q"))).outcome is ChangeOutcome.MADE


async def test_even_what_changes_nothing_is_remembered_under_its_request_id(store: PackageStore) -> None:
    await store.change(put("f1", tag="prod"))
    await store.change(move("prod", "f1", request_id="q"))
    await store.change(put("f2", tag="prod"))

    await store.change(move("prod", "f1", request_id="q"))

    assert await store.tagged(DEFAULT_NAMESPACE, "prod") == "f2"


async def test_pages_go_on_behind_the_last_and_end(store: PackageStore) -> None:
    for number in range(5):
        await store.change(put(f"f{number}", "even" if number % 2 == 0 else "odd"))
    await store.change(put("f9", "even", OTHER))

    first = await store.page(DEFAULT_NAMESPACE, limit=2)
    rest = await store.page(DEFAULT_NAMESPACE, after=first[-1].fingerprint, limit=9)
    odd = await store.page(DEFAULT_NAMESPACE, package_id="odd", limit=9)

    assert [one.fingerprint for one in [*first, *rest]] == ["f4", "f3", "f2", "f1", "f0"]
    assert [one.fingerprint for one in odd] == ["f3", "f1"]
    assert {one.canonical for one in [*first, *rest]} == {b""}
    assert await store.page(DEFAULT_NAMESPACE, after="f9", limit=9) == []


async def test_tags_are_those_that_point_there_now(store: PackageStore) -> None:
    await store.change(put("f1", tag="b"))
    await store.change(move("a", "f1"))
    await store.change(put("f2", tag="c"))
    await store.change(move("b", "f2"))

    assert await store.tags(DEFAULT_NAMESPACE, ["f1", "f2", "f3"]) == {"f1": ["a"], "f2": ["b", "c"]}
    assert await store.tags(DEFAULT_NAMESPACE, ["f2"]) == {"f2": ["b", "c"]}
    assert sorted(await store.names(DEFAULT_NAMESPACE, limit=9)) == ["a", "b", "c", "desk"]
    assert await store.tags(OTHER, ["f1"]) == {}


async def test_of_two_moves_from_one_place_one_is_made(store: PackageStore) -> None:
    for name in ("f0", "f1", "f2"):
        await store.change(put(name))
    await store.change(move("prod", "f0"))

    answers = await asyncio.gather(*(store.change(move("prod", name, expected="f0")) for name in ("f1", "f2") * 10))

    assert [answer.outcome for answer in answers].count(ChangeOutcome.MADE) == 1
    assert len(await store.history(DEFAULT_NAMESPACE, "prod", before=None, limit=99)) == 2


async def test_a_namespace_has_so_many_packages_and_tags_and_another_its_own(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    kept = journal.packages()
    kept.most, kept.most_tags = 2, 2
    for store in (MemoryPackages(most=2, most_tags=2), kept):
        for name in ("f1", "f2"):
            await store.change(put(name, tag=f"of-{name}"))

        answers = [
            await store.change(put("f3")),
            await store.change(put("f1", tag="more")),
            await store.change(move("more", "f1")),
            await store.change(put("f1", tag="of-f2")),
            await store.change(put("f3", "desk", OTHER, tag="more")),
        ]

        assert [(answer.outcome, answer.most) for answer in answers] == [
            (ChangeOutcome.FULL, 2),
            (ChangeOutcome.TAGS_FULL, 2),
            (ChangeOutcome.TAGS_FULL, 2),
            (ChangeOutcome.MADE, 0),
            (ChangeOutcome.MADE, 0),
        ]
    await journal.close()


async def test_what_is_in_the_file_is_in_its_backup(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path / "one")
    await journal.packages().change(put("f1", tag="prod"))
    back_up(tmp_path / "one", tmp_path / "copy.db")
    await journal.close()
    restore(tmp_path / "copy.db", tmp_path / "two")

    journal = SqliteJournal.open(tmp_path / "two")
    kept = journal.packages()

    assert await kept.get(DEFAULT_NAMESPACE, await kept.tagged(DEFAULT_NAMESPACE, "prod")) == stored("f1")
    await journal.close()


@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        ("UPDATE packages SET canonical = x'7b7d'", "package f1"),
        ("UPDATE packages SET agent_id = 'x'", "package f1"),
        ("UPDATE package_changes SET fingerprint = 'f2'", "package change 1"),
        ("DELETE FROM packages", "package change 1"),
    ],
)
async def test_what_is_not_as_it_was_written_is_found_by_doctor_and_not_used(
    tmp_path: Path, statement: str, subject: str
) -> None:
    journal = SqliteJournal.open(tmp_path)
    await journal.packages().change(put("f1", tag="prod"))
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute(statement)
    db.close()

    with inspection.opened(tmp_path / "journal.db", busy_timeout_ms=0) as db:
        faults = verify(db).faults
    journal = SqliteJournal.open(tmp_path)
    kept = journal.packages()

    assert [fault.subject.partition(" of ")[0] for fault in faults] == [subject]
    if statement.startswith("UPDATE"):
        with pytest.raises(AgentError) as refused:
            await kept.get(DEFAULT_NAMESPACE, await kept.tagged(DEFAULT_NAMESPACE, "prod"))
        assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    await journal.close()
