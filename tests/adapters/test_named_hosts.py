"""Those who wait for a host of a name: called once, in their order, in turns of the loop, for their name alone."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.dialer import Dialer
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.named_hosts import CALLED_AT_ONCE, HostWait, NamedHosts
from runwright.core.allow_list import LOOPBACK, AllowList
from runwright.core.callback_kinds import CallbackKind
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace

from tests.builders import ListLog
from tests.runtime.watching import quiet

MANY = 2 * CALLED_AT_ONCE + 1


class Hosts(NamedHosts):
    """Those that are there are `there`, by their names; counts how often somebody looks, and keeps who was called."""

    def __init__(self) -> None:
        dialer = Dialer(AllowList.parse(LOOPBACK), ListLog())
        super().__init__(DialledCallbacks(dialer, SystemClock()), CallbackKind.POLICY)
        self.there: set[str] = set()
        self.looks = 0
        self.called: list[int] = []

    def is_there(self, namespace: Namespace, name: str) -> bool:
        """See the class."""
        self.looks += 1
        return name in self.there

    def wait_of(self, number: int, name: str = "chat") -> HostWait:
        """One more waits."""
        return self.wait_for(DEFAULT_NAMESPACE, name, partial(self.called.append, number))


@pytest.fixture
def hosts() -> Hosts:
    """Nobody is there."""
    return Hosts()


async def test_many_who_wait_are_called_in_their_order_a_few_in_a_turn(hosts: Hosts) -> None:
    for number in range(MANY):
        hosts.wait_of(number)
    hosts.there.add("chat")

    hosts.changed()
    in_a_turn = [len(hosts.called)]
    while len(hosts.called) < MANY:
        hosts.changed()  # as when a call to somebody else ends: nobody is called twice, and nobody sooner
        await asyncio.sleep(0)
        in_a_turn.append(len(hosts.called) - sum(in_a_turn))
    hosts.changed()
    await quiet()

    assert in_a_turn == [CALLED_AT_ONCE, CALLED_AT_ONCE, 1]
    assert hosts.called == list(range(MANY))


async def test_whoever_left_or_whose_host_went_again_is_not_called(hosts: Hosts) -> None:
    waits = [hosts.wait_of(number) for number in range(MANY)]
    hosts.there.add("chat")

    hosts.changed()
    waits[CALLED_AT_ONCE].leave()
    waits[CALLED_AT_ONCE].leave()
    hosts.there.clear()
    await quiet()
    while_away = len(hosts.called)
    hosts.there.add("chat")
    hosts.changed()
    await quiet()

    assert while_away == CALLED_AT_ONCE
    assert hosts.called == [number for number in range(MANY) if number != CALLED_AT_ONCE]


async def test_one_that_is_called_may_have_others_leave(hosts: Hosts) -> None:
    def there() -> None:
        second.leave()

    hosts.wait_for(DEFAULT_NAMESPACE, "chat", there)
    second = hosts.wait_of(2)
    hosts.there.add("chat")

    hosts.changed()
    await quiet()

    assert hosts.called == []


async def test_who_waits_for_another_name_is_not_looked_at_one_by_one(hosts: Hosts) -> None:
    for number in range(MANY):
        hosts.wait_of(number, "away")
    hosts.wait_of(MANY)
    hosts.there.add("chat")

    hosts.changed()
    await quiet()

    assert hosts.called == [MANY]
    assert hosts.looks == 2, "once for each name"
