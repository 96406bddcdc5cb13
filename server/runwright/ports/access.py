"""Who is behind a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from runwright.core.principal import Principal, Role


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

    def still_has(self, principal: Principal, role: Role) -> bool:
        """True while the principal's credential holds and gives it the role, whatever roles `principal` lists.

        Other roles or another expiry are no other credential; another secret under the same id is one.
        """
