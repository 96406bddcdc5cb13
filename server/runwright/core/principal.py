"""Principals: who asks, what they may do, and whose runs they see."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from runwright.core.ids import DEFAULT_NAMESPACE, LOCAL_PRINCIPAL, Namespace


class Role(Enum):
    """What a principal may do. `admin` has every role of its namespace."""

    CALLER = "caller"  # starts and cancels runs
    OBSERVER = "observer"  # reads runs and their events
    EXECUTOR = "executor"  # registers the services that perform tool calls
    POLICY = "policy"  # registers the services that are asked as remote policies
    AUTHOR = "author"  # puts packages and moves their tags
    APPROVER = "approver"  # decides on approvals
    DISPATCHER = "dispatcher"  # registers the services that tell people of approvals
    REPAIRER = "repairer"  # reads runs, and resolves calls of unknown outcome
    ADMIN = "admin"


class Principal(Struct, frozen=True):
    """Somebody known to the server. The namespace scopes everything they can name.

    `credential` identifies the key or certificate, never its secret: it is what
    a revocation is checked by.
    """

    name: str
    namespace: Namespace
    roles: frozenset[Role]
    credential: str = ""

    def has_any(self, roles: frozenset[Role]) -> bool:
        """True when one of the roles, or admin, is among this principal's."""
        return Role.ADMIN in self.roles or bool(self.roles & roles)


# Without a keys file everyone who can reach the server is this; what is bound then, the settings say.
LOCAL = Principal(LOCAL_PRINCIPAL, DEFAULT_NAMESPACE, frozenset(Role))
