"""Small builders for tests of the core: packages, inputs, content and one example of every record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approvals import (
    ApprovalExpiry,
    ApprovalKind,
    ApprovalSeparation,
    ApprovalVerdict,
    ApproverSet,
)
from runwright.core.content import JSON, OPAQUE, Content, ContentRef
from runwright.core.context import Context, Omission, OmittedRun, SessionTurn
from runwright.core.errors import ErrorReason, Failure
from runwright.core.grants import Grant, GrantMatcher, GrantOffer, GrantScope
from runwright.core.ids import DEFAULT_NAMESPACE, EffectId, RunId, RunKey
from runwright.core.kinds import EventKind, kind_of
from runwright.core.machine import decide
from runwright.core.outcomes import (
    CallPhase,
    ExecutorIdentity,
    FinishReason,
    ReconcileAnswer,
    Resolution,
    ResultRelease,
    StopReason,
    Usage,
)
from runwright.core.package import RuntimePackage
from runwright.core.policy import Decision, PolicyFindings, PolicyOpinion, PolicyStage, RemotePolicy, Verdict
from runwright.core.policy_walk import PolicyAnswer
from runwright.core.request import Budget, RunRequest
from runwright.core.state import CallState, RunState
from runwright.core.taint import Taint, TaintingCall

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
KEY = RunKey(DEFAULT_NAMESPACE, RunId("run-1"))
NEW = RunState(key=KEY)
TRACE_PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
FIRST_CALL = EffectId("c1.1")
SECOND_CALL = EffectId("c1.2")


def at(seconds: float) -> int:
    """Microseconds of a moment, counted in seconds from the beginning of the test's time."""
    return T0 + round(seconds * SECOND)


def text(words: str) -> ContentRef:
    """Reference to a text."""
    return Content.text(words).ref


def json_text(words: str) -> ContentRef:
    """Reference to JSON as a model wrote it."""
    return Content.of(words.encode(), JSON).ref


def tool(name: str = "lookup", **fields: Any) -> dict[str, Any]:
    """A tool as a package file has it; it only reads unless the fields say otherwise."""
    return {"name": name, "executor": "tools", "effect": "read", **fields}


def package_fields(*tools: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A package as a file has it."""
    return {
        "format": "runwright-package-v0",
        "id": "helper-package",
        "agent": {"id": "helper"},
        "provider": {"adapter": "scripted", "model": "model-1"},
        "policy": "builtin:allow-declared",
        "tools": list(tools),
        **fields,
    }


def package(*tools: dict[str, Any], **fields: Any) -> RuntimePackage:
    """A valid package; it allows what it declares unless the fields say otherwise."""
    return RuntimePackage.model_validate(package_fields(*tools, **fields))


def earlier(run_id: str, said: str, answer: str, *, tainted: bool = False) -> SessionTurn:
    """A turn that was completed before."""
    return SessionTurn(RunId(run_id), "turn-1", (text(said),), text(answer), tainted)


def started(
    pinned: RuntimePackage, seconds: float = 0, context: Context | None = None, **request: Any
) -> i.StartRequested:
    """Somebody asks for a run of `pinned`."""
    requested_wait = RunRequest(**{"input": ("How is the weather?",), "run_id": KEY.run_id, **request})
    return i.StartRequested(
        at=at(seconds),
        request=requested_wait,
        turn_id=requested_wait.turn_id or "turn-1",
        principal="local",
        request_ref=Content.of(requested_wait.canonical(), JSON).ref,
        package_ref=Content.of(pinned.canonical(), JSON).ref,
        package_fingerprint=pinned.fingerprint(),
        input=tuple(content.ref for content in requested_wait.contents()),
        context=context,
        trace_parent=TRACE_PARENT,
    )


def tool_call(
    name: str = "lookup",
    problem: ErrorReason | None = None,
    availability: i.Availability = i.Availability.HELD,
) -> i.RequestedCall:
    """A tool call as the model asks for it; a place is held for it, unless something else is said."""
    return i.RequestedCall(name, f"call_{name}", json_text("{}"), i.Findings(problem, availability=availability))


def answered(words: str | None = "Sunny.", *, round: int = 1, attempt: int = 1, seconds: float = 1) -> i.ModelReplied:
    """The model gives its final answer."""
    said = None if words is None else text(words)
    return i.ModelReplied(at=at(seconds), round=round, attempt=attempt, text=said, finish=FinishReason.STOP)


def asks(*calls: i.RequestedCall, round: int = 1, attempt: int = 1, seconds: float = 1) -> i.ModelReplied:
    """The model asks for tools."""
    finish = FinishReason.TOOL_CALLS
    return i.ModelReplied(at=at(seconds), round=round, attempt=attempt, text=None, finish=finish, calls=calls)


def failed(
    reason: ErrorReason = ErrorReason.PROVIDER_FAILED,
    *,
    round: int = 1,
    attempt: int = 1,
    seconds: float = 1,
    **metadata: str,
) -> i.ModelFailed:
    """The model request fails."""
    error = Failure(reason, "The provider failed.", tuple(sorted({"adapter": "scripted", **metadata}.items())))
    return i.ModelFailed(at=at(seconds), round=round, attempt=attempt, error=error)


def due(*, round: int = 1, attempt: int = 1, seconds: float = 400) -> i.RetryDue:
    """The time of a planned model request has come."""
    return i.RetryDue(at=at(seconds), round=round, attempt=attempt)


def returned(
    call_id: EffectId = FIRST_CALL, *, attempt: int = 1, ok: bool = True, seconds: float = 2
) -> i.ToolReturned:
    """The executor answers."""
    return i.ToolReturned(at=at(seconds), call_id=call_id, attempt=attempt, ok=ok, result=text("12 degrees"))


def not_sent(call_id: EffectId = FIRST_CALL, *, attempt: int = 1, seconds: float = 2) -> i.ToolNotSent:
    """The attempt never reached the executor."""
    return i.ToolNotSent(at=at(seconds), call_id=call_id, attempt=attempt)


def lost(
    call_id: EffectId = FIRST_CALL,
    *,
    attempt: int = 1,
    seconds: float = 2,
    reason: ErrorReason = ErrorReason.EXECUTOR_LOST,
) -> i.ToolOutcomeUnknown:
    """The attempt began and no answer came."""
    return i.ToolOutcomeUnknown(at=at(seconds), call_id=call_id, attempt=attempt, reason=reason)


def awaited(
    call_id: EffectId = FIRST_CALL,
    *,
    attempt: int = 1,
    has_place: bool = True,
    seconds: float = 3,
    give_up_at: int = 0,
) -> i.ExecutorAwaited:
    """Waiting for the executor is over."""
    return i.ExecutorAwaited(
        at=at(seconds), call_id=call_id, attempt=attempt, has_place=has_place, give_up_at=give_up_at
    )


def resolved(resolution: Resolution = Resolution.HAPPENED, seconds: float = 60) -> i.ResolutionRequested:
    """Somebody says what became of the first attempt of the first call; with words, where they are wanted."""
    has_words = resolution in (Resolution.HAPPENED, Resolution.FAILED)
    return i.ResolutionRequested(
        at=at(seconds),
        call_id=FIRST_CALL,
        attempt=1,
        resolution=resolution,
        resolved_by="ann",
        reason="",
        request_id="decision-1",
        request_digest="",
        result=text("12 degrees") if has_words else None,
        grace_us=10 * SECOND,
    )


def said_of(
    ref: ContentRef, verdict: Verdict, code: str = "", stage: PolicyStage = PolicyStage.POST_TOOL
) -> PolicyFindings:
    """What policies say of a subject with these bytes."""
    opinion = PolicyOpinion(verdict, "policies.0", "policies.0.rules.0", code or "rule", "package", "")
    return PolicyFindings(stage, ref.digest, "", (opinion,))


def cancelled(seconds: float = 2, grace: float = 5) -> i.CancelRequested:
    """Somebody cancels the run."""
    return i.CancelRequested(at=at(seconds), reason="not needed", requested_by="local", grace_us=round(grace * SECOND))


def play(pinned: RuntimePackage, *input_: i.Input, state: RunState = NEW) -> tuple[RunState, list[r.Record]]:
    """What a run becomes by these inputs, and every record on the way."""
    records: list[r.Record] = []
    for one in input_:
        new = decide(pinned, state, one)
        state = fold(state, new)
        records += new
    return state, records


def kinds(records: Sequence[r.Record]) -> list[str]:
    """Names of the records' kinds."""
    return [kind_of(record).name for record in records]


def call_in(phase: CallPhase, **fields: Any) -> CallState:
    """The first call of the first round, as it stands in a phase."""
    attempt = 0 if phase in (CallPhase.REQUESTED, CallPhase.DENIED) else 1
    input_ = {
        "attempt": attempt,
        "passed": PolicyStage.PRE_TOOL,
        "arguments": json_text("{}"),
        "executor": "tools",
        **fields,
    }
    return CallState(FIRST_CALL, "lookup", phase, **input_)


def incident(seconds: float = 9) -> list[r.Record]:
    """What is appended, without a decision, when the runtime itself failed on a run."""
    error = Failure(ErrorReason.INTERNAL, "The run met a fault of the server.", (("incident_id", "i-1"),))
    usage = Usage()
    return [
        r.TurnFailed(at=at(seconds), error=error),
        r.RunFailed(at=at(seconds), stop=StopReason.INTERNAL, error=error, usage=usage),
    ]


def examples() -> dict[EventKind, r.Record]:
    """One record of every kind, every field set to something that is not its default."""
    return {kind_of(record): record for record in _all_examples()}


def _all_examples() -> list[r.Record]:
    return [*_run_examples(), *_model_examples(), *_call_examples(), *_approval_examples()]


def _failure() -> Failure:
    return Failure(ErrorReason.BUDGET_EXHAUSTED, "Used up.", (("budget", "rounds"), ("limit", "2")))


def _run_examples() -> list[r.Record]:
    now, usage = at(1.000001), Usage(1, 2, 3, 4)
    return [
        r.RunStarted(
            at=now,
            session_id="session-1",
            turn_id="turn-1",
            agent_id="helper",
            principal="local",
            request=json_text('{"input":["Hello"]}'),
            request_digest=json_text('{"input":["Hello"]}').digest,
            package_id="helper-package",
            package=json_text('{"id":"helper-package"}'),
            package_fingerprint="sha256:runwright-package-v0:00",
            provider="scripted",
            model="model-1",
            budget=Budget(1, 2, 3),
            labels={"team": "blue", "zone": "é"},
            trace_parent=TRACE_PARENT,
            journal_id="0123456789abcdef",
            principal_roles=("caller", "observer"),
        ),
        r.ContextAssembled(
            at=now,
            context=Context(
                included=(
                    earlier("run-0", "Who is there?", "Nobody."),
                    earlier("run-1", "Still?", "Yes.", tainted=True),
                ),
                omitted=(OmittedRun(RunId("run-x"), Omission.FAILED), OmittedRun(RunId("run-y"), Omission.BYTES)),
                omitted_count=3,
                has_older=True,
                tainted_by=Taint((TaintingCall(FIRST_CALL, "lookup", 9, "run-1"), TaintingCall(run_id="run-1")), 2),
            ),
        ),
        r.TurnStarted(at=now, input=(text("Hello"), text("again"))),
        r.RunCancelRequested(at=now, reason="not needed", requested_by="local", deadline=at(9.999999)),
        r.TurnCompleted(at=now),
        r.TurnFailed(at=now, error=_failure()),
        r.RunCompleted(
            at=now,
            stop=StopReason.END_TURN,
            result=text("Sunny."),
            usage=usage,
            tainted=True,
            input=(text("Hello, mended"),),
            tainted_by=Taint((TaintingCall(FIRST_CALL, "lookup", 9),)),
        ),
        r.RunFailed(at=now, stop=StopReason.MAX_ROUNDS, error=_failure(), usage=usage, unknown_effects=(FIRST_CALL,)),
        r.RunCancelled(at=now, error=_failure(), unknown_effects=(FIRST_CALL, SECOND_CALL), usage=usage),
    ]


def _model_examples() -> list[r.Record]:
    now = at(1.000001)
    return [
        r.ModelAttemptStarted(at=now, round=1, attempt=1, provider="scripted", model="model-2", route=1),
        r.ModelMessageCompleted(
            at=now,
            round=1,
            attempt=1,
            text=text("Let me see."),
            finish=FinishReason.TOOL_CALLS,
            tool_calls=2,
            input_tokens=2**40,
            output_tokens=7,
            opaque=Content.of(b"signed", OPAQUE).ref,
            route=1,
            is_held=True,
        ),
        r.ModelAttemptFailed(at=now, round=1, attempt=1, error=_failure()),
    ]


def remote_policy(name: str = "compliance", **fields: Any) -> RemotePolicy:
    """A remote policy, as it is asked."""
    value = {"policy_ref": "policies.0", "decider": "package", "timeout_ms": 10_000, "max_attempts": 3}
    return RemotePolicy(name, **{"unavailable_timeout_ms": 60_000, "cache": True, **value, **fields})


def _policy_examples(now: int, call: EffectId) -> list[r.Record]:
    question, digest = {"effect_id": EffectId("p1.1.1"), "attempt": 1}, {"subject_digest": json_text("{}").digest}
    remote, other = {"remote": remote_policy(shadow=True)}, json_text('{"city":"Bern"}')
    limits = Budget(rounds=1, tool_calls=2, parallel_calls=1)
    answer = PolicyAnswer(Verdict.MODIFY, "too_far", "Nearer.", other, limits, at(9))
    return [
        r.PolicyAsked(at=now, stage=PolicyStage.PRE_TOOL, deadline=at(11), **question, **remote, **digest),
        r.PolicyAnswered(at=now, answer=answer, error=_failure(), cached_from="p1.1.1", **question, **remote, **digest),
        r.PolicyResumed(
            at=now, effect_id=EffectId("p1.1.1"), resumed_by="ann", reason="it is over", request_id="resume-1"
        ),
        r.SubjectReplaced(
            at=now,
            subject=call,
            stage=PolicyStage.PRE_TOOL,
            policy_ref="policies.0",
            decider="package",
            replaced_digest=json_text("{}").digest,
            replacement=other,
            budget=limits,
        ),
    ]


def _call_examples() -> list[r.Record]:
    now, call = at(1.000001), FIRST_CALL
    arguments = json_text("{}")
    name, first, where = {"tool": "lookup"}, {"attempt": 1}, {"executor": "tools", "idempotency_key": "default/r/c1.1"}
    lost_reason, unreachable = ErrorReason.EXECUTOR_LOST, ErrorReason.EXECUTOR_UNAVAILABLE
    allow, sent = Decision(Verdict.ALLOW, "tool.declared"), {"arguments_digest": arguments.digest}
    approved = {"approval_id": "a1.1.1", "approved_by": "ann", "approval_digest": "sha256:runwright-approval-v1:00"}
    approved["grant_id"] = "run-1/g1.1.1"
    sent_as = {**where, **sent, **approved}
    by = {"executor_identity": ExecutorIdentity("tools-1", "host", "127.0.0.1:7761")}
    return [
        r.ToolRequested(
            at=now,
            call_id=call,
            provider_call_id="p-1",
            arguments=arguments,
            executor="tools",
            tainted=True,
            untrusted=True,
            **name,
        ),
        r.PolicyDecided(
            at=now,
            stage=PolicyStage.PRE_TOOL,
            subject=call,
            policy_ref="builtin:allow-declared",
            decision=allow,
            rule="policies.0.rules.1",
            decider="package",
            subject_digest=arguments.digest,
            operator_digest="sha256:01",
            shadow=(PolicyOpinion(Verdict.ASK, "policies.1", "policies.1.rules.0", "risky", "operator", "Ask.", "w"),),
            approval="writes",
        ),
        *_policy_examples(now, call),
        r.ToolStarted(
            at=now,
            call_id=call,
            effect="write",
            idempotent=True,
            deadline=at(31),
            **first,
            **name,
            **sent_as,
        ),
        r.ToolCompleted(at=now, call_id=call, result=text("12 degrees"), awaits_release=True, **first, **name, **by),
        r.ToolFailed(
            at=now,
            call_id=call,
            reason=ErrorReason.TOOL_FAILED,
            message=text("no such city"),
            awaits_release=True,
            **first,
            **name,
            **by,
        ),
        r.ToolResultReleased(
            at=now,
            call_id=call,
            release=ResultRelease.REPLACED,
            policy_ref="policies.0",
            code="secret",
            message="Do not ask for it.",
            replacement=text("nothing of interest"),
            failed=True,
            **name,
        ),
        r.ToolDenied(
            at=now, call_id=call, policy_ref="builtin:read-only", code="effect.above_read", message="Ask.", **name
        ),
        r.ToolCancelled(at=now, call_id=call, **first, **name),
        r.ToolRecoveryRequired(at=now, call_id=call, reason=lost_reason, **first, **name, **where, **sent, **by),
        r.EffectResolved(
            at=now,
            call_id=call,
            resolution=Resolution.TRY_AGAIN,
            resolved_by="ann",
            reason="the mailbox has nothing of it",
            request_id="decision-1",
            request_digest=arguments.digest,
            **first,
            **name,
        ),
        r.ReconcileStarted(at=now, call_id=call, ask=2, deadline=at(31), **first, **name, **where, **sent),
        r.ReconcileEnded(
            at=now,
            call_id=call,
            ask=2,
            answer=ReconcileAnswer.CANNOT_SAY,
            reason=lost_reason,
            give_up_at=at(601),
            next_ask_at=at(3),
            **first,
            **name,
            **by,
        ),
        r.RetryScheduled(at=now, effect_id=call, reason=unreachable, not_before=at(2), give_up_at=at(3), **first, **by),
    ]


def _approval_examples() -> list[r.Record]:
    now, digest = at(1.000001), "sha256:runwright-approval-v1:00"
    which = {"call_id": FIRST_CALL, "approval_id": "a1.1.1", "tool": "lookup"}
    since = {"requested_at": at(0.5)}
    told: dict[str, Any] = {
        "effect_id": EffectId("n1.1.1.1"),
        "attempt": 2,
        "approval_id": "a1.1.1",
        "dispatcher": "chat",
    }
    return [
        r.ApprovalRequested(
            at=now,
            kind=ApprovalKind.TOOL_CALL,
            executor="tools",
            risk="high",
            arguments=json_text("{}"),
            digest=digest,
            schema_digest=json_text("{}").digest,
            approval="writes",
            policy_ref="policies.1",
            rule="policies.1.rules.0",
            code="risky",
            decider="package",
            message="Ask first.",
            tainted=True,
            sets=(ApproverSet(("approver",), ("bob", "cy"), at(9)), ApproverSet((), ("ann",), at(99))),
            expires_at=at(99),
            on_expiry=ApprovalExpiry.ABORT_RUN,
            four_eyes=True,
            delegates=("dan",),
            escalates_at=at(9),
            grants=GrantOffer((GrantScope.RUN, GrantScope.NAMESPACE), (GrantMatcher.ANY,), 7, "8h", tainted=True),
            reversible=True,
            highlight=("/to", "/a~1b"),
            summary='Send to "ann"',
            dispatchers=("chat", "tickets"),
            tainted_by=Taint((TaintingCall(FIRST_CALL, "lookup", 9), TaintingCall(SECOND_CALL, "lookup", 11)), 3),
            **which,
        ),
        r.ApprovalDelegated(
            at=now,
            digest=digest,
            number=2,
            delegated_by="ann",
            delegated_to="dan",
            current_set=1,
            approvers=ApproverSet(("approver",), ("dan", "ann"), at(99)),
            note="I am away",
            on_behalf_of="bob",
            request_id="decision-1",
            request_digest=json_text("{}").digest,
            **which,
            **since,
        ),
        r.ApprovalDecided(
            at=now,
            digest=digest,
            verdict=ApprovalVerdict.DENY,
            decided_by="ann",
            message="Not now.",
            note="spoke with Bob",
            on_behalf_of="bob",
            request_id="decision-1",
            request_digest=json_text("{}").digest,
            separation=ApprovalSeparation.NOT_ENFORCED,
            edited_arguments=json_text('{"to":"ann"}'),
            edited_digest=digest,
            grant_id="run-1/g1.1.1",
            **which,
            **since,
        ),
        r.ApprovalExpired(at=now, expires_at=at(0.9), on_expiry=ApprovalExpiry.ABORT_RUN, **which, **since),
        r.ApprovalWithdrawn(at=now, **which, **since),
        r.ApprovalSuperseded(at=now, **which, **since),
        r.ApprovalEscalated(at=now, current_set=1, **which, **since),
        r.ApprovalDispatchStarted(at=now, notice=ApprovalNotice.UPDATE, revision=3, **told),
        r.ApprovalDispatched(
            at=now,
            notice=ApprovalNotice.UPDATE,
            revision=3,
            result=DispatchResult.LOST,
            retry_at=at(2),
            principal="bot",
            callback_id="chat-1",
            reference="C1/17.4",
            decision=r.DispatchedDecision(ApprovalVerdict.RESPOND, "bob"),
            refusal="approver_set",
            **told,
        ),
        *_grant_examples(),
    ]


def example_grant(**fields: Any) -> Grant:
    """A grant that is given with an approval."""
    said: dict[str, Any] = {
        "grant_id": "run-1/g1.1.1",
        "scope": GrantScope.SESSION,
        "run_id": "run-1",
        "session_id": "s-1",
        "agent_id": "helper",
        "principal": "cal",
        "package_fingerprint": "sha256:runwright-package-v0:00",
        "tool": "lookup",
        "executor": "tools",
        "schema_digest": json_text("{}").digest,
        "approval": "writes",
        "matcher": GrantMatcher.CONSTRAINTS,
        "arguments_digest": json_text("{}").digest,
        "condition": 'args.to == "ann"',
        "uses": 7,
        "until": at(99),
        "tainted": True,
        "issuer": "ann",
        "approval_id": "run-1/a1.1.1",
        "issued_at": at(1),
        "issued_seq": 9,
    }
    return Grant(**{**said, **fields})


def _grant_examples() -> list[r.Record]:
    now, grant = at(1.000001), example_grant()
    return [
        r.GrantIssued(at=now, call_id=FIRST_CALL, approval_id="a1.1.1", grant=grant),
        r.GrantUsed(
            at=now,
            call_id=FIRST_CALL,
            tool="lookup",
            grant=grant,
            issued_hash=bytes(range(32)),
            digest="sha256:runwright-approval-v1:00",
            arguments_digest=json_text("{}").digest,
            policy_ref="policies.1",
            rule="policies.1.rules.0",
            code="risky",
            separation=ApprovalSeparation.NOT_ENFORCED,
        ),
        r.GrantSuperseded(at=now, call_id=FIRST_CALL, tool="lookup", grant_id=grant.grant_id),
    ]
