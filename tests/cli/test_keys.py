"""`runwright keys`: changes of one file by several at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from runwright.adapters.keys import read_keys
from runwright.cli.keys import add, revoke
from runwright.core.principal import Role


def test_changes_at_the_same_time_neither_lose_a_key_nor_bring_one_back(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add("old", file, [Role.CALLER])
    (old,) = read_keys(file).keys
    together = Barrier(9)

    def added(number: int) -> None:
        together.wait()
        add(f"new-{number}", file, [Role.CALLER])

    def revoked() -> None:
        together.wait()
        revoke(old.id, file)

    with ThreadPoolExecutor(9) as pool:
        changes = [pool.submit(revoked), *(pool.submit(added, number) for number in range(8))]
    for change in changes:
        change.result()

    assert sorted(entry.name for entry in read_keys(file).keys) == [f"new-{number}" for number in range(8)]
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
