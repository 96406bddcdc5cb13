"""The process dies at any moment: what was acknowledged is there, and nothing half."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.errors import AgentError, ErrorReason

from tests.ports.journal_builders import check_chain
from tests.ports.writing_child import RUNS


async def acknowledged(directory: Path, lines: int) -> list[list[str]]:
    """Runs a writing process, kills it after that many lines, and returns all it has said."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.ports.writing_child",
        str(directory),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert child.stdout is not None
    said = [await child.stdout.readline() for _ in range(lines)]
    with pytest.raises(AgentError) as refused:
        SqliteJournal.open(directory)
    assert refused.value.reason is ErrorReason.JOURNAL_BUSY
    assert f"process {child.pid} " in refused.value.message
    child.kill()
    said += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    return [line.decode().split() for line in said if line.endswith(b"\n")]


async def test_a_killed_process_loses_nothing_it_has_acknowledged(tmp_path: Path) -> None:
    message: list[list[str]] = []
    for lines in (1, 30, 200, 75):
        message += await acknowledged(tmp_path, lines)

        journal = SqliteJournal.open(tmp_path)

        events = [await journal.read(run, after=0, limit=100_000) for run in RUNS]
        stored = {(number, event.seq): event for number in range(len(RUNS)) for event in events[number]}
        for number, seq, position, own_hash, digest in message:
            event = stored[int(number), int(seq)]
            assert (event.position, event.hash.hex()) == (int(position), own_hash)
            assert digest in await journal.content(RUNS[0].namespace, [digest])
        assert sorted(event.position for event in stored.values()) == list(range(1, journal.head + 1))
        for run, chain in zip(RUNS, events, strict=True):
            check_chain(run, chain)
            loaded = await journal.load(run)
            assert (loaded.state.seq, loaded.last_position) == (len(chain), chain[-1].position) if loaded else not chain
            assert len(chain) % 2 == 0  # the two records of an append are there or not, never one of them
        beside = await journal.entries(RUNS[0].namespace, "written", limit=100_000)
        assert len(beside) == sum(map(len, events)) // 2  # and so is what was written beside them
        await journal.close()
    assert len(message) >= 306
