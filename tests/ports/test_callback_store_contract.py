"""What every CallbackStore keeps to: in memory, and in the journal's file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from runwright.adapters.memory import MemoryCallbacks
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.callback_rows import COLUMNS, check_of
from runwright.core.callback_kinds import ToolExecutor
from runwright.core.callbacks import Callback, Tls
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.ports.callbacks import CallbackStore

from tests.builders import ListLog

FULL = Callback(
    namespace=DEFAULT_NAMESPACE,
    callback_id="one",
    owner="tools",
    name="desk",
    address="[::1]:7761",
    details=ToolExecutor(("look", "write"), (("look", "sha256:" + "a" * 64),)),
    tls=Tls(b"-----BEGIN", "tools.internal"),
    credential="tok-1",
    lease=5_000_000,
    expires_at=1_700_000_000_000_000,
    max_calls_in_flight=3,
    owner_key="k1:0123:4567",
)
BARE = Callback(namespace=Namespace("a"), callback_id="two", owner="x", name="e", address="h:1")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CallbackStore]:
    """Each of them, empty."""
    if request.param == "memory":
        yield MemoryCallbacks()
        return
    journal = SqliteJournal.open(tmp_path)
    yield journal.callbacks()
    await journal.close()


async def test_what_is_put_comes_back_whole_and_in_order(store: CallbackStore) -> None:
    for each in (FULL, BARE):
        await store.put(each)

    assert list(await store.load()) == [BARE, FULL]


async def test_an_empty_store_holds_nothing(store: CallbackStore) -> None:
    assert list(await store.load()) == []


async def test_the_same_id_replaces_and_another_namespaces_does_not(store: CallbackStore) -> None:
    twin = replace(FULL, namespace=Namespace("team-b"), owner="others")
    later = replace(FULL, details=ToolExecutor(), tls=None, credential="", expires_at=FULL.expires_at + 1)
    for each in (FULL, twin, later):
        await store.put(each)

    assert list(await store.load()) == [later, twin]


async def test_what_is_removed_is_gone_and_removing_nothing_is_harmless(store: CallbackStore) -> None:
    twin = replace(FULL, namespace=Namespace("team-b"))
    for each in (FULL, twin):
        await store.put(each)

    await store.remove(FULL.namespace, FULL.callback_id)
    await store.remove(FULL.namespace, "nobody")

    assert list(await store.load()) == [twin]


async def test_tls_without_an_authority_is_still_tls(store: CallbackStore) -> None:
    await store.put(replace(FULL, tls=Tls()))

    assert [each.tls for each in await store.load()] == [Tls()]


async def test_the_file_keeps_it_for_the_next_process(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await journal.callbacks().put(FULL)
    await journal.close()

    again = SqliteJournal.open(tmp_path)
    retained = await again.callbacks().load()
    await again.close()

    assert retained == [FULL]
    assert (tmp_path / "journal.db").stat().st_mode & 0o077 == 0


async def test_a_full_file_says_so_and_keeps_what_was_there(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    store = journal.callbacks()
    await store.put(FULL)
    await journal.set_max_bytes(4096)

    with pytest.raises(AgentError) as refused:
        await store.put(replace(FULL, callback_id="two", tls=Tls(b"x" * 60_000)))

    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    assert await store.load() == [FULL]
    await journal.close()


async def test_a_closed_journal_takes_and_gives_nothing(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    store = journal.callbacks()
    await journal.close()

    async with asyncio.timeout(60):
        for requested in (store.put(FULL), store.remove(FULL.namespace, "one"), store.load()):
            with pytest.raises(AgentError):
                await requested


@pytest.mark.parametrize(
    "damage",
    [
        "address = '[::1]:7762'",
        "address = CAST(x'ff' AS TEXT)",
        "credential = 'tok-2'",
        "owner = 'others'",
        "tools = '['",
        "expires_at = expires_at + 1",
        "ca_pem = NULL",
        "row_check = x''",
    ],
)
async def test_a_registration_that_is_damaged_on_disk_is_not_used(tmp_path: Path, damage: str) -> None:
    journal = SqliteJournal.open(tmp_path)
    for each in (FULL, BARE):
        await journal.callbacks().put(each)
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute(f"UPDATE callbacks SET {damage} WHERE callback_id = 'one'")
    db.close()
    log = ListLog()

    journal = SqliteJournal.open(tmp_path, log=log)
    found = await journal.callbacks().load()
    await journal.callbacks().put(FULL)
    again = await journal.callbacks().load()
    await journal.close()

    assert (found, again) == ([BARE], [BARE, FULL])
    assert [line.fields["callback_id"] for line in log.lines if "registration" in line.event] == [
        "one",
    ]


async def test_a_registration_without_digests_is_stored_as_older_servers_did(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    for each in (FULL, replace(BARE, details=ToolExecutor(("look", "see")))):
        await journal.callbacks().put(each)
    await journal.close()

    db = apsw.Connection(str(tmp_path / "journal.db"))
    stored = dict(db.execute("SELECT callback_id, tools FROM callbacks"))
    db.close()

    digests = {"look": "sha256:" + "a" * 64}
    assert stored["two"] == '["look", "see"]'
    assert json.loads(stored["one"]) == {"kind": 1, "tools": ["look", "write"], "digests": digests}


async def test_a_registration_of_a_kind_of_a_newer_server_is_not_used(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    for each in (FULL, BARE):
        await journal.callbacks().put(each)
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    of_another_kind = ('{"kind": 7}',)
    db.execute("UPDATE callbacks SET tools = ? WHERE callback_id = 'one'", of_another_kind)
    [row] = db.execute(f"SELECT {COLUMNS} FROM callbacks WHERE callback_id = 'one'").fetchall()
    db.execute("UPDATE callbacks SET row_check = ? WHERE callback_id = 'one'", (check_of(row),))
    db.close()
    log = ListLog()

    journal = SqliteJournal.open(tmp_path, log=log)
    found = await journal.callbacks().load()
    await journal.close()

    assert found == [BARE]
    [line] = [line for line in log.lines if "kind" in line.event]
    assert line.fields["callback_id"] == "one"
