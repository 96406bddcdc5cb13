"""A request to decide on an approval: its rules, and what makes two requests the same; and what lists are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.approval_delegation import DelegationTerms
from runwright.core.approval_delegation_rows import Delegation, sets_after
from runwright.core.approval_rows import ApprovalOutcome, RequestedApproval
from runwright.core.approvals import APPROVING, ApprovalSeparation, ApprovalState, ApprovalVerdict, ApproverSet
from runwright.core.content import INLINE_LIMIT_BYTES, digest
from runwright.core.errors import invalid_request
from runwright.core.fingerprint import canonical_json
from runwright.core.grant_requests import check_grant, grant_form
from runwright.core.grants import GrantRequest
from runwright.core.ids import CALL_EFFECT, EffectId, RunId, check_caller_id, effect_id, parse_effect_id
from runwright.core.run_approvals import allowed_verdicts, approval_words
from runwright.core.units import Micros

MAX_MESSAGE_BYTES = 1024  # of what the model is told of a denial
MAX_NOTE_BYTES = 1024
MAX_BEHALF_BYTES = 256
MAX_RESPONSE_BYTES = INLINE_LIMIT_BYTES
MAX_EDIT_BYTES = 256 * 1024  # of arguments, as of those that a model asks for
MAX_BATCH = 100
# Of a call: round, call and number. Of the run: round, 0 before the first, and number.
_APPROVAL = re.compile(r"a(?:0|[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8})?)\.[1-9][0-9]{0,8}\Z")
_DIGEST = re.compile(r"sha256:[A-Za-z0-9.-]{1,64}:[0-9a-f]{64}\Z")


class ApprovalName(Struct, frozen=True):
    """What the id of an approval says: the run, the approval inside it, and the call that it is about.

    Without a call it is about the run as a whole.
    """

    run_id: RunId
    approval_id: str
    call_id: EffectId | None

    @classmethod
    def parse(cls, text: str) -> ApprovalName:
        """Of `RUN/aN.N.N` or `RUN/aN.N`. Raises INVALID_REQUEST."""
        run_id, _, own = text.rpartition("/")
        if not _APPROVAL.match(own):
            remedy = "`runwright approvals ls` shows them."
            raise invalid_request("approval_id", "an approval's id, such as run-1/a1.1.1", remedy)
        numbers = parse_effect_id(EffectId(own)).numbers
        call_id = effect_id(CALL_EFFECT, *numbers[:-1]) if len(numbers) == 3 else None
        return cls(RunId(check_caller_id("approval_id", run_id)), own, call_id)


class DecisionRequest(Struct, frozen=True, kw_only=True):
    """What somebody decides. `message` is what the model is told of a denial, and the result that a response is.

    Checked by `check`, not by the type.
    """

    approval_id: str
    digest: str
    verdict: ApprovalVerdict
    request_id: str
    message: str = ""
    note: str = ""
    on_behalf_of: str = ""
    arguments_json: bytes = b""  # of APPROVE_WITH_EDITS
    delegate_to: str = ""  # of DELEGATE
    grant: GrantRequest | None = None

    def check(self) -> ApprovalName:
        """What the approval's id says. Raises INVALID_REQUEST for the first field that breaks its rule, naming it."""
        name = ApprovalName.parse(self.approval_id)
        if not _DIGEST.match(self.digest):
            raise invalid_request("digest", "the digest of what was looked at", "Copy it from the approval.")
        if not self.request_id:
            raise invalid_request(
                "request_id", "set", "Make one, such as a UUID, and send the same again when no answer comes."
            )
        check_caller_id("request_id", self.request_id)
        said = self.verdict in (ApprovalVerdict.DENY, ApprovalVerdict.RESPOND)
        if self.message and not said:
            raise invalid_request("message", "empty, unless the model is told something", "Put it into `note`.")
        edits = self.verdict is ApprovalVerdict.APPROVE_WITH_EDITS
        if edits != bool(self.arguments_json):
            remedy = "Send the arguments with APPROVE_WITH_EDITS, and with no other verdict."
            raise invalid_request("arguments_json", "set for APPROVE_WITH_EDITS, and empty for the others", remedy)
        if (self.verdict is ApprovalVerdict.DELEGATE) != bool(self.delegate_to):
            remedy = "Name who is to decide with DELEGATE, and nobody with any other verdict."
            raise invalid_request("delegate_to", "set for DELEGATE, and empty for the others", remedy)
        responds = self.verdict is ApprovalVerdict.RESPOND
        if responds and not self.message:
            raise invalid_request("message", "set, for a response", "Write what the model is to get as the result.")
        for field, value, most in (
            ("message", self.message, MAX_RESPONSE_BYTES if responds else MAX_MESSAGE_BYTES),
            ("note", self.note, MAX_NOTE_BYTES),
            ("on_behalf_of", self.on_behalf_of, MAX_BEHALF_BYTES),
            ("delegate_to", self.delegate_to, MAX_BEHALF_BYTES),
        ):
            if len(value.encode()) > most:
                raise invalid_request(field, f"at most {most} bytes", "Shorten it.")
        if self.grant is not None:
            if self.verdict not in APPROVING:
                expected = "there only with APPROVE or APPROVE_WITH_EDITS"
                raise invalid_request("grant", expected, "Leave it out.")
            check_grant(self.grant)
        return name

    def request_digest(self) -> str:
        """What a repeated request must match: everything but its id."""
        form: dict[str, JsonValue] = {
            "approval_id": self.approval_id,
            "digest": self.digest,
            "message": self.message,
            "note": self.note,
            "on_behalf_of": self.on_behalf_of,
            "verdict": self.verdict.name,
        }
        if self.arguments_json:
            form["arguments_json"] = digest(self.arguments_json)
        if self.delegate_to:
            form["delegate_to"] = self.delegate_to
        if self.grant is not None:
            form["grant"] = grant_form(self.grant)
        return digest(canonical_json(form))


def verdicts_on(asked: RequestedApproval) -> tuple[ApprovalVerdict, ...]:
    """What may be decided on the approval; it is delegated only where its package says to whom."""
    allowed = allowed_verdicts(asked.kind)
    return allowed if asked.delegates else tuple(each for each in allowed if each is not ApprovalVerdict.DELEGATE)


def require_allowed_verdict(asked: RequestedApproval, verdict: ApprovalVerdict) -> None:
    """Raises INVALID_REQUEST for what cannot be decided on the approval."""
    if verdict not in allowed_verdicts(asked.kind):
        allowed = verdicts_on(asked)
        expected = f"one of {', '.join(f'APPROVAL_VERDICT_{each.name}' for each in allowed)}"
        why = f"{verdict.name} is no decision on {approval_words(asked.kind)}."
        remedy = f"Decide one of {', '.join(each.name for each in allowed)}."
        raise invalid_request("verdict", expected, remedy, message=why)


class ApprovalFilter(Struct, frozen=True, kw_only=True):
    """Which approvals of a namespace are wanted. An empty dimension means any; without states: those that are pending.

    `mine` are those that whoever asks may decide on now.
    """

    states: frozenset[ApprovalState] = frozenset()
    mine: bool = False
    agent_id: str = ""
    tool: str = ""
    risk: str = ""
    run_id: str = ""
    requested_before: Micros = 0

    def check(self) -> None:
        """Raises INVALID_REQUEST for states that are in two lists."""
        if ApprovalState.PENDING in self.states and len(self.states) > 1:
            raise invalid_request("states", "PENDING alone, or others without it", "Ask twice: they are two lists.")

    @property
    def is_of_pending(self) -> bool:
        """True for the list of what is pending."""
        return not self.states or ApprovalState.PENDING in self.states

    def passes(self, asked: RequestedApproval) -> bool:
        """True for an approval that is wanted, whatever became of it."""
        return (
            self.agent_id in ("", asked.agent_id)
            and self.tool in ("", asked.tool)
            and self.risk in ("", asked.risk)
            and self.run_id in ("", asked.run_id)
            and (not self.requested_before or asked.requested_at < self.requested_before)
        )


class StandingApproval(Struct, frozen=True):
    """An approval as it stands. `current_set`: whose turn it is, or was last; `separation` is this server's now."""

    asked: RequestedApproval
    outcome: ApprovalOutcome | None
    is_superseded: bool
    current_set: int
    separation: ApprovalSeparation
    delegations: tuple[Delegation, ...] = ()

    @property
    def sets(self) -> tuple[ApproverSet, ...]:
        """Who may decide, one set after the other, as it was delegated."""
        return sets_after(self.asked, self.delegations)

    def delegation_terms(self, at: Micros) -> DelegationTerms:
        """What delegating it at that time depends on."""
        asked, last = self.asked, self.delegations[-1] if self.delegations else None
        holder = last.delegated_to if last is not None and last.current_set == asked.current_set(at) else ""
        return DelegationTerms(asked.delegates, asked.started_by, len(self.delegations), holder)

    @property
    def approvers(self) -> ApproverSet:
        """Whose turn it is, or was last."""
        return self.sets[self.current_set]

    def is_of(self, name: str, roles: Sequence[str]) -> bool:
        """True when a principal is in one of its approver sets, or it was delegated to them."""
        return self.asked.is_of(name, roles) or any(name == each.delegated_to for each in self.delegations)

    @property
    def state(self) -> ApprovalState:
        """Where it stands."""
        if self.is_superseded:
            return ApprovalState.SUPERSEDED
        return self.outcome.state if self.outcome else ApprovalState.PENDING
