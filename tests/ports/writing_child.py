"""A process that appends to four runs at once until it is killed, and tells of each append once it is durable."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from runwright.adapters.sqlite import SqliteJournal
from runwright.core.content import Content
from runwright.core.side_rows import PutEntry
from runwright.ports.journal import Appended

from tests.ports.journal_builders import key, state, turn

RUNS = tuple(key(f"run-{number}") for number in range(4))


async def write(journal: SqliteJournal, number: int) -> None:
    loaded = await journal.load(RUNS[number])
    for seq in count(loaded.state.seq if loaded else 0, 2):
        content = Content.text(f"{number}/{seq}")
        snapshot = state(RUNS[number], seq + 2)
        beside = (PutEntry("written", f"{number}/{seq:08}"),)
        append = journal.append(
            RUNS[number], [turn(), turn()], after=seq, contents=[content], snapshot=snapshot, side_rows=beside
        )
        outcome = await append
        assert isinstance(outcome, Appended)
        for event in outcome.events:
            print(number, event.seq, event.position, event.hash.hex(), content.ref.digest, flush=True)


async def main(directory: Path) -> None:
    journal = SqliteJournal.open(directory)
    await asyncio.gather(*(write(journal, number) for number in range(len(RUNS))))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
