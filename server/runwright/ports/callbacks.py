"""Registered callbacks: where they are kept, and who dials them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runwright.core.callbacks import Callback, Health, UnusedTool
from runwright.core.ids import Namespace


class CallbackStore(Protocol):
    """Registrations that outlive the process, their credentials with them. Failures are the journal's errors."""

    async def put(self, callback: Callback) -> None:
        """Keeps it in place of another with its namespace and id; durable on return."""

    async def remove(self, namespace: Namespace, callback_id: str) -> None:
        """Forgets it; harmless when there is none."""

    async def load(self) -> Sequence[Callback]:
        """Everything that is kept, by namespace and id."""


class CallbackDialer(Protocol):
    """Dials what is registered, of whatever kind, and knows how it is."""

    async def examine(self, callback: Callback) -> None:
        """Raises CALLBACK_ADDRESS_REFUSED or INVALID_REQUEST for what must not be dialled. Bounded in time."""

    def open(self, callback: Callback) -> None:
        """From now on sends calls there until `expires_at`, in place of what has its namespace and id."""

    def drop(self, namespace: Namespace, callback_id: str) -> None:
        """Sends no more calls there; those under way may answer."""

    def health(self, callback: Callback) -> Health:
        """How it is."""

    def unused(self, callback: Callback) -> Sequence[UnusedTool]:
        """The tools that it is not used for, by name, since packages have other schemas; since it was opened."""
