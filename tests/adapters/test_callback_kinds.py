"""Callbacks of whatever kind: a kind that is added has leases, health, credentials and names like the first one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from grpc_health.v1 import health_pb2
from msgspec import Struct
from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as dispatchers
from runwright._gen.runwright.callback.v1 import policy_service_pb2 as policies
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as executors
from runwright.adapters.clock import SystemClock
from runwright.adapters.memory import MemoryCallbacks
from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialer import Dialer
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.bootstrap import build_runtime
from runwright.core import callback_kinds
from runwright.core.allow_list import LOOPBACK, AllowList
from runwright.core.callback_kinds import KINDS, CallbackKind, KindRow
from runwright.core.callbacks import HealthKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.principal import LOCAL, Principal, Role
from runwright.runtime.callbacks.registration_rules import RegistrationRules
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.settings import Settings
from runwright.transport.methods import METHODS

from tests.adapters.callback_hosts import SECRET, Host, callback, dialling
from tests.builders import ListLog
from tests.cli.files import package_file
from tests.runtime.watching import eventually

REGISTER = "/runwright.callback.v1.CallbackRegistryService/RegisterCallback"


class Invented(Enum):
    """A kind that no server has."""

    REFEREE = 99


REFEREE = Invented.REFEREE


class Referee(Struct, frozen=True):
    """What a callback of an invented kind says of itself: nothing."""

    kind: ClassVar[Any] = REFEREE

    def check(self) -> None:
        """Whatever it says is right."""


class RefereeCaller:
    """Whoever would call referees: it has the connections it was given."""

    def __init__(self) -> None:
        self.connections: list[CallbackConnection] = []
        self.changes = 0

    def opened(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        self.connections.append(connection)

    def dropped(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        self.connections.remove(connection)

    def changed(self) -> None:
        """See CallbackCaller."""
        self.changes += 1


class Keys:
    """Whose key has which role."""

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self.roles = dict(roles)

    def still_has(self, principal: Principal, role: Role) -> bool:
        """See the port."""
        return self.roles.get(principal.credential) is role


@pytest.fixture
def referees(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefereeCaller]:
    """A second kind: its row and its caller are all that is added."""
    row = KindRow("acme.RefereeService", Role.APPROVER, "referee")
    monkeypatch.setattr(callback_kinds, "KINDS", KINDS)
    monkeypatch.setitem(KINDS, REFEREE, row)  # type: ignore[call-overload]
    yield RefereeCaller()


async def test_a_kind_that_is_added_is_registered_leased_examined_and_called_like_the_first(
    referees: RefereeCaller,
) -> None:
    host = Host(accepts=f"Bearer {SECRET}")
    await host.start(has_health=True)
    dialer = Dialer(AllowList.parse(LOOPBACK), ListLog())
    callbacks = DialledCallbacks(dialer, SystemClock())
    callbacks.attach(REFEREE, referees)  # type: ignore[arg-type]
    registry = CallbackRegistry(store=MemoryCallbacks(), dialer=callbacks, clock=SystemClock(), log=ListLog())
    await registry.load()

    mine = callback(host, name="cup", details=Referee(), owner=LOCAL.name, credential=SECRET)
    await registry.register(mine)
    await eventually(lambda: callbacks.health(mine).kind is HealthKind.HEALTHY)
    [connection] = referees.connections
    with connection.call() as channel:
        assert channel is not None
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = health_pb2.HealthCheckResponse.FromString(await check(b"", metadata=connection.metadata))
    listed, _ = registry.page(DEFAULT_NAMESPACE, named=(REFEREE, "cup"), limit=9)  # type: ignore[arg-type]
    others, _ = registry.page(DEFAULT_NAMESPACE, named=(CallbackKind.TOOL_EXECUTOR, "cup"), limit=9)
    await registry.unregister(LOCAL, mine.callback_id)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert (len(listed), others) == (1, [])
    assert referees.changes > 0
    assert referees.connections == []
    await registry.close()
    await callbacks.close(REFEREE)  # type: ignore[arg-type]
    await host.stop()


async def test_each_kind_has_names_of_its_own(referees: RefereeCaller) -> None:
    rules = RegistrationRules()
    executor = callback(1, "a", name="desk", owner="tools")
    referee = callback(2, "b", name="desk", owner="others", details=Referee())

    rules.require(referee, [executor])
    with pytest.raises(AgentError) as refused:
        rules.require(callback(3, "c", name="desk", owner="third", details=Referee()), [executor, referee])

    assert refused.value.reason is ErrorReason.CALLBACK_TAKEN
    assert "The referee name desk" in refused.value.message


async def test_the_key_of_a_registration_needs_the_role_of_its_kind(referees: RefereeCaller) -> None:
    rules = RegistrationRules(authenticator=Keys({"k1": Role.EXECUTOR, "k2": Role.APPROVER}))  # type: ignore[arg-type]

    held = {
        (key, type(details).__name__)
        for key in ("k1", "k2")
        for details in (callback_kinds.ToolExecutor(), Referee())
        if rules.has_key(callback(1, owner_key=key, details=details))
    }

    assert held == {("k1", "ToolExecutor"), ("k2", "Referee")}


async def test_closing_one_kind_leaves_the_connections_of_another(referees: RefereeCaller) -> None:
    host = Host()
    await host.start()
    async with dialling() as tools:
        callbacks = tools.callbacks
        assert callbacks is not None
        callbacks.attach(REFEREE, referees)  # type: ignore[arg-type]
        referee = callback(host, "b", details=Referee())
        callbacks.open(callback(host, "a"))
        callbacks.open(referee)
        await eventually(lambda: callbacks.health(referee).kind is HealthKind.HEALTHY)

        await tools.close()
        [connection] = referees.connections
        is_ready = connection.is_ready
        await callbacks.close(REFEREE)  # type: ignore[arg-type]

    assert is_ready
    await host.stop()


def test_every_kind_has_a_row_with_a_service_of_the_protos_and_a_role_that_may_register() -> None:
    services = {row.service for row in KINDS.values()}

    assert set(KINDS) == set(CallbackKind)
    files = (executors, policies, dispatchers)
    served = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    assert services <= {service.full_name for service in served}
    [register] = [method for method in METHODS if method.path == REGISTER]
    assert {row.role for row in KINDS.values()} <= (register.roles or frozenset())


async def test_every_kind_that_can_be_registered_has_a_caller_in_the_server(tmp_path: Path) -> None:
    details = get_args(callback_kinds.Details) or (callback_kinds.ToolExecutor,)
    settings = Settings(data=tmp_path / "data", packages=(package_file(tmp_path),))

    async with build_runtime(settings) as (_, registry):
        await registry.load()
        for each in details:
            await registry.register(callback(1, each.kind.name, owner=LOCAL.name, details=each()))
        listed, _ = registry.page(DEFAULT_NAMESPACE, limit=9)
        await registry.close()

    assert {each.kind for each in details} == set(CallbackKind)
    assert {one.callback.kind for one in listed} == set(CallbackKind)
