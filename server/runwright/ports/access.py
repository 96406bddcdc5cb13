"""Who is behind a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from runwright.core.principal import Principal


class Credentials(Struct, frozen=True):
    """What a call brings: a bearer key, and the names a verified client certificate carries."""

    bearer: str | None = None
    subjects: Sequence[str] = ()


class Authenticator(Protocol):
    """Knows principals by their credentials."""

    def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind a call. Raises UNAUTHENTICATED, without saying what was wrong."""

    def is_current(self, principal: Principal) -> bool:
        """False once the principal's credential was revoked, has expired or was changed."""

    def principal_of(self, key_id: str) -> Principal | None:
        """Who the key or certificate of that id (`Principal.key_id`) stands for; None once it is revoked or expired.

        For what was done with it earlier and goes on, also over a restart.
        """
