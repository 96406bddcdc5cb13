"""The registry: whose a registration is, how long it lasts, and that store, dialler and memory agree."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace
from runwright.adapters.memory import MemoryCallbacks
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.callbacks import MAX_PER_NAMESPACE, Callback, Health, HealthKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.principal import Principal, Role
from runwright.ports.callbacks import CallbackStore
from runwright.runtime.callbacks import CallbackRegistry
from runwright.testing import ManualClock

from tests.builders import SECOND, ListLog
from tests.runtime.watching import eventually, quiet

TOOLS = Principal("tools", DEFAULT_NAMESPACE, frozenset({Role.EXECUTOR}))
OTHERS = Principal("others", DEFAULT_NAMESPACE, frozenset({Role.EXECUTOR}))
ADMIN = Principal("root", DEFAULT_NAMESPACE, frozenset({Role.ADMIN}))


class Dialler:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.opened: dict[tuple[Namespace, str], Callback] = {}
        self.examining = asyncio.Event()
        self.examining.set()

    async def examine(self, callback: Callback) -> None:
        """See the port."""
        await self.examining.wait()

    def open(self, callback: Callback) -> None:
        """See the port."""
        self.opened[(callback.namespace, callback.callback_id)] = callback

    def drop(self, namespace: Namespace, callback_id: str) -> None:
        """See the port."""
        self.opened.pop((namespace, callback_id), None)

    def health(self, callback: Callback) -> Health:
        """See the port."""
        return Health(HealthKind.UNKNOWN, 0)


class Office:
    """A registry and its parts; `again` is the next process on the same store."""

    def __init__(self, store: CallbackStore | None = None, clock: ManualClock | None = None) -> None:
        self.store = store or MemoryCallbacks()
        self.clock = clock or ManualClock()
        self.dialler = Dialler()
        self.log = ListLog()
        self.registry = CallbackRegistry(store=self.store, dialler=self.dialler, clock=self.clock, log=self.log)

    async def again(self) -> Office:
        """What comes after a kill."""
        following = Office(self.store, self.clock)
        await following.registry.load()
        return following

    def ids(self) -> list[str]:
        """The ids of the default namespace."""
        return [one.callback.callback_id for one in self.registry.page(DEFAULT_NAMESPACE, limit=1000)[0]]


@pytest.fixture
async def office() -> Office:
    """One that is open."""
    made = Office()
    await made.registry.load()
    return made


def wanted(callback_id: str = "one", owner: Principal = TOOLS, **fields: object) -> Callback:
    """A registration for ten seconds."""
    given = {"executor": "desk", "address": "127.0.0.1:1", "lease": 10 * SECOND, **fields}
    return Callback(namespace=owner.namespace, callback_id=callback_id, owner=owner.name, **given)  # type: ignore[arg-type]


async def refusal(asked: object) -> AgentError:
    """How something is refused."""
    with pytest.raises(AgentError) as refused:
        await asked  # type: ignore[misc]
    return refused.value


async def test_registering_again_renews_and_says_until_when(office: Office) -> None:
    first = await office.registry.register(wanted())
    office.clock.advance(7 * SECOND)
    second = await office.registry.register(wanted())

    assert second.callback.expires_at - first.callback.expires_at == 7 * SECOND
    assert office.ids() == ["one"]
    assert [line.event for line in office.log.lines] == ["callback registered"], "a renewal is no news"


async def test_another_body_replaces(office: Office) -> None:
    await office.registry.register(wanted())
    await office.registry.register(wanted(address="127.0.0.1:2", tools=("look",)))

    [kept] = await office.store.load()
    assert (kept.address, kept.tools) == ("127.0.0.1:2", ("look",))
    assert list(office.dialler.opened.values()) == [kept]


async def test_anothers_id_is_refused_until_its_lease_is_over(office: Office) -> None:
    await office.registry.register(wanted())

    error = await refusal(office.registry.register(wanted(owner=OTHERS)))
    foreign = replace(OTHERS, namespace=Namespace("team-b"))
    await office.registry.register(wanted(owner=foreign))
    office.clock.advance(10 * SECOND)
    taken_over = await office.registry.register(wanted(owner=OTHERS))

    assert (error.reason, error.metadata) == (ErrorReason.CALLBACK_TAKEN, {"callback_id": "one"})
    assert taken_over.callback.owner == "others"


async def test_two_who_ask_at_once_do_not_both_get_it(office: Office) -> None:
    office.dialler.examining.clear()
    asked = [asyncio.create_task(office.registry.register(wanted(owner=owner))) for owner in (TOOLS, OTHERS)]
    await quiet()
    office.dialler.examining.set()

    outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert sorted(isinstance(outcome, AgentError) for outcome in outcomes) == [False, True]


async def test_a_registration_ends_by_its_owner_or_an_admin(office: Office) -> None:
    for name in ("one", "two"):
        await office.registry.register(wanted(name))

    error = await refusal(office.registry.unregister(OTHERS, "one"))
    await office.registry.unregister(TOOLS, "one")
    await office.registry.unregister(ADMIN, "two")
    gone = await refusal(office.registry.unregister(TOOLS, "one"))

    assert (error.reason, gone.reason) == (ErrorReason.CALLBACK_TAKEN, ErrorReason.CALLBACK_NOT_FOUND)
    assert office.ids() == list(office.dialler.opened) == list(await office.store.load()) == []


async def test_what_is_not_renewed_is_forgotten_everywhere(office: Office) -> None:
    await office.registry.register(wanted("long", lease=20 * SECOND))
    await office.registry.register(wanted("short"))  # over before what was waited for
    await quiet()

    office.clock.advance(10 * SECOND)
    after_the_short = office.ids()
    await eventually(lambda: len(office.dialler.opened) == 1)
    stored = [each.callback_id for each in await office.store.load()]
    office.clock.advance(10 * SECOND)
    await eventually(lambda: not office.dialler.opened)

    assert after_the_short == stored == ["long"]
    assert list(await office.store.load()) == []
    assert [line.event for line in office.log.lines][2:] == ["callback lease over"] * 2


async def test_a_renewal_that_comes_with_the_end_of_the_lease_wins(office: Office) -> None:
    await office.registry.register(wanted())
    await quiet()
    office.clock.advance(9 * SECOND)
    await office.registry.register(wanted())

    office.clock.advance(9 * SECOND)
    await quiet()

    assert office.ids() == ["one"]
    assert len(office.dialler.opened) == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_next_process_takes_up_what_is_still_leased(kind: str, tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path) if kind == "sqlite" else None
    first = Office(journal.callbacks() if journal else None)
    await first.registry.load()
    await first.registry.register(wanted("long", lease=60 * SECOND, credential="tok"))
    await first.registry.register(wanted("short"))
    first.clock.advance(30 * SECOND)

    second = await first.again()
    stored = list(await second.store.load())

    assert second.ids() == ["long"]
    assert list(second.dialler.opened.values()) == stored
    assert stored[0].credential == "tok"
    for each in (first, second):
        await each.registry.close()
    if journal:
        await journal.close()


async def test_a_caller_that_leaves_leaves_no_half_registration(office: Office) -> None:
    asked = asyncio.create_task(office.registry.register(wanted()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    await quiet()

    stored = [each.callback_id for each in await office.store.load()]

    assert stored == office.ids() == [name for _, name in office.dialler.opened]


async def test_a_store_that_fails_changes_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await office.registry.register(wanted())

    async def full(*_: object) -> None:
        raise AgentError(ErrorReason.JOURNAL_FULL, "The disk is full.", metadata={"retry_after": "30s"})

    monkeypatch.setattr(office.store, "put", full)
    monkeypatch.setattr(office.store, "remove", full)
    errors = [
        await refusal(office.registry.register(wanted("two"))),
        await refusal(office.registry.unregister(TOOLS, "one")),
    ]
    held = office.ids()
    await quiet()
    office.clock.advance(10 * SECOND)
    await eventually(lambda: not office.dialler.opened)  # the lease is over whatever the disk says

    assert [error.reason for error in errors] == [ErrorReason.JOURNAL_FULL] * 2
    assert held == ["one"]
    assert "callback cannot be forgotten" in [line.event for line in office.log.lines]


async def test_a_namespace_holds_so_many_and_renews_them_all_the_same(office: Office) -> None:
    for number in range(MAX_PER_NAMESPACE):
        await office.registry.register(wanted(f"c{number}"))

    error = await refusal(office.registry.register(wanted("one-more")))
    await office.registry.register(wanted("c0"))
    await office.registry.register(wanted("one-more", owner=replace(TOOLS, namespace=Namespace("team-b"))))

    assert (error.reason, error.metadata) == (ErrorReason.CALLBACK_LIMIT, {"limit": str(MAX_PER_NAMESPACE)})


async def test_pages_go_by_id_and_by_executor(office: Office) -> None:
    for number in range(5):
        await office.registry.register(wanted(f"c{number}", executor="desk" if number % 2 else "shelf"))

    page, more = office.registry.page(DEFAULT_NAMESPACE, after="c1", limit=2)
    last, none = office.registry.page(DEFAULT_NAMESPACE, after="c3", limit=2)
    desks, _ = office.registry.page(DEFAULT_NAMESPACE, executor="desk", limit=10)

    assert ([one.callback.callback_id for one in page], more) == (["c2", "c3"], True)
    assert ([one.callback.callback_id for one in last], none) == (["c4"], False)
    assert [one.callback.callback_id for one in desks] == ["c1", "c3"]
