"""An approval as lines for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from runwright._gen.runwright.v1 import approval_pb2, content_pb2, event_pb2
from runwright.cli import names, sanitize
from runwright.cli.dispatch_text import dispatch_words
from runwright.cli.escapes import escaped, escaped_block
from runwright.cli.grant_text import offer_words
from runwright.cli.previous_text import difference
from runwright.cli.taint_text import taint_words
from runwright.cli.time_left import left_in_words
from runwright.wire.snapshots import inline_bytes

# What is to be approved, where it is no call, and what is looked at.
WHAT = {
    approval_pb2.APPROVAL_KIND_RUN_START: "the start of the run",
    approval_pb2.APPROVAL_KIND_OUTPUT: "the answer of the run",
}
SHOWN = {approval_pb2.APPROVAL_KIND_RUN_START: "request", approval_pb2.APPROVAL_KIND_OUTPUT: "answer"}
_NOT_ENFORCED = "this server has no keys: everybody may decide, also whoever asks and whoever performs"


def ls_line(approval: approval_pb2.Approval) -> str:
    """An approval in one line: which, where it stands, what for, and who decides until when, or decided."""
    what = WHAT.get(approval.kind) or f"{approval.tool} {approval.effect_id}"
    risk = f", risk {approval.risk}" if approval.risk else ""
    state = names.approval_state(approval.state)
    if approval.state == approval_pb2.APPROVAL_STATE_PENDING:
        current = approval.sets[approval.current_set]
        ends = f"; {approvers(current)} until {names.clock(current.until)}"
    elif approval.HasField("decision"):
        ends = f"; by {approval.decision.decided_by} at {names.clock(approval.closed_at)}"
    else:
        ends = f" at {names.clock(approval.closed_at)}"
    return sanitize.line(f"{approval.approval_id} {state}: {what}{risk}, agent {approval.agent_id}{ends}")


def approval_lines(approval: approval_pb2.Approval, now: float) -> list[str]:
    """Everything that a decision rests on, one fact a line; last what is approved, exactly as it is."""
    lines = [*question_lines(approval, now), *difference_lines(approval)]
    if approval.HasField("arguments_content"):
        lines += [SHOWN.get(approval.kind, "arguments"), _arguments(approval, approval.arguments_content)]
    if approval.decision.HasField("edited_arguments_content"):
        lines += ["approved with", _arguments(approval, approval.decision.edited_arguments_content)]
    return lines


def question_lines(approval: approval_pb2.Approval, now: float) -> list[str]:
    """What somebody is asked about, without the arguments and what differs in them, with how long there is left."""
    return _lines([*_facts(approval), ("time left", left_in_words(approval, now))])


def difference_lines(approval: approval_pb2.Approval, most: int | None = None) -> list[str]:
    """How the arguments differ from those approved last before: all of it, or `most` values, cut short."""
    return _lines(difference(approval, most))


def _lines(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name:<10} {escaped(value)}" for name, value in facts if value]


def approvers(one: approval_pb2.ApproverSet) -> str:
    """An approver set in words."""
    return ", ".join([*(f"role {role}" for role in one.roles), *one.principals])


def _facts(approval: approval_pb2.Approval) -> Iterator[tuple[str, str]]:
    yield from _what(approval)
    yield from _who(approval)
    yield from _outcome(approval)
    yield "digest", approval.digest


def _what(approval: approval_pb2.Approval) -> Iterator[tuple[str, str]]:
    """What is asked for, and by what it came to be asked."""
    risk = f", risk {approval.risk}" if approval.risk else ""
    yield "approval", approval.approval_id
    yield "state", names.approval_state(approval.state)
    if approval.kind in WHAT:
        yield "what", WHAT[approval.kind]
    else:
        yield "call", f"{approval.effect_id} {approval.tool}, executor {approval.executor}{risk}"
    yield "summary", approval.summary
    session = f", session {approval.session_id}" if approval.session_id else ""
    yield "run", f"{approval.run_id} of agent {approval.agent_id}, started by {approval.started_by}{session}"
    name = approval.approval or "as built in"
    yield "asked by", f"{approval.rule or approval.policy_ref} ({approval.code}, {approval.decider}), approval {name}"
    yield "says", approval.message
    if approval.tainted:
        yield "tainted", f"the model had seen untrusted results: {taint_words(approval)}"
    if approval.reversible:
        yield "reversible", "the package says that what the call does can be undone"
    yield "lineage", " > ".join(approval.lineage)
    yield from _highlighted(approval)
    yield "asked at", names.clock(approval.requested_at)


def _who(approval: approval_pb2.Approval) -> Iterator[tuple[str, str]]:
    """Who may decide what until when, and who is told."""
    for index, each in enumerate(approval.sets):
        is_current = index == approval.current_set and approval.state == approval_pb2.APPROVAL_STATE_PENDING
        turn = " (their turn now)" if is_current else ""
        yield "approvers", f"{approvers(each)} until {names.clock(each.until)}{turn}"
    for one in approval.delegations:
        behalf = f" on behalf of {one.on_behalf_of}" if one.on_behalf_of else ""
        said = f": {one.note}" if one.note else ""
        yield "delegated", f"to {one.delegated_to} by {one.delegated_by}{behalf}, {names.clock(one.time)}{said}"
    if approval.state == approval_pb2.APPROVAL_STATE_PENDING:
        yield "delegates", ", ".join(approval.delegates)
    if approval.HasField("escalates_at"):
        yield "escalates", f"{names.clock(approval.escalates_at)}, to {approvers(approval.sets[-1])}"
    ends = approval.kind in WHAT or approval.on_expiry == approval_pb2.APPROVAL_EXPIRY_ABORT_RUN
    then = "the run ends" if ends else "the model is told"
    yield "expires", f"{names.clock(approval.expires_at)}; then {then}"
    yield "verdicts", ", ".join(names.approval_verdict(each) for each in approval.allowed_verdicts)
    for dispatch in approval.dispatches:
        yield "dispatcher", dispatch_words(dispatch)
    if approval.four_eyes:
        yield "four eyes", f"not {approval.started_by}, who started the run"
    if approval.separation == approval_pb2.APPROVAL_SEPARATION_NOT_ENFORCED:
        yield "separation", f"NOT ENFORCED: {_NOT_ENFORCED}"
    if approval.HasField("grants"):
        yield "grants", offer_words(approval.grants)


def _outcome(approval: approval_pb2.Approval) -> Iterator[tuple[str, str]]:
    """What became of it."""
    if approval.HasField("decision"):
        made = approval.decision
        behalf = f" on behalf of {made.on_behalf_of}" if made.on_behalf_of else ""
        yield (
            "decision",
            f"{names.approval_verdict(made.verdict)} by {made.decided_by}{behalf}, {names.clock(made.time)}",
        )
        yield "  message", made.message
        yield "  note", made.note
        yield "  digest", made.edited_digest
        yield "  grant", made.grant_id
    elif approval.HasField("closed_at"):
        yield "closed", names.clock(approval.closed_at)


def _highlighted(approval: approval_pb2.Approval) -> Iterator[tuple[str, str]]:
    """The arguments that whoever approves is to look at first, as far as they are there and were sent along."""
    content = approval.arguments_content
    if not approval.highlight or content.omitted or not approval.HasField("arguments_content"):
        return
    try:
        arguments = json.loads(inline_bytes(content))
    except (ValueError, RecursionError):
        return  # they stand below as they are
    for pointer in approval.highlight:
        found, value = found_at(arguments, pointer)
        if found:
            yield "look at", f"{pointer} {json.dumps(value, ensure_ascii=False)}"


def found_at(value: JsonValue, pointer: str) -> tuple[bool, JsonValue]:
    """Whether a JSON pointer (RFC 6901) leads to something in a value, and to what."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return False, None
    return True, value


def _arguments(approval: approval_pb2.Approval, content: content_pb2.InlineContent) -> str:
    if content.omitted:
        run, digest = approval.run_id, content.ref.digest
        return f"({content.ref.size} bytes, too many to show; in `runwright export {run}` as {digest})"
    return "\n".join(escaped_block(inline_bytes(content).decode("utf-8", "replace")))


def approval_event(event: event_pb2.Event) -> str | None:
    """What an event says of the approval of its call, or of the run as a whole; None: nothing that is known."""
    match event.WhichOneof("body"):
        case "approval_requested":
            asked = event.approval_requested
            first = asked.sets[0] if asked.sets else approval_pb2.ApproverSet()
            said = f": {asked.message}" if asked.message else ""
            who = f"{', ' + WHAT[asked.kind] + ',' if asked.kind in WHAT else ''} by {approvers(first)}"
            tainted = f"; tainted by {taint_words(asked)}" if asked.tainted else ""
            return f"waits for {asked.approval_id}{who}, until {names.clock(asked.expires_at)}{said}{tainted}"
        case "approval_decided":
            made = event.approval_decided
            said = "; ".join(part for part in (made.message, made.note) if part)
            behalf = f" on behalf of {made.on_behalf_of}" if made.on_behalf_of else ""
            verdict = names.approval_verdict(made.verdict)
            return f"{made.approval_id}: {verdict} by {made.decided_by}{behalf}{f': {said}' if said else ''}"
        case "approval_expired":
            return f"{event.approval_expired.approval_id} expired: nobody decided in time"
        case "approval_withdrawn":
            return f"{event.approval_withdrawn.approval_id} withdrawn: there is nothing to decide any more"
        case "approval_superseded":
            return f"{event.approval_superseded.approval_id} counts no more: the policies ask for another one"
        case "approval_delegated":
            to = event.approval_delegated
            said, behalf = (
                f": {to.note}" if to.note else "",
                f" on behalf of {to.on_behalf_of}" if to.on_behalf_of else "",
            )
            return f"{to.approval_id}: delegated to {to.delegated_to} by {to.delegated_by}{behalf}{said}"
        case "approval_escalated":
            return f"{event.approval_escalated.approval_id}: it is the turn of the next approvers"
        case _:
            return None
