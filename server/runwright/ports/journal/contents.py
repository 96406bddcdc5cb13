"""Contents: the bytes that events refer to by digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runwright.core.ids import Namespace, RunId


class Contents(Protocol):
    """Stored once in a namespace, whoever refers to them; gone with the last event that does."""

    async def content(
        self, namespace: Namespace, digests: Sequence[str], *, run: RunId | None = None, required: bool = False
    ) -> dict[str, bytes]:
        """The stored bytes of these digests in the namespace, each checked against its digest.

        Raises JOURNAL_CORRUPT for one that is damaged. Missing ones are left out, unless they are
        `required`: then they are JOURNAL_CORRUPT as well. `run` is the run they are read for, where there is one:
        the error names it and its first event that refers to the content.
        """
