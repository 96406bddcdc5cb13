"""Random histories of approvals: `python -m tests.properties.approval_histories FIRST COUNT`.

Each history follows from its seed alone: COUNT of them from FIRST on are played and held to the model of
`tests/properties/approvals`. One that breaks it is named by its seed; FIRST and a COUNT of 1 play it again.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.properties.approvals.history import History
from tests.properties.approvals.idle_loop import IdleLoop

# Every so many-th history has its journal in a file, whose threads may have it go another way the next time.
ON_DISK = 8


def check(seed: int, *, on_disk: bool | None = None) -> Counter[str]:
    """Plays one history. Raises AssertionError where it breaks the model. Returns what has happened, counted."""
    on_disk = seed % ON_DISK == 3 if on_disk is None else on_disk
    with _directory(on_disk) as directory:
        loop = IdleLoop()
        try:
            history = History(seed, loop, directory)
            loop.run_until_complete(history.play())
            return history.counts
        finally:
            _close(loop)


@contextmanager
def _directory(on_disk: bool) -> Iterator[Path | None]:
    if not on_disk:
        yield None
        return
    directory = Path(tempfile.mkdtemp(prefix="approvals-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _close(loop: IdleLoop) -> None:
    while left := asyncio.all_tasks(loop):  # what is cancelled may begin something else
        for task in left:
            task.cancel()
        loop.run_until_complete(loop.idle())
    loop.close()


def main(first: int, count: int) -> int:
    """Plays them; returns how many have broken the model."""
    counts, broken = Counter[str](), 0
    for seed in range(first, first + count):
        try:
            counts += check(seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this history's, and the others are played
            broken += 1
            said = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
            print(f"history {seed}: {said}", flush=True)
    print(f"{count} histories from {first} on, {broken} of them broken", dict(counts.most_common()))
    return broken


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), int(sys.argv[2]))))
