"""Space: how much room a journal takes and has, and when that is little."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

DEFAULT_FREE_BYTES = 1024**3
DEFAULT_FREE_PERCENT = 10.0


class Space(Struct, frozen=True, kw_only=True):
    """Sizes in bytes. `used` is what the journal holds, `reusable` what it has room for inside its file.

    `wal` is the file beside it. `max_bytes` bounds both files, None when only the disk does.
    """

    used: int
    reusable: int
    wal: int
    max_bytes: int | None
    disk_free: int
    disk_total: int

    @property
    def taken(self) -> int:
        """What counts towards `max_bytes`, but for room that can be used again."""
        return self.used + self.wal


class LeastSpace(Struct, frozen=True):
    """Below what there is too little: bytes of the disk, or percent of the disk or of the journal's bound."""

    free_bytes: int = DEFAULT_FREE_BYTES
    free_percent: float = DEFAULT_FREE_PERCENT

    def of_disk(self, free: int, total: int) -> bool:
        """True when the disk has too little."""
        return free < self.free_bytes or free < total * self.free_percent / 100

    def of_journal(self, space: Space) -> bool:
        """True when the journal has too little left of its bound."""
        bound = space.max_bytes
        return bound is not None and bound - space.taken < bound * self.free_percent / 100

    def shortages(self, space: Space) -> Iterator[str]:
        """What there is too little of, in a sentence each, with figures."""
        if self.of_disk(space.disk_free, space.disk_total):
            yield f"the disk of the data directory has {_share(space.disk_free, space.disk_total)} free"
        if space.max_bytes is not None and self.of_journal(space):
            left = space.max_bytes - space.taken
            yield f"the journal has {_share(left, space.max_bytes)} left of journal_max_bytes"


def _share(part: int, whole: int) -> str:
    return f"{max(0, part) / 1024**2:.1f} of {whole / 1024**2:.1f} MiB"
