"""The runs of a golden journal that no runtime makes of its own: every reason, effect, end and omission, and little."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs
from runwright.adapters.sqlite import SqliteJournal
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.content import JSON, Content
from runwright.core.context import Context, Omission, OmittedRun, SessionTurn
from runwright.core.errors import MEANINGS, ErrorReason, Failure
from runwright.core.ids import EffectId, Namespace, RunId, RunKey
from runwright.core.outcomes import ExecutorIdentity, FinishReason, StopReason, Usage
from runwright.core.package import EffectClass
from runwright.core.policy import Decision, PolicyStage, Verdict
from runwright.core.request import Budget
from runwright.core.state import RunState

NAMESPACE = Namespace("older")
AT = 1_600_000_000_000_000
EMPTY, SAID = Content.of(b"{}", JSON), Content.text("Said.")
IDENTITY = ExecutorIdentity("desk-1", "desk-owner", "127.0.0.1:7001")

# As an older server began it: what came later is unset.
STARTED = r.RunStarted(
    at=AT,
    session_id="",
    turn_id="t",
    agent_id="a",
    principal="",
    request=EMPTY.ref,
    request_digest=EMPTY.ref.digest,
    package_id="p",
    package=EMPTY.ref,
    package_fingerprint="",
    provider="",
    model="",
    budget=Budget(),
)
# What the other runs end with is left out.
ENDS = (StopReason.MAX_TOOL_CALLS, StopReason.INTERNAL)
TURN = r.TurnStarted(at=AT + 1, input=())


def requested(attempt: int = 1) -> r.ModelAttemptStarted:
    """A model request that names no route."""
    return r.ModelAttemptStarted(at=AT + 2, round=1, attempt=attempt)


def answered(calls: int) -> r.ModelMessageCompleted:
    """An answer without a text."""
    return r.ModelMessageCompleted(
        at=AT + 3,
        round=1,
        attempt=1,
        text=None,
        finish=FinishReason.TOOL_CALLS,
        tool_calls=calls,
        input_tokens=0,
        output_tokens=0,
    )


async def write(journal: SqliteJournal) -> None:
    """Appends every run as one batch."""
    runs = {"reasons": _reasons(), "calls": _calls(), "context": _context(), "cancelled": _cancelled()}
    runs |= {f"end-{stop.value}": _end(stop) for stop in ENDS} | {"finishes": _finished()}
    for run_id, made in runs.items():
        run, records = RunKey(NAMESPACE, RunId(run_id)), [*made]
        state = fold(RunState(key=run), records)
        await journal.append(run, records, after=0, contents=(EMPTY, SAID), snapshot=state)


def _reasons() -> Iterator[r.Record]:
    """Every reason, with the metadata it always has, as that of a failed request; some of them are tried again."""
    yield from (STARTED, TURN)
    failure = Failure(ErrorReason.INTERNAL, "")
    for attempt, reason in enumerate(ErrorReason, start=1):
        yield requested(attempt)
        failure = Failure(reason, f"{reason.value}.", tuple((key, key) for key in sorted(MEANINGS[reason].keys)))
        yield r.ModelAttemptFailed(at=AT + 3, round=1, attempt=attempt, error=failure)
        if attempt % 8 == 0:
            yield r.RetryScheduled(
                at=AT + 4, effect_id=EffectId("m1"), attempt=attempt, reason=reason, not_before=AT + 5
            )
    yield r.TurnFailed(at=AT + 6, error=failure)
    yield r.RunFailed(at=AT + 6, stop=StopReason.MAX_TOKENS, error=Failure(ErrorReason.INTERNAL, ""), usage=Usage())


def _calls() -> Iterator[r.Record]:
    """A call of every effect, with nothing set that may be unset, and one that is refused; then all ways to fail."""
    effects = [effect.value for effect in EffectClass]
    yield from (STARTED, TURN, requested(), answered(len(effects) + 4))
    for number, effect in enumerate(effects, start=1):
        call = EffectId(f"c1.{number}")
        yield from _begun(call, effect, idempotent=number % 2 == 0)
        yield r.ToolCompleted(at=AT + 5, call_id=call, attempt=1, tool="t", result=EMPTY.ref)
    ended = [EffectId(f"c1.{len(effects) + number}") for number in range(1, 5)]
    for call in ended:
        yield from _begun(call, "read", idempotent=False)
    at, attempt, lost = AT + 6, 1, ErrorReason.EXECUTOR_LOST
    yield r.RetryScheduled(
        at=at, effect_id=ended[0], attempt=1, reason=lost, not_before=0, give_up_at=AT + 9, executor_identity=IDENTITY
    )
    yield r.ToolFailed(at=at, call_id=ended[0], attempt=attempt, tool="t", reason=lost)
    yield r.ToolFailed(
        at=at, call_id=ended[1], attempt=1, tool="t", reason=lost, message=SAID.ref, executor_identity=IDENTITY
    )
    for call, identity in ((ended[2], None), (ended[3], IDENTITY)):
        yield r.ToolRecoveryRequired(
            at=at,
            call_id=call,
            attempt=attempt,
            tool="t",
            executor="e",
            idempotency_key="k",
            arguments_digest=EMPTY.ref.digest,
            reason=ErrorReason.TOOL_TIMED_OUT,
            executor_identity=identity,
        )
    yield r.RunFailed(at=at, stop=StopReason.CONTENT_FILTER, error=Failure(lost, "Lost."), usage=Usage(1, 2, 3, 4))


def _begun(call: EffectId, effect: str, *, idempotent: bool) -> Iterator[r.Record]:
    yield r.ToolRequested(at=AT + 4, call_id=call, tool="t", provider_call_id="", arguments=EMPTY.ref)
    yield r.PolicyDecided(
        at=AT + 4, stage=PolicyStage.PRE_TOOL, subject=call, policy_ref="", decision=Decision(Verdict.ALLOW, "")
    )
    yield r.ToolStarted(
        at=AT + 4,
        call_id=call,
        attempt=1,
        tool="t",
        executor="e",
        effect=effect,
        idempotent=idempotent,
        idempotency_key="k",
        arguments_digest="",
        deadline=AT + 8,
    )


def _context() -> Iterator[r.Record]:
    """A session of which every sort of run is left out."""
    turns = (SessionTurn(RunId("e"), "t", (SAID.ref, EMPTY.ref), SAID.ref), SessionTurn(RunId("f"), "", (), SAID.ref))
    omitted = tuple(OmittedRun(RunId(f"o{why.value}"), why) for why in Omission)
    yield structs.replace(STARTED, session_id="s", labels={"b": "", "a": "1"})
    yield r.ContextAssembled(at=AT + 1, context=Context(turns, omitted, len(omitted) + 1, has_older=True))
    yield TURN
    yield r.TurnCompleted(at=AT + 2)
    yield r.RunCompleted(at=AT + 2, stop=StopReason.END_TURN, result=SAID.ref, usage=Usage())


def _cancelled() -> Iterator[r.Record]:
    """Cancelled without a word."""
    error = Failure(ErrorReason.CANCELLED, "")
    yield STARTED
    yield r.ContextAssembled(at=AT + 1, context=Context())
    yield TURN
    yield r.RunCancelRequested(at=AT + 2, reason="", requested_by="", deadline=0)
    yield r.TurnFailed(at=AT + 2, error=error)
    yield r.RunCancelled(at=AT + 2, error=error, unknown_effects=(), usage=Usage())


def _end(stop: StopReason) -> Iterator[r.Record]:
    yield STARTED
    yield r.RunFailed(at=AT + 2, stop=stop, error=Failure(ErrorReason.INTERNAL, "No."), usage=Usage())


def _finished() -> Iterator[r.Record]:
    """A round for each way in which a model stops."""
    yield from (STARTED, TURN)
    for number, finish in enumerate(FinishReason, start=1):
        yield structs.replace(requested(), round=number)
        yield structs.replace(answered(0), round=number, finish=finish)
    error = Failure(ErrorReason.BUDGET_EXHAUSTED, "Used up.", (("budget", "rounds"), ("limit", "4")))
    yield r.RunFailed(at=AT + 4, stop=StopReason.MAX_ROUNDS, error=error, usage=Usage(len(FinishReason)))
