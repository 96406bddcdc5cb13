"""Why a run does not move, or why it ended, as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2, content_pb2, event_pb2, run_pb2
from runwright.cli import names, sanitize
from runwright.cli.approval_text import WHAT, approvers
from runwright.cli.commands import Options, command
from runwright.cli.tree_update import APPROVING, excerpt
from runwright.core.approvals import DENIED
from runwright.core.callbacks import DIFFERENT_SCHEMA_REMEDY
from runwright.core.near import nearest

MOST_CALLBACKS = 5
TO_DO = "to do"
_STATUS = {
    run_pb2.RUN_STATUS_RUNNING: "it moves: what is open is under way",
    run_pb2.RUN_STATUS_WAITING: "nothing is under way; it waits",
    run_pb2.RUN_STATUS_CANCELLING: "a cancel was accepted; calls that must not be repeated may still answer",
    run_pb2.RUN_STATUS_REPAIR_NEEDED: "nobody knows what became of a call, so nothing goes on",
    run_pb2.RUN_STATUS_HELD: "the server does not drive it",
}


class Found(Struct, frozen=True):
    """What was asked of the server. `callbacks` are by executor; None where they may not be listed."""

    run: run_pb2.RunSnapshot
    troubles: Sequence[event_pb2.Event]
    callbacks: Mapping[str, Sequence[callback_pb.Callback] | None]
    now: float
    contents: Mapping[str, content_pb2.InlineContent] = {}  # what came with the troubles, by digest
    registered: Collection[str] = ()  # names of executors, if none is registered under one that is waited for
    hosts: Mapping[str, Sequence[callback_pb.Callback] | None] = {}  # of policies, by their names; as `callbacks`
    approved: Mapping[str, str] = {}  # who approved a call and so does not perform it, by the call's id


def approved_by(events: Sequence[event_pb2.Event]) -> Mapping[str, str]:
    """Who approved which call, themselves or by a grant, where whoever approves does not perform."""
    approved = dict[str, str]()
    for event in events:
        if event.HasField("grant_used"):
            by, said = event.grant_used.grant.issuer, event.grant_used.separation
        elif event.approval_decided.verdict in APPROVING:
            by, said = event.approval_decided.decided_by, event.approval_decided.separation
        else:
            continue
        approved[event.effect_id] = by if said == approval_pb2.APPROVAL_SEPARATION_ENFORCED else ""
    return approved


def explain_lines(found: Found, options: Options) -> list[str]:
    """One screen: status, what is waited for and what would end that, what is open, the last error, what to do."""
    return [f"{name:<10} {sanitize.line(value)}" for name, value in facts(found, options)]


def explanation(found: Found, options: Options) -> dict[str, object]:
    """The same for programs: the sentence, what to do, and every fact as a name and a text."""
    sentences = list(facts(found, options))
    to_do = [text for name, text in sentences if name == TO_DO or (name == "" and "runwright" in text)]
    why = next((text for name, text in sentences if name == "why"), "")
    status = names.status(found.run.status)
    said = [{"name": name.strip(), "text": sanitize.line(text)} for name, text in sentences]
    return {"run_id": found.run.run_id, "status": status, "why": why, "to_do": to_do, "facts": said}


def facts(found: Found, options: Options) -> Iterator[tuple[str, str]]:
    """What is to be said, each with its name; what belongs to the one before has an empty or an indented name."""
    yield from _ended(found, options) if found.run.HasField("ended_at") else _open(found, options)


def _ended(found: Found, options: Options) -> Iterator[tuple[str, str]]:
    run = found.run
    stop = f" ({names.stop_reason(run.stop_reason)})" if run.stop_reason else ""
    yield "run", run.run_id
    yield "status", f"{names.status(run.status)}{stop} since {names.clock(run.ended_at)}"
    if run.HasField("error"):
        yield "why", names.sentence(run.error)
    else:
        yield "why", f"it was answered: {names.usage(run.usage)}"
    yield from _effects(run)
    yield from _last(found)
    if run.HasField("error") and run.error.remedy:
        yield TO_DO, run.error.remedy
    else:
        yield TO_DO, f"nothing; what it said: `{command(options, 'get', run.run_id)}`"


def _open(found: Found, options: Options) -> Iterator[tuple[str, str]]:
    run = found.run
    quiet = names.elapsed(max(0.0, found.now - names.seconds(run.updated_at)))
    yield "run", run.run_id
    yield "status", f"{names.status(run.status)}: {_STATUS.get(run.status, 'see the events')}"
    yield "last event", f"#{run.last_seq}, {quiet} ago"
    if run.status == run_pb2.RUN_STATUS_HELD:
        yield from _held(run, options)
        return
    yield "why", _why(run)
    for wait in run.waiting_on:
        yield from _wait(found, wait)
    yield from _effects(run)
    yield from _last(found)
    yield from _to_do(found, options)


def _why(run: run_pb2.RunSnapshot) -> str:
    """One sentence for a run that has not ended."""
    waits = [f"{wait.effect_id} waits for {names.wait_kind(wait.kind)} {wait.subject}" for wait in run.waiting_on]
    if waits:
        return "; ".join(waits)
    under_way = [f"{effect.effect_id} {effect.tool or 'model request'}" for effect in run.open_effects]
    return f"under way: {', '.join(under_way)}" if under_way else "it is between two steps"


def _is_there(found: Found, executor: str) -> bool:
    """True when what waits for the executor has a healthy host each that may perform it."""
    run = found.run
    waiting = {wait.effect_id for wait in run.waiting_on if wait.subject == executor}
    hosts = [each for each in found.callbacks.get(executor) or () if each.health == callback_pb.CALLBACK_HEALTH_HEALTHY]
    return all(
        any(
            (not host.spec.tools or effect.tool in host.spec.tools)
            and host.owner != (found.approved.get(effect.effect_id) or None)
            for host in hosts
        )
        for effect in run.open_effects
        if effect.effect_id in waiting
    )


def _who_serves_and_approved(found: Found, executor: str) -> Sequence[str]:
    """The principals whose hosts are there and do not get what waits for the executor, because they approved it."""
    approvers = {found.approved.get(wait.effect_id) for wait in found.run.waiting_on if wait.subject == executor}
    return sorted({each.owner for each in found.callbacks.get(executor) or () if each.owner in approvers})


def _to_do(found: Found, options: Options) -> Iterator[tuple[str, str]]:
    """What ends a wait, or that nothing need be done."""
    run = found.run
    if run.status == run_pb2.RUN_STATUS_REPAIR_NEEDED:
        yield TO_DO, "find out by the idempotency key whether the call was performed, and say so:"
        for effect in run.open_effects:
            if effect.state == run_pb2.EFFECT_STATE_UNKNOWN:
                yield from _verbs(run, effect, options)
        yield TO_DO, "or end the run with what is unknown:"
        yield "", command(options, "cancel", run.run_id)
        return
    executors = sorted({wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_EXECUTOR})
    different = {
        each.spec.executor
        for callbacks in found.callbacks.values()
        for each in callbacks or ()
        if any(unused.package_fingerprint == run.package_fingerprint for unused in each.unused_tools)
    }
    for executor in executors:
        if executor in different:
            yield TO_DO, f"{DIFFERENT_SCHEMA_REMEDY}"
            continue
        if _is_there(found, executor):
            yield TO_DO, f"nothing: executor {executor} is there; the call goes on once it has room, or has answered"
            continue
        if who := _who_serves_and_approved(found, executor):
            other = f"have somebody else than {', '.join(who)} serve executor {executor}"
            yield TO_DO, f"{other}: whoever approved a call does not perform it"
            continue
        yield TO_DO, f"start executor {executor} where the server looks for it, or register it:"
        words = ("callbacks", "register", f"{executor}-1", "--executor", executor, "--address", "HOST:PORT")
        yield "", command(options, *words)
    for effect in run.open_effects:
        if effect.state == run_pb2.EFFECT_STATE_RECONCILING:
            yield TO_DO, "or, if you know what became of the call, do not wait for that and say so:"
            yield from _verbs(run, effect, options)
    providers = sorted({wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_PROVIDER})
    for provider in providers:
        yield TO_DO, f"start the server with a provider that is called {provider}, such as --provider {provider}=KEYENV"
    for pending in run.pending_approvals:
        what = f"{pending.approval_id}{_what(pending)}"
        yield TO_DO, f"have somebody of {approvers(pending.approvers)} look at {what} and decide:"
        for word in ("show", "approve", "deny") if pending.kind in WHAT else ("show", "approve", "edit", "deny"):
            yield "", command(options, "approvals", word, pending.approval_id)
    policies = sorted({wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_POLICY})
    for policy in policies:
        yield TO_DO, f"see that a host of policy {policy} is registered and answers; what it defers goes on by itself"
    if not executors and not providers and not policies and not run.pending_approvals:
        yield TO_DO, f"nothing; to see how it goes on: `{command(options, 'watch', run.run_id)}`"


def _what(pending: run_pb2.PendingApproval) -> str:
    return f", {WHAT[pending.kind]}," if pending.kind in WHAT else ""


def _verbs(run: run_pb2.RunSnapshot, effect: run_pb2.OpenEffect, options: Options) -> Iterator[tuple[str, str]]:
    """The ways to settle a call."""
    words = ("effects", "resolve", run.run_id, effect.effect_id, "--attempt", str(effect.attempt), "--as")
    yield "", command(options, *words, "happened", "--tell", "RESULT")
    yield "", command(options, *words, "try-again")
    yield "", command(options, *words, "failed")


def _held(run: run_pb2.RunSnapshot, options: Options) -> Iterator[tuple[str, str]]:
    for wait in run.waiting_on:
        yield "held", f"{wait.subject} since {names.clock(wait.since)}"
    yield "why", names.sentence(run.error)
    if first_bad := run.error.metadata.get("first_bad"):
        yield "first bad", f"event {first_bad}; what is before it is intact: `runwright events {run.run_id}`"
    yield TO_DO, "try it again, end it if its events are intact, or remove what is stored of it:"
    for word in ("release", "cancel", "remove"):
        yield "", command(options, "held", word, run.run_id)


def _wait(found: Found, wait: run_pb2.WaitingOn) -> Iterator[tuple[str, str]]:
    waited = names.elapsed(max(0.0, found.now - names.seconds(wait.since)))
    yield (
        "waits",
        f"{wait.effect_id} for {names.wait_kind(wait.kind)} {wait.subject} since {names.clock(wait.since)} ({waited})",
    )
    yield "  ends by", wait.unblocked_by
    if wait.kind == run_pb2.WAIT_KIND_POLICY:
        yield from _hosts(found.hosts.get(wait.subject), wait.subject)
    if wait.kind != run_pb2.WAIT_KIND_EXECUTOR:
        return
    for event in reversed(found.troubles):
        if event.effect_id == wait.effect_id and event.HasField("retry_scheduled"):
            yield "  or at", f"{names.clock(event.retry_scheduled.give_up_at)}, when the call is given up"
            break
    callbacks = found.callbacks.get(wait.subject)
    if callbacks is None:
        yield "  callback", "they cannot be listed with this key"
    elif not callbacks:
        near = nearest(wait.subject, found.registered)
        but = f", but one is for {near}" if near else ""
        yield "  callback", f"none is registered for executor {wait.subject}{but}"
    for callback in (callbacks or ())[:MOST_CALLBACKS]:
        yield "  callback", _callback(callback)
        if callback.owner and callback.owner == found.approved.get(wait.effect_id):
            yield "  not used", f"for {wait.effect_id}: it is of {callback.owner}, who approved the call"
        for unused in callback.unused_tools:
            if unused.package_fingerprint == found.run.package_fingerprint:
                yield (
                    "  not used",
                    f"for {unused.tool}: its schema is {unused.schema_digest}, the package's "
                    + (unused.package_schema_digest),
                )
    if callbacks and len(callbacks) > MOST_CALLBACKS:
        yield "", f"and {len(callbacks) - MOST_CALLBACKS} more: `runwright callbacks ls --executor {wait.subject}`"


def _hosts(hosts: Sequence[callback_pb.Callback] | None, policy: str) -> Iterator[tuple[str, str]]:
    """Who is registered for a policy."""
    if hosts is None:
        yield "  callback", "they cannot be listed with this key"
    elif not hosts:
        yield "  callback", f"none is registered for policy {policy}"
    for callback in (hosts or ())[:MOST_CALLBACKS]:
        yield "  callback", _callback(callback)


def _callback(callback: callback_pb.Callback) -> str:
    spec = callback.spec
    tools = f"tools {', '.join(spec.tools)}" if spec.tools else "any tool"
    if spec.kind == callback_pb.CALLBACK_KIND_POLICY:
        tools = "a policy"
    detail = f": {callback.health_detail}" if callback.health_detail else ""
    leased = f"leased until {names.clock(callback.expires_at)}"
    return f"{spec.callback_id} at {spec.address}, {tools}, {leased}, {names.health(callback.health)}{detail}"


def _effects(run: run_pb2.RunSnapshot) -> Iterator[tuple[str, str]]:
    for effect in run.open_effects:
        is_unknown = effect.state == run_pb2.EFFECT_STATE_UNKNOWN
        state = "" if is_unknown else f", {names.effect_state(effect.state)}"
        key = f", idempotency key {effect.idempotency_key}" if effect.idempotency_key else ""
        what = effect.tool or "model request"
        yield "unknown" if is_unknown else "open", f"{effect.effect_id} {what}, attempt {effect.attempt}{state}{key}"
        if effect.HasField("executor_identity"):
            yield "  executor", names.executor_identity(effect.executor_identity)


def _last(found: Found) -> Iterator[tuple[str, str]]:
    if found.troubles:
        event = found.troubles[-1]
        kind = names.event_kind(event.kind)
        said, remedy = _said(found, event)
        yield "last error", f"#{event.seq} {event.effect_id}, attempt {event.attempt}, {kind}: {said}"
        if remedy and remedy != found.run.error.remedy:
            yield "  to do", remedy


def _said(found: Found, event: event_pb2.Event) -> tuple[str, str]:
    """What an event says that went wrong, and the remedy."""
    match event.WhichOneof("body"):
        case "model_attempt_failed":
            error = event.model_attempt_failed.error
            return names.sentence(error), error.remedy
        case "tool_failed":
            failed = event.tool_failed
            text = excerpt(failed.message, found.contents) if failed.HasField("message") else ""
            return f"{_by(failed)}{f': {text}' if text else ''}", names.remedy(failed.reason)
        case "tool_denied":
            policy = event.tool_denied.policy_ref
            message = f"denied by {policy} ({event.tool_denied.code})"
            if event.tool_denied.code == DENIED:
                words = f": {event.tool_denied.message}" if event.tool_denied.message else ""
                return f"denied by somebody who was asked to approve it{words}", ""
            if policy == "builtin:read-only":
                return message, "Allow what may be done with a rule in the package's policies (docs/policy.md)."
            return message, "Change the rule, which its POLICY_DECIDED event names, if calls like this may be made."
        case "tool_result_released":
            said = event.tool_result_released
            if said.release == event_pb2.RESULT_RELEASE_REPLACED:
                remedy = "Ask whoever serves the policy that its SUBJECT_REPLACED event names, if that was not meant."
                return "the model sees something else in the place of its result", remedy
            remedy = "Change the rule, which its POLICY_DECIDED event names, if the model may see results like this."
            return f"its result is withheld from the model by {said.policy_ref} ({said.code})", remedy
        case "tool_recovery_required":
            return _by(event.tool_recovery_required), names.remedy(event.tool_recovery_required.reason)
        case "reconcile_ended":
            ended = event.reconcile_ended
            who = names.executor_identity(ended.executor_identity)
            answer = names.reconcile_answer(ended.answer) if ended.ask else names.reason(ended.reason)
            asked = f"ask {ended.ask}: {answer}" if ended.ask else answer
            return asked + (f" ({who})" if who else ""), ""
        case "retry_scheduled":
            return _by(event.retry_scheduled), names.remedy(event.retry_scheduled.reason)
        case _:
            return "unknown to this client", ""


def _by(ended: event_pb2.ToolFailed | event_pb2.ToolRecoveryRequired | event_pb2.RetryScheduled) -> str:
    who = names.executor_identity(ended.executor_identity)
    return names.reason(ended.reason) + (f" ({who})" if who else "")
