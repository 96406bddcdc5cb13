"""What every recovery log must do: count before anything is taken up, over starts that did not end cleanly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.memory.recovery import MemoryRecoveryLog
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.ids import RunKey
from runwright.core.quarantine import Stage, Suspect
from runwright.ports.recovery import RecoveryLog

from tests.ports.journal_builders import end, key, put, turn

NOW = 1_700_000_000_000_000


class Store:
    """A journal with three open runs and one that has ended, and its log, opened anew at will."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._journal: MemoryJournal | SqliteJournal = MemoryJournal()
        self.log: RecoveryLog = MemoryRecoveryLog(self._journal)

    async def open(self) -> None:
        if self._directory is not None:
            self._journal = SqliteJournal.open(self._directory)
            self.log = self._journal.recovery()

    async def fill(self) -> None:
        for name in ("a", "b", "c", "ended"):
            records = (turn(), end()) if name == "ended" else (turn(),)
            await put(self._journal, key(name), *records, after=0)

    async def reopen(self) -> RecoveryLog:
        """The log as the next process finds it."""
        if self._directory is not None:
            await self.close()
            await self.open()
        return self.log

    async def close(self) -> None:
        await self._journal.close()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path if request.param == "sqlite" else None)
    await store.open()
    await store.fill()
    yield store
    await store.close()


A, B, C = key("a"), key("b"), key("c")


def by_run(found: list[Suspect]) -> dict[RunKey, Suspect]:
    return {each.run: each for each in found}


async def test_open_runs_are_in_hand_from_the_first_start_on(store: Store) -> None:
    found = await store.log.begin(NOW)

    assert found == [Suspect(run, Stage.IN_HAND) for run in (A, B, C)]


async def test_a_start_without_an_end_counts_against_those_in_hand(store: Store) -> None:
    await store.log.begin(NOW)
    await store.log.settled([B])

    found = by_run(await (await store.reopen()).begin(NOW))

    assert [(run.run_id, each.tries, each.stage) for run, each in found.items()] == [
        ("a", 1, Stage.WAITING),
        ("b", 0, Stage.IN_HAND),
        ("c", 1, Stage.WAITING),
    ]


async def test_a_clean_end_counts_against_nobody(store: Store) -> None:
    await store.log.begin(NOW)
    await store.log.end()

    found = await (await store.reopen()).begin(NOW)

    assert {each.tries for each in found} == {0}


async def test_those_that_were_not_taken_up_have_an_alibi(store: Store) -> None:
    await store.log.begin(NOW)
    again = await store.reopen()
    await again.begin(NOW)
    await again.take_up([A], Stage.ALONE)

    found = by_run(await (await store.reopen()).begin(NOW))

    assert (found[A].tries, found[A].trials, found[A].against, found[A].alone) == (2, 1, 1, 1)
    assert (found[B].tries, found[B].trials) == (1, 0)


async def test_the_next_to_be_taken_up_acquits_the_one_before(store: Store) -> None:
    await store.log.begin(NOW)
    again = await store.reopen()
    await again.begin(NOW)
    await again.take_up([A], Stage.ALONE)
    await again.take_up([B], Stage.ALONE)

    found = by_run(await (await store.reopen()).begin(NOW))

    assert (found[A].tries, found[A].trials, found[A].against, found[A].alone) == (2, 0, 0, 0)
    assert (found[B].tries, found[B].alone) == (2, 1)


async def test_three_tries_that_tell_against_a_run_are_a_quarantine_that_a_clean_end_does_not_lift(
    store: Store,
) -> None:
    await store.log.begin(NOW)
    for _ in range(2):
        again = await store.reopen()
        await again.begin(NOW)
        await again.take_up([A], Stage.ALONE)
    quarantined = by_run(await (await store.reopen()).begin(NOW + 7))[A]
    await store.log.end()

    after = by_run(await (await store.reopen()).begin(NOW + 9))

    assert (quarantined.tries, quarantined.quarantined_at) == (3, NOW + 7)
    assert after[A].quarantined_at == NOW + 7
    assert after[B].tries == 0


async def test_settling_lifts_a_quarantine(store: Store) -> None:
    await test_three_tries_that_tell_against_a_run_are_a_quarantine_that_a_clean_end_does_not_lift(store)

    await store.log.settled([A])

    assert by_run(await (await store.reopen()).begin(NOW))[A].quarantined_at == 0
