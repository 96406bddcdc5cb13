"""What the inbox holds: what is pending, what is looked at, and what is about to be decided. Pure."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli import names
from runwright.cli.approval_table import what
from runwright.cli.decisions import (
    ABORT_RUN,
    APPROVE,
    APPROVE_WITH_EDITS,
    DENY,
    PENDING,
    RESPOND,
    decision_on,
    edits_on,
    is_allowed,
)
from runwright.cli.escapes import json_lines
from runwright.cli.grant_words import parse_grant
from runwright.core.approval_requests import MAX_BATCH

Approval = approval_pb2.Approval
_SEVERAL = "several at once are approved or denied, nothing else"
_VERBS = {
    APPROVE: "approve",
    APPROVE_WITH_EDITS: "approve with other arguments",
    DENY: "deny",
    RESPOND: "respond to",
    ABORT_RUN: "end the run of",
}


class Mode(StrEnum):
    """What a key means now."""

    LIST = "list"
    CONFIRM = "confirm"  # y decides, everything else does not
    TYPING = "typing"  # what the model is told, or the result of the call
    HELP = "help"


class Intent(Struct, frozen=True):
    """A decision that is about to be made, on what was on the screen then."""

    verdict: approval_pb2.ApprovalVerdict.ValueType
    shown: tuple[Approval, ...]
    grants: bool = False  # the text that is typed says which grant is given with it
    arguments: str = ""  # in place of those that were shown

    @property
    def words(self) -> str:
        """What it would do, in words."""
        first, rest = self.shown[0], len(self.shown) - 1
        name = what(first)
        which = f"{len(self.shown)} calls of {name}" if rest else f"{first.approval_id} ({name})"
        return f"{_VERBS[self.verdict]} {which}{', with a grant' if self.grants else ''}"

    def decisions(self, text: str = "") -> list[pb.DecisionRequest] | str:
        """One for each, on the digest that was shown; or what of the text was not understood."""
        if self.arguments:
            return [edits_on(self.shown[0], self.arguments)]
        if not self.grants:
            return [decision_on(one, self.verdict, text) for one in self.shown]
        grant = parse_grant(text, self.shown[0].grants)
        return grant if isinstance(grant, str) else [decision_on(self.shown[0], self.verdict, grant=grant)]


class Inbox(Struct):
    """All of it. The details of an approval have its arguments; those that were wholly on the screen are `seen`."""

    pending: dict[str, Approval] = field(default_factory=dict)  # by id, the oldest first
    details: dict[str, Approval] = field(default_factory=dict)  # by id, of what is looked at
    seen: set[str] = field(default_factory=set)  # the digests
    selected: str = ""
    marked: set[str] | None = None  # ids; None outside of a batch
    scroll: int = 0
    mode: Mode = Mode.LIST
    intent: Intent | None = None
    message: str = ""
    connection: str = ""
    report: list[str] = field(default_factory=list)  # of a batch, what was not decided and why

    def rows(self) -> list[Approval]:
        """What is listed: everything; in a batch what is like the one that it was begun on."""
        current = self.pending.get(self.selected)
        if self.marked is None or current is None:
            return list(self.pending.values())
        return self.alike(current)

    def alike(self, one: Approval) -> list[Approval]:
        """The pending calls of the same tool, executor, agent and risk, as many as one request decides, `one` too."""
        found = [each for each in self.pending.values() if _kind(each) == _kind(one)]
        if len(found) > MAX_BATCH:
            place = min(found.index(one), len(found) - MAX_BATCH)
            found = found[place : place + MAX_BATCH]
        return found

    def looked_at(self) -> list[Approval]:
        """What the details are of: the selected one; in a batch all that are marked, with the arguments if there."""
        ids = [self.selected] if self.marked is None else [one.approval_id for one in self.rows() if self._is_in(one)]
        return [self.details.get(one) or self.pending[one] for one in ids if one in self.pending]

    def lacking(self) -> str:
        """The id of one that is looked at and whose arguments have not come; empty for none."""
        shown = (one for one in self.looked_at() if one.approval_id not in self.details)
        return next((one.approval_id for one in shown), "")

    def take(self, approval: Approval) -> None:
        """An approval as it stands now."""
        approval_id = approval.approval_id
        if approval.state == PENDING:
            if (before := self.pending.get(approval_id)) is not None and before != approval:
                self._forget(approval_id)
            self.pending[approval_id] = approval
            self.selected = self.selected or approval_id
            return
        if approval_id not in self.pending:
            return
        if approval_id == self.selected:
            self._select(self._neighbour())
            self._say_what_became_of(approval)
        if self.intent and approval_id in {one.approval_id for one in self.intent.shown}:
            self.drop_intent()
            self._say_what_became_of(approval)
        del self.pending[approval_id]
        self._forget(approval_id)
        if not self.selected:
            self.selected, self.marked = next(iter(self.pending), ""), None

    def take_details(self, approval: Approval) -> None:
        """An approval with its arguments; of one that something became of meanwhile nothing is kept."""
        if approval.state != PENDING:
            self.take(approval)
        elif approval.approval_id in self.pending:
            self.details[approval.approval_id] = approval

    def move(self, steps: int) -> None:
        """Selects the one so many places below; the last and the first are where it ends."""
        ids = [one.approval_id for one in self.rows()]
        if ids:
            self._select(ids[max(0, min(len(ids) - 1, ids.index(self.selected) + steps))])

    def begin(self, verdict: approval_pb2.ApprovalVerdict.ValueType, *, grants: bool = False) -> None:
        """Asks for a decision to be confirmed, or for its text; says why not where that cannot be."""
        shown = tuple(self.looked_at())
        self.message = self._why_not(verdict, shown)
        if grants and not self.message:
            self.message = _why_no_grant(shown)
        if self.message:
            return
        self.intent = Intent(verdict, shown, grants)
        self.mode = Mode.TYPING if verdict in (DENY, RESPOND) or grants else Mode.CONFIRM

    def begin_edit(self) -> Approval | None:
        """The one whose arguments are to be edited; None, and why not, where that cannot be."""
        shown = tuple(self.looked_at())
        self.message = self._why_not(APPROVE_WITH_EDITS, shown)
        return None if self.message else shown[0]

    def take_edit(self, shown: Approval, arguments: str) -> None:
        """Asks for the approval with these arguments to be confirmed; they are on the screen before everything else."""
        if shown.approval_id in self.pending:
            self.intent, self.mode, self.scroll = (
                Intent(APPROVE_WITH_EDITS, (shown,), arguments=arguments),
                Mode.CONFIRM,
                0,
            )
            self.report = ["to be made with:", *json_lines(arguments)]

    def drop_intent(self) -> None:
        """Nothing is decided."""
        self.mode, self.intent = Mode.LIST, None

    def begin_batch(self) -> None:
        """Marks the calls that are like the selected one; once more ends it."""
        if self.marked is not None:
            self.end_batch()
        elif (current := self.pending.get(self.selected)) is not None:
            self.marked = {one.approval_id for one in self.alike(current)}
            self.scroll = 0

    def end_batch(self) -> None:
        """Back to everything."""
        self.marked, self.scroll = None, 0
        self.details = {key: one for key, one in self.details.items() if key == self.selected}

    def toggle(self) -> None:
        """In a batch: the selected one is left out, or taken in again."""
        if self.marked is not None and self.selected:
            self.marked ^= {self.selected}
            self.scroll = 0

    def _neighbour(self) -> str:
        """The id below the selected one; of the last one, that above it; empty for the only one."""
        before, is_found = "", False
        for one in self.rows() if self.marked is not None else self.pending.values():
            if is_found:
                return one.approval_id
            is_found = one.approval_id == self.selected
            before = before if is_found else one.approval_id
        return before

    def _is_in(self, one: Approval) -> bool:
        return self.marked is not None and one.approval_id in self.marked

    def _select(self, approval_id: str) -> None:
        if approval_id != self.selected and self.marked is None:
            self.scroll = 0
            self.details.clear()
        self.selected = approval_id

    def _forget(self, approval_id: str) -> None:
        self.details.pop(approval_id, None)
        if self.marked is not None:
            self.marked.discard(approval_id)

    def _why_not(self, verdict: approval_pb2.ApprovalVerdict.ValueType, shown: tuple[Approval, ...]) -> str:
        if not shown:
            return "there is nothing to decide" if self.marked is None else "nothing is marked; m marks"
        if len(shown) > 1 and verdict in (RESPOND, ABORT_RUN, APPROVE_WITH_EDITS):
            return _SEVERAL
        if self.lacking():
            return "the arguments have not come yet"
        if not all(is_allowed(one, verdict) for one in shown):
            return f"nobody can {_VERBS[verdict]} this"
        if verdict != APPROVE:
            return ""
        if any(one.arguments_content.omitted for one in shown):
            return "the arguments are too many to show, and what cannot be shown is not approved here"
        if not {one.digest for one in shown} <= self.seen:
            return "not all of it was on the screen yet: the space bar shows more"
        return ""

    def _say_what_became_of(self, approval: Approval) -> None:
        by = f" by {approval.decision.decided_by}" if approval.HasField("decision") else ""
        self.message = f"{approval.approval_id} is {names.approval_state(approval.state)}{by}"


def _why_no_grant(shown: tuple[Approval, ...]) -> str:
    """Why no grant can be given with these; empty where one can."""
    if len(shown) > 1:
        return _SEVERAL
    return "" if shown[0].HasField("grants") else "no grant is offered here"


def _kind(one: Approval) -> tuple[str, ...]:
    return str(one.kind), one.tool, one.executor, one.agent_id, one.risk
