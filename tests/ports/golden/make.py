"""Makes the golden journal of the present version: `python -m tests.ports.golden.make NAME`.

It is made once, before anything of what is stored is changed, and never again for the same version: a golden that
follows the code proves nothing. With the name of one that is there nothing is written: the exit status says whether
this build would write the same, byte for byte. Of a version that is not the present one it would not.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sqlite3
import sys
import tempfile
from pathlib import Path

from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import schema, usage
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.testing import ManualClock

from tests.ports.golden import old_rows, played, side_rows, written
from tests.ports.golden.exports import export

HERE = Path(__file__).parent
WHOLE = RunKey(Namespace("default"), RunId("denied"))  # whose export is kept as it is; of others the digest


class Counted:
    """In place of `secrets`: the same bytes every time."""

    def __init__(self) -> None:
        self._drawn = itertools.count()

    def token_bytes(self, size: int) -> bytes:
        """The next ones."""
        return hashlib.sha256(b"golden %d" % next(self._drawn)).digest()[:size]

    def token_hex(self, size: int) -> str:
        """The next ones, printed."""
        return self.token_bytes(size).hex()


async def make(directory: Path) -> None:
    """The journal, with its identity and epochs counted instead of drawn."""
    drawn, schema.secrets, usage.secrets = (schema.secrets, usage.secrets), Counted(), Counted()  # type: ignore[assignment]
    try:
        journal = SqliteJournal.open(directory)
    finally:
        schema.secrets, usage.secrets = drawn
    await played.play(journal)
    await written.write(journal)  # behind it: they ended so long ago that they would be removed
    await side_rows.write(journal)
    await played.register(journal)
    played.note(journal)
    await old_rows.rewrite(journal, directory)
    await journal.close()
    old_rows.leave(directory)


def dump(directory: Path) -> str:
    """The closed file as SQL, a statement a line but for tables."""
    db = sqlite3.connect(directory / "journal.db")
    text = "\n".join(db.iterdump()) + "\n"
    db.close()
    return text


def keys(directory: Path) -> list[RunKey]:
    """Every run that has not been removed, in the order in which they began."""
    db = sqlite3.connect(directory / "journal.db")
    found = db.execute("SELECT namespace, run_id FROM runs WHERE removed_at = 0 ORDER BY run_no").fetchall()
    db.close()
    return [RunKey(Namespace(namespace), RunId(run_id)) for namespace, run_id in found]


async def exports(directory: Path) -> dict[RunKey, str]:
    """What is exported of every run; nothing is taken up, so nothing goes on."""
    runs = keys(directory)
    runtime = played.bench(SqliteJournal.open(directory), ManualClock(played.LATER), away=True).runtime()
    found = {run: await export(runtime, run) for run in runs}
    await runtime.close()
    return found


def digests(found: dict[RunKey, str]) -> str:
    """A line a run: the digest of its export, and its name."""
    named = {f"{run.namespace}/{run.run_id}": text.encode() for run, text in found.items()}
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in named.items())
    return "\n".join(lines) + "\n"


def main(name: str) -> None:
    """Writes the three files of a golden, or compares those that are there."""
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(make(Path(place)))
        sql = dump(Path(place))
        found = asyncio.run(exports(Path(place)))
    files = {f"{name}.sql": sql, f"{name}.export.jsonl": found[WHOLE], f"{name}.exports.sha256": digests(found)}
    if HERE.joinpath(f"{name}.sql").exists():
        differing = [file for file, text in files.items() if HERE.joinpath(file).read_text() != text]
        sys.exit(f"differs from what is written now: {', '.join(differing)}" if differing else 0)
    for file, text in files.items():
        HERE.joinpath(file).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
