"""A process that removes old runs, an event a commit, until it is killed, and tells of each step that is durable."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from runwright.adapters.sqlite import SqliteJournal


async def main(directory: Path, before: int) -> None:
    journal = SqliteJournal.open(directory)
    more = True
    while more:
        step = await journal.remove_ended(before=before, now=before, limit=1)
        more = step.more
        print(step.events, *(run.run_id for run in step.runs), flush=True)
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
