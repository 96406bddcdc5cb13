"""Delegation: whoever may decide has somebody else decide, while it is their turn. It gives nobody more time."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from runwright.core.approvals import ApprovalSeparation, ApproverSet, CallApproval, Decider

MAX_DELEGATIONS = 8  # of one approval
MAX_DELEGATES = 16  # that a package lists for one


class Delegate(Struct, frozen=True):
    """Somebody who is to decide, as the keys say: `may_decide` if one of theirs does, `may_perform` as of a Decider."""

    name: str
    may_decide: bool
    may_perform: bool


class NotDelegated(Enum):
    """Why an approval cannot be delegated to somebody: the values of `rule` in APPROVAL_DELEGATE_NOT_ALLOWED."""

    SEPARATION = "separation"
    NOT_LISTED = "not_listed"
    ONESELF = "oneself"
    STARTER = "starter"
    EXECUTOR = "executor"
    NO_APPROVER = "no_approver"
    ALREADY = "already"
    TOO_OFTEN = "too_often"


class DelegationTerms(Struct, frozen=True):
    """What delegating an approval depends on, beside who does it.

    `listed` are those that the package lets it be delegated to, `starter` asked for the call, `delegations` is how
    often it was so far, and `holder` to whom last in the present turn; empty: to nobody.
    """

    listed: tuple[str, ...]
    starter: str
    delegations: int
    holder: str


def terms_of(approval: CallApproval, starter: str) -> DelegationTerms:
    """Those of a pending approval."""
    is_delegated = approval.delegated_set == approval.current_set
    holder = approval.approvers.principals[0] if is_delegated else ""
    return DelegationTerms(approval.delegates, starter, approval.delegations, holder)


def why_not_delegated(delegate: Delegate, decider: Decider, terms: DelegationTerms) -> NotDelegated | None:
    """Why somebody who may decide cannot delegate to `delegate`; None: they can."""
    rules = (
        (NotDelegated.SEPARATION, decider.separation is ApprovalSeparation.NOT_ENFORCED),
        (NotDelegated.NOT_LISTED, delegate.name not in terms.listed),
        (NotDelegated.ONESELF, delegate.name == decider.name),
        (NotDelegated.STARTER, delegate.name == terms.starter),
        (NotDelegated.EXECUTOR, delegate.may_perform),
        (NotDelegated.NO_APPROVER, not delegate.may_decide),
        (NotDelegated.ALREADY, delegate.name == terms.holder),
        (NotDelegated.TOO_OFTEN, terms.delegations >= MAX_DELEGATIONS),
    )
    return next((rule for rule, is_broken in rules if is_broken), None)


def delegated(approval: CallApproval, by: str, to: str) -> ApproverSet:
    """Who may decide in the place of the present set: the delegate, and whoever has delegated it, who can take it back.

    It ends when the turn of the set ends.
    """
    before = approval.approvers.principals if approval.delegated_set == approval.current_set else ()
    return ApproverSet((), tuple(dict.fromkeys((to, by, *before))), approval.approvers.until)
