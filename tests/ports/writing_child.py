"""A process that appends to four runs at once until it is killed, and tells of each append once it is durable."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from runwright.adapters.sqlite import SqliteJournal
from runwright.core.content import Content

from tests.ports.journal_builders import key, put, turn

RUNS = tuple(key(f"run-{number}") for number in range(4))


async def write(journal: SqliteJournal, number: int) -> None:
    loaded = await journal.load(RUNS[number])
    for seq in count(loaded.state.seq if loaded else 0, 2):
        content = Content.text(f"{number}/{seq}")
        stored = await put(journal, RUNS[number], turn(), turn(), after=seq, contents=[content])
        for event in stored:
            print(number, event.seq, event.position, event.hash.hex(), content.ref.digest, flush=True)


async def main(directory: Path) -> None:
    journal = SqliteJournal.open(directory)
    await asyncio.gather(*(write(journal, number) for number in range(len(RUNS))))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
