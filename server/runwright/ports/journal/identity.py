"""What a journal is recognised by, and how far it has come: what cursors and page tokens are made of."""

from __future__ import annotations

from typing import Protocol

from runwright.core.epochs import Epochs


class JournalIdentity(Protocol):
    """Never changes while the journal is open, but for `head`."""

    @property
    def incarnation(self) -> str:
        """Identity of this journal, made with it: another journal has another."""

    @property
    def cursor_key(self) -> bytes:
        """32 secret bytes that live as long as the journal: the key of cursors."""

    @property
    def epochs(self) -> Epochs:
        """Which process gave which positions, the present one included. They never change while it is open."""

    @property
    def head(self) -> int:
        """Position of the last durable event of the whole journal; 0 when empty.

        Never behind what a question has answered already.
        """
