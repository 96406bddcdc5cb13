"""The model, its second half: who there is, and who may decide, perform and be asked.

Written from docs/approvals.md ("Who may") alone. Keys are held by names: a name whose key is revoked is nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.properties.approvals.rules import Approval, Approvers

HERE, ELSEWHERE = "default", "other"

EVERYBODY: Mapping[str, tuple[str, ...]] = {
    "ann": ("approver",),
    "bob": ("approver",),
    "cal": ("caller", "approver"),
    "cid": ("caller",),
    "hal": ("executor", "approver"),
    "ivy": ("executor",),
    "obi": ("observer",),
    "rex": ("repairer",),
    "root": ("admin",),
    "bot": ("approver", "dispatcher"),
}
FOREIGN = "eve"  # of another namespace, where she may do everything
DECIDES = ("ann", "bob", "cal", "cid", "hal", "ivy", "obi", "root", "bot", FOREIGN)


@dataclass
class People:
    """Everybody's roles, whose names of executors are, and which keys do not hold any more.

    Without `keys` nobody is told from anybody else: everybody is `local`.
    """

    keys: bool = True
    roles: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(EVERYBODY))
    revoked: set[str] = field(default_factory=set)
    owners: dict[str, list[str]] = field(default_factory=dict)
    configured: dict[str, str] = field(default_factory=dict)

    def has(self, name: str, *roles: str) -> bool:
        """True when somebody's key holds and has one of the roles; an admin has every role."""
        return name not in self.revoked and any(role in roles or role == "admin" for role in self.roles.get(name, ()))

    def may_serve(self, name: str, executor: str) -> bool:
        """Whether somebody may serve an executor of that name now: its owner, or of one without an owner anybody with
        the role. What is done as a whole has no executor."""
        if not executor:
            return False
        if self.configured.get(executor) == name:
            return True
        owners = self.owners.get(executor) or ([self.configured[executor]] if executor in self.configured else [])
        return self.has(name, "executor") and (not owners or name in owners)

    def is_in(self, name: str, approvers: Approvers) -> bool:
        """Whether somebody is in a set."""
        return name in approvers.principals or bool(approvers.roles and self.has(name, *approvers.roles))

    def why_not(self, name: str, approvers: Approvers, executor: str, starter: str, *, four_eyes: bool) -> set[str]:
        """Everything that speaks against a decision by somebody while it is the turn of that set."""
        if not self.keys:
            return set()
        if name == FOREIGN:
            return {"APPROVAL_NOT_FOUND"}
        if name in self.revoked:
            return {"UNAUTHENTICATED"}
        if not self.has(name, "approver"):
            return {"ROLE_MISSING"}
        found = set[str]()
        if not self.is_in(name, approvers):
            found.add("approver_set")
        if self.may_serve(name, executor):
            found.add("executor")
        if four_eyes and name == starter:
            found.add("four_eyes")
        if four_eyes and "dispatcher" in self.roles[name]:
            found.add("dispatcher")
        return found

    def could_approve(self, approval: Approval, starter: str) -> bool:
        """Whether there is somebody who could give an approval at all."""
        if not self.keys:
            return not approval.four_eyes
        return any(
            self._is_asked(name, approval.turns) for name in self.roles if not (approval.four_eyes and name == starter)
        )

    def _is_asked(self, name: str, sets: Sequence[Approvers]) -> bool:
        return self.has(name, "approver") and any(self.is_in(name, each) for each in sets)
