"""Transcripts: what happens to a run, and what the machine makes of it, for people to read.

A file in scenarios/ begins with a sentence, then the package, its routes if there is more to say
of them than that there is one, and its tools. Each
line `at … s: …` is something that happens. Indented under it stand the records it
causes, then what the world still owes the run (`wants`), what the run waits for
(`waits`) and its status. Regenerate the indented lines: `pytest tests/core --regenerate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.approval_delegation import Delegate
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.approvals import ApprovalVerdict, ApproverSet, Decider
from runwright.core.content import Content, ContentRef
from runwright.core.context import Context, Omission, OmittedRun, SessionTurn
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId, RunId
from runwright.core.kinds import about, kind_of
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.outcomes import FinishReason, ReconcileAnswer, Resolution, RunPhase, Usage
from runwright.core.package import RuntimePackage
from runwright.core.policy import Decision, PolicyFindings, PolicyOpinion, PolicyStage, Verdict
from runwright.core.request import Budget
from runwright.core.state import RunState

from tests.core import builders as b

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
_TIMES = {"deadline", "not_before", "give_up_at", "next_ask_at", "due", "since", "expires_at", "until", "escalates_at"}
_TIMES |= {"retry_at"}
_WHEN_SET = _TIMES | {"principal_roles", "tainted", "untrusted", "message", "rule", "operator_digest", "shadow"}
_WHEN_SET |= {"approval", "approval_id", "approved_by", "note", "on_behalf_of", "risk"}
_WHEN_SET |= {"current_set", "four_eyes", "delegates", "edited_arguments", "grant_id"}
_WHEN_SET |= {"dispatchers", "retry_at", "reference", "refusal", "callback_id"}
_WHEN_SET |= {"awaits_release", "policy_ref", "code", "unknown_effects", "input", "is_held", "reversible", "highlight"}
_WHEN_SET |= {"summary"}
# Constant in a run, or nothing to a reader of a transcript; test_machine.py holds them.
_IDS = {
    "trace_parent",
    "journal_id",
    "call_id",
    "effect_id",
    "subject",
    "stage",
    "attempt",
    "round",
    "turn_id",
    "session_id",
    "package_id",
    "idempotency_key",
    "provider_call_id",
    "request_id",
}
_PINNED = {"at", "principal", "request", "request_digest", "package", "package_fingerprint", "labels"}
_PINNED |= {"decider", "subject_digest", "digest", "schema_digest", "approval_digest", "requested_at", "separation"}
_PINNED |= {"edited_digest"}
_LEFT_OUT = frozenset(_IDS | _PINNED)
_OF_A_ROUTE = frozenset({"provider", "model", "route"})
_IN_TOOL_STARTED = frozenset({"tool", "executor", "arguments", "idempotent"})


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_plays_as_its_transcript_says(path: Path, regenerate: bool) -> None:
    scenario = Scenario(path.read_text())

    transcript = scenario.play()

    if regenerate:
        path.write_text(transcript)
    assert transcript == path.read_text()


class Scenario:
    """A transcript, played: inputs are read from it, everything indented is made anew."""

    def __init__(self, transcript: str) -> None:
        lines = [line for line in transcript.splitlines() if not line.startswith(" ")]
        first = next(index for index, line in enumerate(lines) if line.startswith("at "))
        self._header, self._happenings = lines[:first], lines[first:]
        self.package = _read_package(self._header)
        self.is_gated = _GATED in self._header
        self.state: RunState = b.NEW
        self.records: list[r.Record] = []
        self._now = b.T0
        self._words: dict[str, str] = {b.text("How is the weather?").digest: "How is the weather?"}

    def play(self) -> str:
        """The whole transcript."""
        shown = list(self._header)
        for line in self._happenings:
            happened = re.fullmatch(r"at ([\d.]+) s: (.+)", line)
            assert happened, f"this line is not of the form `at … s: …`: {line}"
            self._now = b.at(float(happened[1]))
            shown += [line, *(f"    {result}" for result in self._happen(happened[2]))]
        return "\n".join(shown) + "\n"

    def text(self, words: str) -> ContentRef:
        """Reference to words that the transcript shows again."""
        ref = Content.text(words).ref
        self._words[ref.digest] = words
        return ref

    def arguments(self, words: str) -> ContentRef:
        """Reference to the arguments of a call."""
        ref = b.json_text(words)
        self._words[ref.digest] = words
        return ref

    def _happen(self, what: str) -> list[str]:
        new = decide(self.package, self.state, _read_input(self, self._now, what))
        lines = [] if new else ["nothing changes"]
        for record in new:
            self.state = fold(self.state, [record])
            line = f"{self.state.seq:>2}  {kind_of(record).name:<23}  {self._message(_subject(record), record)}"
            lines.append(line.rstrip())
        self.records += new
        return [*lines, *self._standing()]

    def _standing(self) -> list[str]:
        lines = []
        for (effect_id, _, attempt), effect in pending(self.state).items():
            subject = f"{type(effect).__name__} {effect_id} attempt {attempt}"
            lines.append(f"wants   {self._message(subject, effect, _LEFT_OUT | _IN_TOOL_STARTED)}")
        for wait in waiting_on(self.state):
            since = self._value("since", wait.since)
            lines.append(f"waits   {wait.kind.name} {wait.effect_id} since {since}: {wait.unblocked_by}")
        began = self.state.phase is not RunPhase.NEW
        return [*lines, f"status  {status(self.state).name if began else 'not started'}"]

    def _message(self, subject: str, value: Any, left_out: frozenset[str] = _LEFT_OUT) -> str:
        if getattr(value, "route", None) == 0:
            left_out |= _OF_A_ROUTE  # the package's own is nothing to tell
        if isinstance(value, r.ToolRequested):
            left_out |= {"executor"}  # TOOL_STARTED tells it
        names = [field.name for field in structs.fields(value) if field.name not in left_out]
        fields = [(name, getattr(value, name)) for name in names if name not in _WHEN_SET or getattr(value, name)]
        shown = [f"{name} {self._value(name, held)}" for name, held in fields if held is not None]
        return ": ".join(part for part in (subject, ", ".join(shown)) if part)

    def _value(self, name: str, held: Any) -> str:
        match held:
            case bool():
                return "yes" if held else "no"
            case int() if name in _TIMES:
                return f"{(held - b.T0) / b.SECOND:g} s"
            case str() if name == "arguments_digest":
                return f"of {self._words[held]}"
            case ContentRef():
                return f'"{self._words[held.digest]}"'
            case Failure():
                metadata = "".join(f" {key}={known}" for key, known in held.metadata)
                return f'{held.reason.name} "{held.message}"{metadata}'
            case r.DispatchedDecision():
                return held.verdict.name
            case Decision():
                return f"{held.verdict.name} {held.code}"
            case Usage():
                tokens = f"{held.input_tokens}+{held.output_tokens} tokens"
                return f"{held.rounds} rounds {held.tool_calls} calls {tokens}"
            case ApproverSet():
                return f"[{held} until {self._value('until', held.until)}]"
            case Budget():
                return f"{held.rounds} rounds {held.tool_calls} calls {held.parallel_calls} at once"
            case Context():
                turns = [self._earlier(turn) for turn in held.included]
                turns += [f"not {run.run_id} ({run.why.name})" for run in held.omitted]
                return ", ".join(turns) or "empty"
            case Enum():
                return held.name
            case tuple():
                return " ".join(self._value(name, one) for one in held) or "none"
            case _:
                return str(held)

    def _earlier(self, turn: SessionTurn) -> str:
        return f"{turn.run_id} {self._value('input', turn.input)} -> {self._value('answer', turn.answer)}"


def _subject(record: r.Record) -> str:
    _, effect, attempt = about(record)
    counts = any(field.name == "attempt" for field in structs.fields(record))
    return f"{effect} attempt {attempt}" if counts else effect or ""


def _read_package(lines: list[str]) -> RuntimePackage:
    tools = [_read_tool(line) for line in lines if line.startswith("tool ")]
    policy, *limits = next(line for line in lines if line.startswith("package ")).removeprefix("package ").split(", ")
    budget = dict(limit.split(" ") for limit in limits)
    routes = [line for line in lines if line.startswith("route ")] or ["route model-1"]
    first, *others = map(_read_route, routes)
    approvals = dict(_read_approval(line) for line in lines if line.startswith("approval "))
    fields: dict[str, Any] = {"approvals": approvals} if approvals else {}
    return b.package(*tools, policy=f"builtin:{policy}", budget=budget, provider=first, fallbacks=others, **fields)


def _read_approval(line: str) -> tuple[str, dict[str, Any]]:
    """Of `approval writes: approver for 60s, then ann; expires 300s, abort_run, four_eyes, delegates dan`."""
    name, _, said = line.removeprefix("approval ").partition(": ")
    who, _, how = said.partition("; ")
    sets = []
    for each in who.split(", then "):
        member, _, turn = each.partition(" for ")
        kind = "roles" if member == "approver" else "principals"
        sets.append({kind: [member], **({"for": turn} if turn else {})})
    expires, *more = how.removeprefix("expires ").split(", ")
    fields: dict[str, Any] = {"on_expiry": "abort_run" if "abort_run" in more else "deny"}
    for each in more:
        if each.startswith("delegates "):
            fields["delegates"] = each.removeprefix("delegates ").split(" and ")
        if each.startswith("escalates to "):
            member, _, turn = each.removeprefix("escalates to ").partition(" for ")
            fields |= {"on_expiry": "escalate", "escalate": {"principals": [member], "for": turn}}
    fields["dispatchers"] = [each.removeprefix("told to ") for each in more if each.startswith("told to ")]
    return name, {"sets": sets, "expires": expires, "four_eyes": "four_eyes" in more, **fields}


def _read_route(line: str) -> dict[str, Any]:
    model, *fields = line.removeprefix("route ").split(", ")
    return {"adapter": "scripted", "model": model, **dict(field.split(" ") for field in fields)}


def _read_tool(line: str) -> dict[str, Any]:
    name, effect, *fields = line.removeprefix("tool ").split(", ")
    said: dict[str, Any] = dict(field.split(" ") for field in fields)
    if "reconcilable" in said:
        said["reconcilable"] = said["reconcilable"] == "yes"
    return b.tool(name, effect=effect, **said)


def _read_input(scenario: Scenario, at: int, what: str) -> i.Input:
    for pattern, read in _READERS.items():
        if found := re.fullmatch(pattern, what):
            return read(scenario, at, found)
    raise AssertionError(f"no reader for: {what}")


def _start(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    limits = dict(limit.split(" ") for limit in (found["limits"] or "").split(", ") if limit)
    budget = Budget(**{name: int(limit) for name, limit in limits.items()})
    return structs.replace(b.started(scenario.package, budget=budget), at=at)


def _start_in_session(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    turns = tuple(
        SessionTurn(RunId(run_id), "turn-1", (scenario.text(said),), scenario.text(answer))
        for run_id, said, answer in re.findall(r'(run-\S+) "([^"]*)" answered "([^"]*)"', found["turns"])
    )
    omitted = tuple(
        OmittedRun(RunId(run_id), Omission[why]) for run_id, why in re.findall(r"(run-\S+) left out as (\w+)", found[0])
    )
    context = Context(turns, omitted, len(omitted))
    return structs.replace(b.started(scenario.package, context=context, session_id="session-1"), at=at)


def _model_replies(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    finish = {
        "answers": FinishReason.STOP,
        "asks for": FinishReason.TOOL_CALLS,
        "is cut off after": FinishReason.LENGTH,
        "is filtered": FinishReason.CONTENT_FILTER,
    }
    words, names = found["words"], found.groupdict().get("calls")
    calls = tuple(_call(scenario, name) for name in names.split(", ")) if names else ()
    round, attempt = _model_of(scenario, found)
    return i.ModelReplied(
        at=at,
        round=round,
        attempt=attempt,
        text=None if words is None else scenario.text(words),
        finish=finish[found["how"]],
        calls=calls,
        input_tokens=10,
        output_tokens=5,
    )


def _call(scenario: Scenario, call: str) -> i.RequestedCall:
    call, _, found = call.partition(" whose executor is ")
    call, _, approval = call.partition(" by approval ")
    name, _, bad = call.partition(" with ")
    problem = ErrorReason.TOOL_ARGUMENTS_INVALID if bad else None
    if scenario.package.tool(name) is None:
        problem = ErrorReason.TOOL_UNKNOWN
    problem_text = scenario.text("city is required") if bad else None
    availability = i.Availability[found.upper() or "HELD"]
    policies = _asking(scenario, approval) if approval else ()
    found_out = i.Findings(problem, problem_text, availability, policies)
    return i.RequestedCall(name, "call_x", scenario.arguments("{}"), found_out)


def _asking(scenario: Scenario, approval: str, rules: str = "", of: str = "{}") -> tuple[PolicyFindings, ...]:
    named = "" if approval == "as built in" else approval
    asks = PolicyOpinion(Verdict.ASK, "policies.0", "policies.0.rules.0", "rule.ask", "package", "", named)
    return (PolicyFindings(PolicyStage.PRE_TOOL, scenario.arguments(of).digest, rules, (asks,)),)


def _decide(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id = EffectId("c" + found["approval"][1:].rpartition(".")[0])
    call, words = scenario.state.call(call_id), found["words"] or ""
    verdict = _APPROVAL_VERDICTS[found["how"]]
    response = scenario.text(words) if verdict is ApprovalVerdict.RESPOND else None
    edits = verdict is ApprovalVerdict.APPROVE_WITH_EDITS
    delegates = verdict is ApprovalVerdict.DELEGATE
    return i.ApprovalDecisionRequested(
        at=at,
        call_id=call_id,
        approval_id=found["approval"],
        digest="another" if found["other"] else call.approval.digest if call and call.approval else "",
        verdict=verdict,
        decider=Decider(found["who"], ("approver",) if found["who"] != "ann" else (), bool(found["performs"])),
        request_id="decision-1",
        request_digest="",
        message="" if response or edits or delegates else words,
        response=response,
        edited=scenario.arguments(words) if edits else None,
        delegate=Delegate(words, may_decide=True, may_perform=False) if delegates else None,
        availability=i.Availability.HELD if found["place"] else i.Availability.BUSY,
        policies=_asking(scenario, found["asks"], "rules-2", words if edits else "{}") if found["asks"] else (),
    )


def _reported(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    effect_id = EffectId(found["effect"])
    known = scenario.state.dispatch(effect_id)
    attempt = int(found["attempt"] or (known.attempt if known else 1))
    decision = decided = None
    if found["how"]:
        call_id = EffectId("c" + found["effect"][1:].rsplit(".", 2)[0])
        call, verdict = scenario.state.call(call_id), _APPROVAL_VERDICTS[found["how"]]
        decided = r.DispatchedDecision(verdict)
        decision = i.ApprovalDecisionRequested(
            at=at,
            call_id=call_id,
            approval_id=known.approval_id if known else "",
            digest=call.approval.digest if call and call.approval else "",
            verdict=verdict,
            decider=Decider(found["who"], ("approver",), is_dispatcher=True),
            request_id="dispatch",
            request_digest="",
            availability=i.Availability.HELD if found["place"] else i.Availability.BUSY,
        )
    return i.ApprovalDispatchReported(
        at=at,
        effect_id=effect_id,
        attempt=attempt,
        result=DispatchResult[found["result"].upper().replace(" ", "_")],
        reference="message-1" if found["result"] == "acknowledged" else "",
        decided=decided,
        decision=decision,
    )


def _dispatcher_is_there(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    known = scenario.state.dispatch(EffectId(found["effect"]))
    attempt = int(found["attempt"] or (known.attempt if known else 1))
    return i.DispatcherAwaited(at=at, effect_id=EffectId(found["effect"]), attempt=attempt)


def _approval_due(_: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id = EffectId("c" + found["approval"][1:].rpartition(".")[0])
    return i.ApprovalDue(at=at, call_id=call_id, approval_id=found["approval"])


def _model_fails(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    round, attempt = _model_of(scenario, found)
    reason = ErrorReason[found["reason"] or "PROVIDER_FAILED"]
    asks = {"retry_after": f"{found['seconds']}s"} if found["seconds"] else {}
    error = b.failed(reason, **asks).error
    return i.ModelFailed(at=at, round=round, attempt=attempt, error=error)


def _retry_due(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    return i.RetryDue(
        at=at, round=scenario.state.round, attempt=int(found["attempt"] or scenario.state.model_request.attempt)
    )


def _model_of(scenario: Scenario, found: re.Match[str]) -> tuple[int, int]:
    return int(found["round"] or scenario.state.round), int(found["attempt"] or scenario.state.model_attempt)


def _tool_returns(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id, attempt = _call_of(scenario, found)
    ok = found["how"] == "returns"
    result = scenario.text(found["words"])
    return i.ToolReturned(at=at, call_id=call_id, attempt=attempt, ok=ok, result=result, is_gated=scenario.is_gated)


def _policies_say(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id, attempt = _call_of(scenario, found)
    call, verdict = scenario.state.call(call_id), _VERDICTS[found["verdict"]]
    assert call is not None and call.outcome is not None, f"{call_id} awaits no release"
    said = b.said_of(call.outcome, verdict, found["code"] or "")
    return i.ResultEvaluated(at=at, call_id=call_id, attempt=attempt, policies=(said,))


def _tool_is(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id, attempt = _call_of(scenario, found)
    if found["how"] == "is not sent":
        return i.ToolNotSent(at=at, call_id=call_id, attempt=attempt)
    reason = _UNKNOWN[found["how"]]
    return i.ToolOutcomeUnknown(at=at, call_id=call_id, attempt=attempt, reason=reason)


def _executor_is(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    known = scenario.state.call(EffectId(found["call"]))
    attempt = int(found["attempt"] or (known.attempt if known else 0))
    has_place = found["how"] == "has a place"
    give_up_at = known.give_up_at if known else 0
    return i.ExecutorAwaited(
        at=at, call_id=EffectId(found["call"]), attempt=attempt, has_place=has_place, give_up_at=give_up_at
    )


def _call_of(scenario: Scenario, found: re.Match[str]) -> tuple[EffectId, int]:
    call_id = EffectId(found["call"])
    known = scenario.state.call(call_id)
    return call_id, int(found["attempt"] or (known.attempt if known and known.attempt else 1))


def _resolve(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id, attempt = _call_of(scenario, found)
    words = found["words"]
    return i.ResolutionRequested(
        at=at,
        call_id=call_id,
        attempt=attempt,
        resolution=Resolution[found["resolution"]],
        resolved_by=found["who"],
        reason=found["reason"] or "",
        request_id="decision-1",
        request_digest="",
        result=None if words is None else scenario.text(words),
        grace_us=10 * b.SECOND,
        is_gated=scenario.is_gated,
    )


def _may_ask(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id, attempt = _call_of(scenario, found)
    known = scenario.state.call(call_id)
    ask = known.reconciling.asks if known and known.reconciling else 0
    return i.ReconcileAwaited(
        at=at, call_id=call_id, attempt=attempt, ask=ask, has_place=found["how"] == "can be asked"
    )


def _reconciled(scenario: Scenario, at: int, found: re.Match[str]) -> i.Input:
    call_id, attempt = _call_of(scenario, found)
    known, words = scenario.state.call(call_id), found["words"]
    asked = known.reconciling.asks if known and known.reconciling else 1
    return i.Reconciled(
        at=at,
        call_id=call_id,
        attempt=attempt,
        ask=int(found["ask"] or asked),
        answer=ReconcileAnswer[found["answer"]],
        result=None if words is None else scenario.text(words),
        failure=ErrorReason.TOOL_RESULT_TOO_LARGE if found["large"] else None,
    )


def _cancel(_: Scenario, at: int, found: re.Match[str]) -> i.Input:
    grace = int(found["grace"]) * b.SECOND
    return i.CancelRequested(at=at, reason=found["reason"], requested_by="local", grace_us=grace)


_APPROVAL_VERDICTS = {
    "approves": ApprovalVerdict.APPROVE,
    "denies": ApprovalVerdict.DENY,
    "responds to": ApprovalVerdict.RESPOND,
    "ends the run over": ApprovalVerdict.ABORT_RUN,
    "edits": ApprovalVerdict.APPROVE_WITH_EDITS,
    "delegates": ApprovalVerdict.DELEGATE,
}
_GATED = "results await their release"
_VERDICTS = {"allow": Verdict.ALLOW, "deny": Verdict.DENY, "interrupt": Verdict.INTERRUPT}
_UNKNOWN = {
    "is lost": ErrorReason.EXECUTOR_LOST,
    "times out": ErrorReason.TOOL_TIMED_OUT,
    "is answered unreadably": ErrorReason.TOOL_ANSWER_INVALID,
}
_MODEL = r"model(?: m(?P<round>\d+) attempt (?P<attempt>\d+))?"
_CALL = r"(?P<call>c\d+\.\d+)(?: attempt (?P<attempt>\d+))?"
_NOTICE = r"(?P<effect>n[\d.]+)(?: attempt (?P<attempt>\d+))?"
_READERS: dict[str, Callable[[Scenario, int, re.Match[str]], i.Input]] = {
    r"start in a session after (?P<turns>.+)": _start_in_session,
    r"start(?: with (?P<limits>.+))?": _start,
    _MODEL + r' (?P<how>answers|is cut off after|is filtered)(?: nothing| "(?P<words>.*)")?': _model_replies,
    _MODEL + r' (?P<how>asks for) (?P<calls>[^"]+?)(?: saying "(?P<words>.*)")?': _model_replies,
    _MODEL + r" fails(?: with (?P<reason>[A-Z_]+))?(?: asking for (?P<seconds>\d+) s)?": _model_fails,
    r"retry(?: of attempt (?P<attempt>\d+))? is due": _retry_due,
    _CALL + r' (?P<how>returns|fails with) "(?P<words>.*)"': _tool_returns,
    _CALL + r" (?P<how>is not sent|is lost|times out|is answered unreadably)": _tool_is,
    r"executor of " + _CALL + r" (?P<how>has a place|is given up|is away)": _executor_is,
    r"executor of " + _CALL + r" (?P<how>can be asked|is asked no more)": _may_ask,
    r"executor says of "
    + _CALL
    + r'(?: to ask (?P<ask>\d+))? (?P<answer>[A-Z_]+)(?P<large> too large)?(?: "(?P<words>.*)")?': _reconciled,
    r"(?P<who>[a-z]+) resolves "
    + _CALL
    + r' as (?P<resolution>[A-Z_]+)(?: "(?P<words>.*?)")?(?: because "(?P<reason>.*)")?': _resolve,
    r"(?P<who>[a-z]+)(?P<performs>, who may perform it,)?"
    r" (?P<how>approves|denies|responds to|ends the run over|edits|delegates)"
    r'(?P<other> something else than)? (?P<approval>a[\d.]+)(?: "(?P<words>.*?)")?(?P<place> with a place)?'
    r"(?: while policies ask for (?P<asks>\w+))?": _decide,
    _NOTICE + r" is (?P<result>acknowledged|not sent|lost|timed out|unreadable)"
    r"(?: and (?P<who>[a-z]+) (?P<how>approves|denies))?(?P<place> with a place)?": _reported,
    r"dispatcher of " + _NOTICE + " is there": _dispatcher_is_there,
    r"time of (?P<approval>a[\d.]+) is over": _approval_due,
    r"policies (?P<verdict>allow|deny|interrupt) what came of " + _CALL + r"(?: as (?P<code>\w+))?": _policies_say,
    r'cancel "(?P<reason>.*)" with (?P<grace>\d+) s of grace': _cancel,
    r"grace of the cancel is over": lambda _, at, __: i.CancelDeadlinePassed(at=at),
    r"server restarts": lambda _, at, __: i.Recovered(at=at),
}
