"""The registry: whose a registration is, how long it lasts, and that store, dialer and memory agree."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from runwright.adapters.memory import MemoryCallbacks
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.callback_kinds import CallbackKind, Details, DispatcherHost, PolicyHost, ToolExecutor
from runwright.core.callbacks import MAX_PER_NAMESPACE, Callback, Health, HealthKind, UnusedTool
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.executor_names import ExecutorNames
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.name_owners import NameOwners
from runwright.core.principal import Principal, Role
from runwright.ports.access import Credentials
from runwright.ports.audit import NoAudit
from runwright.ports.callbacks import CallbackStore
from runwright.runtime.callbacks import registry
from runwright.runtime.callbacks.registration_rules import RegistrationRules
from runwright.runtime.callbacks.registry import FORGET_AGAIN_US, CallbackRegistry
from runwright.testing import ManualClock

from tests.builders import SECOND, ListLog
from tests.runtime.watching import eventually, quiet

TOOLS = Principal("tools", DEFAULT_NAMESPACE, frozenset({Role.EXECUTOR}))
OTHERS = Principal("others", DEFAULT_NAMESPACE, frozenset({Role.EXECUTOR}))
ADMIN = Principal("root", DEFAULT_NAMESPACE, frozenset({Role.ADMIN}))


class FakeDialer:
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

    def unused(self, callback: Callback) -> Sequence[UnusedTool]:
        """Nothing was looked for."""
        return ()

    def health(self, callback: Callback) -> Health:
        """See the port."""
        return Health(HealthKind.UNKNOWN, 0)


class Keys:
    """An Authenticator of credentials that are there until they are taken out of `roles`."""

    def __init__(self, *credentials: str) -> None:
        self.roles = dict.fromkeys(credentials, Role.EXECUTOR)

    def authenticate(self, credentials: Credentials) -> Principal:
        """Never asked for here."""
        raise AssertionError

    def is_current(self, principal: Principal) -> bool:
        """Never asked for here."""
        raise AssertionError

    def still_has(self, principal: Principal, role: Role) -> bool:
        """See the port."""
        return self.roles.get(principal.credential) is role


class ListAudit(NoAudit):
    """An audit that keeps its entries."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def note(self, what: AuditEntry) -> None:
        """See the port."""
        self.entries.append(what)


class Office:
    """A registry and its parts; `again` is the next process on the same store."""

    def __init__(
        self,
        store: CallbackStore | None = None,
        clock: ManualClock | None = None,
        rules: RegistrationRules | None = None,
    ) -> None:
        self.store = store or MemoryCallbacks()
        self.clock = clock or ManualClock()
        self.dialer = FakeDialer()
        self.log = ListLog()
        self.audit = ListAudit()
        self.rules = rules or RegistrationRules()
        self.registry = CallbackRegistry(
            store=self.store,
            dialer=self.dialer,
            clock=self.clock,
            log=self.log,
            rules=self.rules,
            audit=self.audit,
        )

    async def again(self, rules: RegistrationRules | None = None) -> Office:
        """What comes after a kill."""
        following = Office(self.store, self.clock, rules or self.rules)
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
    value = {"name": "desk", "address": "127.0.0.1:1", "lease": 10 * SECOND, **fields}
    return Callback(namespace=owner.namespace, callback_id=callback_id, owner=owner.name, **value)  # type: ignore[arg-type]


async def refusal(requested: object) -> AgentError:
    """How something is refused."""
    with pytest.raises(AgentError) as refused:
        await requested  # type: ignore[misc]
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
    await office.registry.register(wanted(address="127.0.0.1:2", details=ToolExecutor(("look",))))

    [retained] = await office.store.load()
    assert (retained.address, retained.details) == ("127.0.0.1:2", ToolExecutor(("look",)))
    assert list(office.dialer.opened.values()) == [retained]


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
    office.dialer.examining.clear()
    requested = [asyncio.create_task(office.registry.register(wanted(owner=owner))) for owner in (TOOLS, OTHERS)]
    await quiet()
    office.dialer.examining.set()

    outcomes = await asyncio.gather(*requested, return_exceptions=True)

    assert sorted(isinstance(outcome, AgentError) for outcome in outcomes) == [False, True]


async def test_a_registration_ends_by_its_owner_or_an_admin(office: Office) -> None:
    for name in ("one", "two"):
        await office.registry.register(wanted(name))

    error = await refusal(office.registry.unregister(OTHERS, "one"))
    await office.registry.unregister(TOOLS, "one")
    await office.registry.unregister(ADMIN, "two")
    gone = await refusal(office.registry.unregister(TOOLS, "one"))

    assert (error.reason, gone.reason) == (ErrorReason.CALLBACK_TAKEN, ErrorReason.CALLBACK_NOT_FOUND)
    assert office.ids() == list(office.dialer.opened) == list(await office.store.load()) == []


async def test_what_is_not_renewed_is_forgotten_everywhere(office: Office) -> None:
    await office.registry.register(wanted("long", lease=20 * SECOND))
    await office.registry.register(wanted("short"))  # over before what was waited for
    await quiet()

    office.clock.advance(10 * SECOND)
    after_the_short = office.ids()
    await eventually(lambda: len(office.dialer.opened) == 1)
    stored = [each.callback_id for each in await office.store.load()]
    office.clock.advance(10 * SECOND)
    await eventually(lambda: not office.dialer.opened)

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
    assert len(office.dialer.opened) == 1


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
    assert list(second.dialer.opened.values()) == stored
    assert stored[0].credential == "tok"
    for each in (first, second):
        await each.registry.close()
    if journal:
        await journal.close()


async def test_a_caller_that_leaves_leaves_no_half_registration(office: Office) -> None:
    requested = asyncio.create_task(office.registry.register(wanted()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    requested.cancel()
    await quiet()

    stored = [each.callback_id for each in await office.store.load()]

    assert stored == office.ids() == [name for _, name in office.dialer.opened]


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
    await eventually(lambda: not office.dialer.opened)  # the lease is over whatever the disk says

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


async def test_a_name_belongs_to_the_first_that_holds_a_lease_under_it(office: Office) -> None:
    await office.registry.register(wanted("one"))
    await office.registry.register(wanted("two"))

    error = await refusal(office.registry.register(wanted("three", owner=OTHERS)))
    await office.registry.register(wanted("three", owner=OTHERS, name="shelf"))
    moved = await refusal(office.registry.register(wanted("three", owner=OTHERS)))
    await office.registry.register(wanted("three", owner=replace(OTHERS, namespace=Namespace("team-b"))))
    office.clock.advance(10 * SECOND)
    await office.registry.register(wanted("three", owner=OTHERS))
    late = await refusal(office.registry.register(wanted("one")))

    taken = (ErrorReason.CALLBACK_TAKEN, {"callback_id": "three", "executor": "desk", "field": "spec.executor"})
    assert [(each.reason, each.metadata) for each in (error, moved)] == [taken, taken]
    assert late.metadata == {"callback_id": "one", "executor": "desk", "field": "spec.executor"}


async def test_a_name_is_free_once_its_last_registration_is_ended(office: Office) -> None:
    await office.registry.register(wanted("one"))
    await office.registry.unregister(TOOLS, "one")

    assert (await office.registry.register(wanted("two", owner=OTHERS))).callback.owner == "others"


@pytest.mark.parametrize(
    ("names", "who"),
    [
        (ExecutorNames({"desk": ("others",)}), {"others"}),
        (ExecutorNames({"desk": ("tools", "others")}), {"tools", "others"}),
        (ExecutorNames({"desk": ("tools",), "default/desk": ("others",)}), {"others"}),
        (ExecutorNames({"team-b/desk": ("others",)}), {"tools"}),
        (ExecutorNames.of({}, {"desk": "127.0.0.1:1"}), set()),
        (ExecutorNames.of({}, {"desk": "others@127.0.0.1:1"}), {"others"}),
        (ExecutorNames.of({"desk": ("tools",)}, {"desk": "others@127.0.0.1:1"}), {"tools"}),
    ],
)
async def test_a_name_belongs_to_whom_the_operator_names(names: ExecutorNames, who: set[str]) -> None:
    office = Office(rules=RegistrationRules({CallbackKind.TOOL_EXECUTOR: names}))

    for owner in (TOOLS, OTHERS):
        with suppress(AgentError):
            await office.registry.register(wanted(owner.name, owner))

    assert set(office.ids()) == who


async def test_who_may_not_have_a_name_is_refused_before_his_address_is_looked_up(office: Office) -> None:
    await office.registry.register(wanted("one"))
    office.dialer.examining.clear()

    error = await refusal(office.registry.register(wanted("two", owner=OTHERS)))

    assert error.reason is ErrorReason.CALLBACK_TAKEN


@pytest.mark.parametrize("details", [ToolExecutor(), PolicyHost(), DispatcherHost()])
async def test_a_start_with_other_owners_ends_what_they_do_not_cover(office: Office, details: Details) -> None:
    await office.registry.register(wanted("one", details=details))
    await office.registry.register(wanted("two", name="shelf", details=details))

    following = await office.again(RegistrationRules({details.kind: NameOwners({"desk": ("others",)})}))

    assert following.ids() == [name for _, name in following.dialer.opened] == ["two"]
    assert [each.callback_id for each in await office.store.load()] == ["two"]
    [entry] = following.audit.entries
    assert (entry.reason, entry.principal, entry.subjects) == ("CALLBACK_TAKEN", "tools", ("one",))


@pytest.mark.parametrize("details", [ToolExecutor(), PolicyHost(), DispatcherHost()])
async def test_other_owners_end_at_once_what_they_do_not_cover(office: Office, details: Details) -> None:
    await office.registry.register(wanted("one", details=details))
    await office.registry.register(wanted("two", name="shelf", details=details))

    await office.registry.replace_names({details.kind: NameOwners({"desk": ("others",)})})
    error = await refusal(office.registry.register(wanted("one", details=details)))
    answer = await office.registry.register(wanted("three", OTHERS, details=details))

    assert office.ids() == sorted(name for _, name in office.dialer.opened) == ["three", "two"]
    assert {each.callback_id for each in await office.store.load()} == {"two", "three"}
    [entry] = office.audit.entries
    assert (entry.kind, entry.reason, entry.subjects) == (AuditKind.REGISTRATION_REFUSED, "CALLBACK_TAKEN", ("one",))
    assert error.reason is ErrorReason.CALLBACK_TAKEN
    assert answer.callback.owner == "others"


async def test_other_owners_end_what_stands_at_once_and_what_is_on_its_way_to_a_slow_disk_after_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.registry.register(wanted("two"))
    arrived, moves, put = asyncio.Event(), asyncio.Event(), office.store.put

    async def slowly(callback: Callback) -> None:
        arrived.set()
        await moves.wait()
        await put(callback)

    monkeypatch.setattr(office.store, "put", slowly)
    registering = asyncio.create_task(office.registry.register(wanted("one")))
    await arrived.wait()
    replacing = asyncio.create_task(
        office.registry.replace_names({CallbackKind.TOOL_EXECUTOR: NameOwners({"desk": ("others",)})})
    )
    await quiet()
    at_once = (office.ids(), list(office.dialer.opened))
    moves.set()
    await asyncio.gather(registering, replacing)

    assert at_once == ([], [])
    assert (office.ids(), list(office.dialer.opened), list(await office.store.load())) == ([], [], [])


async def test_of_two_that_an_older_server_let_in_one_stays(office: Office) -> None:
    now = office.clock.now()
    for name, owner, left in (("one", OTHERS, 9), ("two", TOOLS, 8)):
        await office.store.put(replace(wanted(name, owner), expires_at=now + left * SECOND))

    following = await office.again()

    assert following.ids() == ["two"]


async def test_a_registration_ends_within_a_second_of_its_key(office: Office) -> None:
    keys = Keys("old", "new")
    office = await office.again(RegistrationRules(authenticator=keys))
    await office.registry.register(wanted("one", owner_key="old"))
    await office.registry.register(wanted("two", owner_key="new"))
    await quiet()

    del keys.roles["old"]
    office.clock.advance(SECOND)
    await quiet()

    assert office.ids() == [name for _, name in office.dialer.opened] == ["two"]
    assert [each.callback_id for each in await office.store.load()] == ["two"]
    [entry] = office.audit.entries
    assert (entry.kind, entry.principal, entry.subjects) == (AuditKind.CREDENTIAL_REVOKED, "tools", ("one",))


async def test_a_disk_that_stands_still_keeps_no_revoked_registration_connected(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys("key")
    office = await office.again(RegistrationRules(authenticator=keys))
    for name in ("one", "two", "three"):
        await office.registry.register(wanted(name, owner_key="key"))
    await quiet()
    moves, remove = asyncio.Event(), office.store.remove

    async def slowly(namespace: Namespace, callback_id: str) -> None:
        await moves.wait()
        await remove(namespace, callback_id)

    monkeypatch.setattr(office.store, "remove", slowly)
    del keys.roles["key"]
    office.clock.advance(SECOND)
    await quiet()
    held = office.ids(), list(office.dialer.opened), len(await office.store.load())
    moves.set()
    await quiet()

    assert held == ([], [], 3)
    assert list(await office.store.load()) == []


async def test_what_is_registered_anew_while_its_end_is_written_stays(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys("old", "new")
    office = await office.again(RegistrationRules(authenticator=keys))
    await office.registry.register(wanted(owner_key="old"))
    await quiet()
    moves, put = asyncio.Event(), office.store.put

    async def slowly(callback: Callback) -> None:
        await moves.wait()
        await put(callback)

    monkeypatch.setattr(office.store, "put", slowly)
    renewing = asyncio.create_task(office.registry.register(wanted(owner_key="new")))
    await quiet()
    del keys.roles["old"]
    office.clock.advance(SECOND)
    await quiet()
    meanwhile = office.ids()
    moves.set()
    await renewing
    await quiet()

    assert meanwhile == []
    assert office.ids() == [name for _, name in office.dialer.opened] == ["one"]
    assert [each.owner_key for each in await office.store.load()] == ["new"]


async def test_a_wall_clock_that_is_set_back_does_not_put_off_the_end_of_a_key(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CHECK_KEYS_US", 1_000)  # of a clock that stands still
    keys = Keys("key")
    office = await office.again(RegistrationRules(authenticator=keys))
    await office.registry.register(wanted(owner_key="key"))
    office.clock.advance(-3600 * SECOND)

    keys.roles.clear()

    await eventually(lambda: not office.ids())


async def test_a_clock_that_was_set_back_makes_no_lease_longer(office: Office) -> None:
    await office.registry.register(wanted(lease=10 * SECOND))
    office.clock.advance(-3600 * SECOND)

    following = await office.again()
    before = following.ids()
    await quiet()
    office.clock.advance(10 * SECOND)
    await eventually(lambda: not following.dialer.opened)

    assert before == ["one"]


async def test_a_key_that_loses_its_role_ends_what_it_registered(office: Office) -> None:
    keys = Keys("key")
    office = await office.again(RegistrationRules(authenticator=keys))
    await office.registry.register(wanted(owner_key="key"))
    await quiet()

    keys.roles["key"] = Role.CALLER
    office.clock.advance(SECOND)
    await quiet()

    assert office.ids() == []


@pytest.mark.parametrize("key", ["gone", ""])
async def test_what_was_made_with_a_key_that_is_gone_is_not_opened_by_the_next_start(key: str, office: Office) -> None:
    await office.store.put(replace(wanted(owner_key=key), expires_at=office.clock.now() + SECOND))

    following = await office.again(RegistrationRules(authenticator=Keys("another")))

    assert following.ids() == list(following.dialer.opened) == list(await office.store.load()) == []


async def test_a_server_without_keys_does_not_take_up_what_was_made_with_one(office: Office) -> None:
    await office.store.put(replace(wanted(owner_key="key"), expires_at=office.clock.now() + SECOND))

    assert (await office.again()).ids() == []


async def test_a_renewal_with_another_key_of_the_owner_goes_on_by_that_key(office: Office) -> None:
    keys = Keys("old", "new")
    office = await office.again(RegistrationRules(authenticator=keys))
    first = await office.registry.register(wanted(owner_key="old"))
    second = await office.registry.register(wanted(owner_key="new"))
    await quiet()

    del keys.roles["old"]
    office.clock.advance(SECOND)
    await quiet()

    assert first.callback.is_renewed_by(second.callback), "it stays connected"
    assert office.ids() == ["one"]


async def test_a_key_that_is_revoked_while_the_address_is_looked_up_registers_nothing(office: Office) -> None:
    keys = Keys("key")
    office = await office.again(RegistrationRules(authenticator=keys))
    office.dialer.examining.clear()
    requested = asyncio.create_task(office.registry.register(wanted(owner_key="key")))
    await quiet()

    del keys.roles["key"]
    office.dialer.examining.set()

    assert (await refusal(requested)).reason is ErrorReason.UNAUTHENTICATED
    assert office.ids() == list(await office.store.load()) == []


async def test_a_full_disk_does_not_keep_a_revoked_registration(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys("key")
    office = await office.again(RegistrationRules(authenticator=keys))
    await office.registry.register(wanted(owner_key="key", lease=3600 * SECOND))
    await quiet()
    remove, disk = office.store.remove, [AgentError(ErrorReason.JOURNAL_FULL, "Full.", metadata={"retry_after": "1s"})]

    async def removed(namespace: Namespace, callback_id: str) -> None:
        if disk:
            raise disk.pop()
        await remove(namespace, callback_id)

    monkeypatch.setattr(office.store, "remove", removed)
    del keys.roles["key"]
    office.clock.advance(SECOND)
    await quiet()
    ended, stored = list(office.dialer.opened), len(await office.store.load())
    office.clock.advance(FORGET_AGAIN_US)
    await quiet()

    assert (ended, stored) == ([], 1)
    assert list(await office.store.load()) == []


async def test_pages_go_by_id_and_by_executor(office: Office) -> None:
    for number in range(5):
        await office.registry.register(wanted(f"c{number}", name="desk" if number % 2 else "shelf"))

    page, more = office.registry.page(DEFAULT_NAMESPACE, after="c1", limit=2)
    last, none = office.registry.page(DEFAULT_NAMESPACE, after="c3", limit=2)
    desks, _ = office.registry.page(DEFAULT_NAMESPACE, named=(CallbackKind.TOOL_EXECUTOR, "desk"), limit=10)

    assert ([one.callback.callback_id for one in page], more) == (["c2", "c3"], True)
    assert ([one.callback.callback_id for one in last], none) == (["c4"], False)
    assert [one.callback.callback_id for one in desks] == ["c1", "c3"]
