"""What plain lines say of policies: decisions, questions to remote ones, what these put in a place. Pure."""

from __future__ import annotations

from runwright._gen.runwright.v1 import event_pb2, policy_pb2
from runwright.cli import names
from runwright.cli.tree_update import Contents, whole

_DECIDED = {
    policy_pb2.POLICY_VERDICT_ALLOW: "allowed",
    policy_pb2.POLICY_VERDICT_DENY: "denied",
    policy_pb2.POLICY_VERDICT_ASK: "asked about",
    policy_pb2.POLICY_VERDICT_INTERRUPT: "run ended",
    policy_pb2.POLICY_VERDICT_MODIFY: "replaced",  # this and the next one in shadow mode alone
    policy_pb2.POLICY_VERDICT_DEFER: "deferred",
}


def stage(value: policy_pb2.PolicyStage.ValueType) -> str:
    """A stage as packages write it."""
    return policy_pb2.PolicyStage.Name(value).removeprefix("POLICY_STAGE_").lower()


def decided(said: event_pb2.PolicyDecided) -> str:
    """What was decided, and by which rule."""
    word = _DECIDED.get(said.verdict, "decided")
    shadow = [
        f"{_DECIDED.get(each.verdict, '?')} by {each.rule or each.policy_ref} ({each.code})" for each in said.shadow
    ]
    would = f"; in shadow mode: {', '.join(shadow)}" if shadow else ""
    return f"{word} by {said.rule or said.policy_ref} ({said.code}){would}"


def replaced(said: event_pb2.SubjectReplaced, contents: Contents) -> str:
    """What a policy has put in the place of what it was asked about."""
    budget = said.budget
    limits = f"{budget.rounds} rounds, {budget.tool_calls} tool calls, {budget.parallel_calls} at once"
    now = whole(said.replacement, contents) if said.HasField("replacement") else limits
    return f"replaced at {stage(said.stage)} by {said.policy_ref}: {now}"


def question(event: event_pb2.Event) -> str | None:
    """What happens to a question to a remote policy, whose effect the event names; None: nothing that is known."""
    match event.WhichOneof("body"):
        case "policy_asked":
            asked = event.policy_asked
            return f"policy {asked.remote.policy} is asked at {stage(asked.stage)}, attempt {event.attempt}"
        case "policy_answered":
            return f"policy {event.policy_answered.remote.policy} {_answered(event.policy_answered)}"
        case "policy_resumed":
            resumed = event.policy_resumed
            reason = f": {resumed.reason}" if resumed.reason else ""
            return f"resumed by {resumed.resumed_by}{reason}" if resumed.resumed_by else "resumed, as its time has come"
        case "retry_scheduled":
            wait = names.seconds(event.retry_scheduled.not_before) - names.seconds(event.time)
            return f"asked again in {names.elapsed(wait)}: {names.reason(event.retry_scheduled.reason)}"
        case _:
            return None


def _answered(said: event_pb2.PolicyAnswered) -> str:
    answer = said.answer
    if said.HasField("error"):
        return f"gave no answer: {names.reason(said.error.reason)}"
    verdict = policy_pb2.PolicyVerdict.Name(answer.verdict).removeprefix("POLICY_VERDICT_").lower()
    until = f" until {names.clock(answer.defer_until)}" if answer.HasField("defer_until") else ""
    code = f" ({answer.code})" if answer.code else ""
    cached = f", as to question {said.cached_from}" if said.cached_from else ""
    return f"says {verdict}{until}{code}{cached}"
