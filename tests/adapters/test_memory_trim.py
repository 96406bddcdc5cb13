"""Memory that was freed is given back, and memory that is in use is not asked for all the time."""

from __future__ import annotations

import pytest
from runwright.adapters.memory_trim import EVERY_SECONDS, FRUITLESS_SECONDS, MemoryTrimmer, resident_bytes

MIB = 1024 * 1024


class Process:
    """A process of which `used` is in use and `kept` is free and not given back."""

    def __init__(self) -> None:
        self.used, self.retained, self.trims = 100 * MIB, 0, 0

    def resident(self) -> int:
        return self.used + self.retained

    def trim(self) -> None:
        self.trims += 1
        self.retained = 0


@pytest.fixture
def process() -> Process:
    return Process()


async def test_what_a_flood_left_is_given_back(process: Process) -> None:
    trimmer = MemoryTrimmer(process.resident, process.trim)
    await trimmer.look()
    process.retained = 400 * MIB

    wait = await trimmer.look()

    assert (process.resident(), process.trims, wait) == (100 * MIB, 1, EVERY_SECONDS)


async def test_a_process_that_has_not_grown_is_left_alone(process: Process) -> None:
    trimmer = MemoryTrimmer(process.resident, process.trim)
    for _ in range(3):
        await trimmer.look()
        process.retained = 5 * MIB

    assert process.trims == 0


async def test_memory_in_use_is_asked_for_less_often(process: Process) -> None:
    trimmer = MemoryTrimmer(process.resident, process.trim)
    await trimmer.look()
    process.used = 500 * MIB

    assert await trimmer.look() == FRUITLESS_SECONDS
    process.used, process.retained = 100 * MIB, 400 * MIB
    assert await trimmer.look() == EVERY_SECONDS
    assert process.resident() == 100 * MIB


async def test_without_anything_to_measure_nothing_is_trimmed(process: Process) -> None:
    await MemoryTrimmer(lambda: 0, process.trim).look()

    assert process.trims == 0


def test_a_process_knows_its_memory_in_bytes() -> None:
    assert resident_bytes() % 4096 == 0
