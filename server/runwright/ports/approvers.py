"""Who can approve: what the operator has said of people and executors, as far as approvals need to know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runwright.core.approval_delegation import Delegate
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

    def has_owner(self, namespace: Namespace, executor: str) -> bool:
        """True when the operator has said who serves executors of that name; else everybody may who serves any."""

    def as_delegate(self, namespace: Namespace, name: str, executor: str) -> Delegate:
        """Somebody by name, as their credentials say: whether they decide, and whether they may serve the executor."""

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

    def has_owner(self, namespace: Namespace, executor: str) -> bool:
        """Nobody is refused for it."""
        return True

    def as_delegate(self, namespace: Namespace, name: str, executor: str) -> Delegate:
        """Nobody is known by name."""
        return Delegate(name, may_decide=False, may_perform=False)

    def principal(self, namespace: Namespace, name: str, credential: str) -> Principal | None:
        """Everybody is `local`."""
        return Principal(LOCAL_PRINCIPAL, namespace, frozenset(Role))
