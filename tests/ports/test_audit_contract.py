"""What every audit must do: the first at once, the same again counted, a flood bounded, the order kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest
from runwright.adapters.audit_rules import MOST_OF_NAMESPACE, MOST_OF_PRINCIPAL
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite import audit as stored
from runwright.core.audit import AuditEntry, AuditKind, visible_to
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.ports.audit import Audit
from runwright.testing import ManualClock

from tests.ports.journal_builders import key, put, turn

MINUTE = 60_000_000
DENIED = AuditEntry(kind=AuditKind.ROLE_DENIED, principal="bob", namespace="team", method="/x/StartRun", reason="ROLE")


@dataclass
class Bench:
    """An audit, its clock, and a way to wait until what was noted is written."""

    audit: Audit
    clock: ManualClock
    written: Callable[[], Awaitable[None]]

    async def listed(self, *namespaces: str) -> list[tuple[int, str, int]]:
        """Number, reason and count of every entry, newest first."""
        await self.written()
        page = await self.audit.page(namespaces or ("team", ""), before=None, limit=1000)
        return [(entry.number, entry.reason or entry.kind.name, entry.count) for entry in page.entries]


@pytest.fixture(params=["memory", "sqlite"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock()

    async def nothing() -> None:
        pass

    if request.param == "memory":
        yield Bench(MemoryAudit(clock), clock, nothing)
        return
    journal = SqliteJournal.open(tmp_path)
    audit = journal.audit(clock)

    async def written() -> None:
        audit._flush(False)  # as the ticker does within a second
        await journal.set_max_bytes(None)  # whatever is queued before it is done by then

    yield Bench(audit, clock, written)
    await journal.close()


async def test_an_entry_comes_back_as_it_was(bench: Bench) -> None:
    note = AuditEntry(
        kind=AuditKind.ANSWER_IGNORED,
        principal="p",
        namespace="team",
        method="m",
        reason="late",
        subjects=("r", "c1.1"),
    )
    bench.audit.note(note)
    await bench.written()

    (entry,) = (await bench.audit.page(["team"], before=None, limit=10)).entries

    assert (entry.at, entry.number, entry.count) == (bench.clock.now(), 1, 1)
    assert (entry.kind, entry.principal, entry.namespace, entry.method, entry.reason, entry.subjects) == (
        note.kind,
        note.principal,
        note.namespace,
        note.method,
        note.reason,
        note.subjects,
    )


async def test_the_same_again_is_counted_and_told_when_the_minute_is_over(bench: Bench) -> None:
    for _ in range(500):
        bench.audit.note(DENIED)
        await bench.written()
    assert await bench.listed() == [(1, "ROLE", 1)]

    bench.clock.advance(MINUTE)

    assert await bench.listed() == [(2, "ROLE", 499), (1, "ROLE", 1)]
    bench.audit.note(DENIED)
    assert (await bench.listed())[0] == (3, "ROLE", 1)


async def test_a_flood_of_different_ones_is_bounded_and_what_was_dropped_is_counted(bench: Bench) -> None:
    for number in range(MOST_OF_NAMESPACE + 1000):
        bench.audit.note(AuditEntry(kind=AuditKind.UNAUTHENTICATED, subjects=(f"10.0.0.{number}",), reason="x" * 5000))

    listed = await bench.listed()

    assert len(listed) == MOST_OF_NAMESPACE + 1
    assert listed[0][1:] == ("ENTRIES_DROPPED", 1000)
    assert {len(reason) for _, reason, _ in listed[1:]} == {256}
    bench.clock.advance(MINUTE)
    bench.audit.note(DENIED)
    assert (await bench.listed())[0][1] == "ROLE"


def flood(audit: Audit, kind: AuditKind, *, namespace: str, principal: str, number: int = 100) -> None:
    """Notes so many different things that one principal was refused."""
    for each in range(number):
        audit.note(AuditEntry(kind=kind, namespace=namespace, principal=principal, subjects=(f"run-{each}",)))


async def test_a_flood_of_one_namespace_costs_no_other_one_its_entries(bench: Bench) -> None:
    for kind in (AuditKind.ROLE_DENIED, AuditKind.REGISTRATION_REFUSED, AuditKind.CANCEL_IGNORED):
        for principal in ("eve", "mallory", "oscar"):
            flood(bench.audit, kind, namespace="noisy", principal=principal)

    bench.audit.note(DENIED)

    assert await bench.listed("team") == [(number, "ROLE", 1) for number, _, _ in await bench.listed("team")]
    assert (await bench.listed("noisy"))[0][1] == "ENTRIES_DROPPED", "whose entries were dropped is told so"


async def test_a_flood_of_one_principal_costs_its_neighbours_nothing(bench: Bench) -> None:
    flood(bench.audit, AuditKind.ROLE_DENIED, namespace="team", principal="eve")

    bench.audit.note(DENIED)

    listed = await bench.listed("team")
    assert [reason for _, reason, _ in listed].count("ROLE") == 1
    assert [reason for _, reason, _ in listed].count("ROLE_DENIED") == MOST_OF_PRINCIPAL


async def test_what_merely_happens_often_leaves_room_for_what_concerns_security(bench: Bench) -> None:
    flood(bench.audit, AuditKind.CANCEL_IGNORED, namespace="team", principal="bob")
    flood(bench.audit, AuditKind.START_REFUSED, namespace="team", principal="bob")

    bench.audit.note(DENIED)

    assert [reason for _, reason, _ in await bench.listed("team")].count("ROLE") == 1


async def test_strangers_from_many_addresses_do_not_hide_that_keys_cannot_be_read(bench: Bench) -> None:
    for number in range(1000):
        bench.audit.note(AuditEntry(kind=AuditKind.UNAUTHENTICATED, subjects=(f"10.0.0.{number}",)))

    bench.audit.note(AuditEntry(kind=AuditKind.RELOAD_FAILED, reason="--keys"))

    assert "--keys" in [reason for _, reason, _ in await bench.listed("")]


async def test_pages_go_back_in_time_and_keep_namespaces_apart(bench: Bench) -> None:
    for number in range(6):
        bench.audit.note(
            AuditEntry(kind=AuditKind.ROLE_DENIED, namespace=("a", "b", "")[number % 3], reason=str(number))
        )
    await bench.written()

    first = await bench.audit.page(["a", ""], before=None, limit=3)
    second = await bench.audit.page(["a", ""], before=first.reached, limit=3)

    assert [entry.reason for entry in first.entries] == ["5", "3", "2"]
    assert [entry.reason for entry in second.entries] == ["0"]
    assert (first.more, second.more) == (True, False)
    assert list(visible_to(DEFAULT_NAMESPACE)) == ["default", ""]
    assert list(visible_to(Namespace("a"))) == ["a"]


async def test_any_thread_may_note(bench: Bench) -> None:
    threads = [threading.Thread(target=lambda: [bench.audit.note(DENIED) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    bench.clock.advance(MINUTE)

    assert sum(count for _, _, count in await bench.listed()) == 800


async def test_a_closed_journal_has_kept_everything_also_what_was_only_counted(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    audit = journal.audit(ManualClock())
    for _ in range(3):
        audit.note(DENIED)
    await journal.close()

    journal = SqliteJournal.open(tmp_path)
    entries = (await journal.audit(ManualClock()).page(["team"], before=None, limit=9)).entries
    await journal.close()

    assert [entry.count for entry in entries] == [2, 1]


async def test_a_disk_that_takes_nothing_delays_nobody_and_the_loss_is_recorded(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = SqliteJournal.open(tmp_path, busy_timeout_ms=10)
    audit = journal.audit(clock)
    intruder = apsw.Connection(str(tmp_path / "journal.db"))
    intruder.execute("BEGIN IMMEDIATE")
    audit.note(DENIED)
    audit._flush(False)
    await journal.set_max_bytes(None)
    intruder.execute("ROLLBACK")
    intruder.close()

    await put(journal, key(), turn(), after=0)
    audit._flush(False)
    await journal.set_max_bytes(None)

    (entry,) = (await audit.page(["team"], before=None, limit=9)).entries
    assert (entry.kind, entry.count) == (AuditKind.ENTRIES_DROPPED, 1)
    await journal.close()


async def test_the_oldest_go_when_there_are_too_many_and_the_chain_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "MOST_ENTRIES", 5)
    clock = ManualClock()
    journal = SqliteJournal.open(tmp_path)
    audit = journal.audit(clock)
    for number in range(9):
        audit.note(AuditEntry(kind=AuditKind.RELOAD_FAILED, reason=str(number)))
    await journal.close()

    db = apsw.Connection(str(tmp_path / "journal.db"))
    assert [number for (number,) in db.execute("SELECT number FROM audit")] == [5, 6, 7, 8, 9]
    assert stored.fault(db) == (5, "")
    db.close()


async def test_whatever_a_caller_says_an_entry_has_a_bound(bench: Bench) -> None:
    long = "x" * 5_000
    note = AuditEntry(
        kind=AuditKind.ROLE_DENIED,
        principal=long,
        namespace="team",
        method=long,
        reason=long,
        subjects=tuple(f"{number}{long}" for number in range(100)),
    )
    bench.audit.note(note)
    await bench.written()

    (entry,) = (await bench.audit.page(["team"], before=None, limit=10)).entries

    said = (entry.principal, entry.method, entry.reason, *entry.subjects)
    assert {len(text) for text in said} == {256}
    assert [subject[0] for subject in entry.subjects] == ["0", "1", "2", "3"]
