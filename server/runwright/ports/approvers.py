"""Who can approve: what the operator has said of people and executors, as far as approvals need to know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runwright.core.approvals import ApprovalSeparation, ApproverSet
from runwright.core.ids import LOCAL_PRINCIPAL, Namespace
from runwright.core.principal import Principal, Role


class Approvers(Protocol):
    """Tells approvers from others, by credentials."""

    @property
    def separation(self) -> ApprovalSeparation:
        """Whether it can tell them at all."""

    def is_somebody(self, namespace: Namespace, sets: Sequence[ApproverSet], *, but: str = "") -> bool:
        """True when somebody could decide at the turn of one of the sets.

        With `but`, for four eyes: other than that principal, and no dispatcher.
        """

    def may_perform(self, who: Principal, executor: str) -> bool:
        """True when a principal may serve an executor of that name in its namespace now."""

    def principal(self, namespace: Namespace, name: str, credential: str) -> Principal | None:
        """Whoever has that name and that key or certificate, with the roles of now; None when it holds no more."""


class NoSeparation:
    """Nothing is known of anybody: everybody is `local`."""

    separation = ApprovalSeparation.NOT_ENFORCED

    def is_somebody(self, namespace: Namespace, sets: Sequence[ApproverSet], *, but: str = "") -> bool:
        """Everybody is."""
        return True

    def may_perform(self, who: Principal, executor: str) -> bool:
        """Nobody knows."""
        return False

    def principal(self, namespace: Namespace, name: str, credential: str) -> Principal | None:
        """Everybody is `local`."""
        return Principal(LOCAL_PRINCIPAL, namespace, frozenset(Role))
