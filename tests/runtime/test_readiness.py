"""Readiness: true to what is written, what was refused and what room there is, whether or not a run is open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.space import Space
from runwright.runtime import AgentRuntime
from runwright.runtime.housekeeping.readiness import Readiness, room

MIB = 1024 * 1024


class Store:
    """A store with so much room."""

    def __init__(self) -> None:
        self.left = 100 * MIB
        self.fails = False

    async def space(self) -> Space:
        if self.fails:
            raise OSError("unplugged")
        return Space(used=0, reusable=0, wal=0, max_bytes=None, disk_free=self.left, disk_total=200 * MIB)


@pytest.fixture
def store() -> Store:
    return Store()


def readiness_of(journal: object, blockage: str | None = None) -> Readiness:
    runtime: Any = SimpleNamespace(ports=SimpleNamespace(journal=journal), write_blockage=lambda: blockage)
    return Readiness(cast(AgentRuntime, runtime))


def refusal(reason: ErrorReason) -> AgentError:
    return AgentError(reason, "No.", metadata={"retry_after": "2s"})


async def test_with_room_and_nothing_refused_it_is_ready(store: Store) -> None:
    assert await readiness_of(store).is_ready()


async def test_runs_that_cannot_be_written_make_it_unready(store: Store) -> None:
    assert not await readiness_of(store, "JOURNAL_FULL").is_ready()


async def test_without_room_it_is_unready_before_anybody_is_refused(store: Store) -> None:
    store.left = 8 * 1024

    assert not await readiness_of(store).is_ready()


async def test_a_refused_write_makes_it_unready_until_there_is_ample_room(store: Store) -> None:
    readiness = readiness_of(store)
    store.left = 60 * 1024  # enough for a small start, not for the one that was refused
    readiness.refused(refusal(ErrorReason.JOURNAL_FULL))
    before = [await readiness.is_ready() for _ in range(20)]

    store.left = 100 * MIB
    after = [await readiness.is_ready() for _ in range(20)]

    assert not any(before)
    assert after[-1]


async def test_a_refusal_for_another_reason_says_nothing_of_the_journal(store: Store) -> None:
    readiness = readiness_of(store)

    readiness.refused(refusal(ErrorReason.DRAINING))

    assert await readiness.is_ready()


async def test_a_held_journal_is_remembered_for_some_looks_where_room_says_nothing() -> None:
    readiness = readiness_of(object())
    readiness.refused(refusal(ErrorReason.JOURNAL_BUSY))

    looks = [await readiness.is_ready() for _ in range(10)]

    assert not looks[0] and looks[-1]


async def test_room_that_cannot_be_measured_is_no_verdict(store: Store) -> None:
    store.fails = True

    assert await readiness_of(store).is_ready()


def test_room_is_the_least_of_disk_and_bound() -> None:
    space = Space(used=900, reusable=0, wal=0, max_bytes=1000, disk_free=5000, disk_total=10_000)

    assert room(space) == 100
