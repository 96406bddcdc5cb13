"""What the journal tests are made of: runs, one record of each kind, and a chain check of their own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from msgspec.structs import replace
from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite.writing.batch import Batch
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.content import Content, ContentRef
from runwright.core.context import Context, Omission, OmittedRun, SessionTurn
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import EffectId, Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import (
    CallPhase,
    ExecutorIdentity,
    FinishReason,
    ReconcileAnswer,
    Resolution,
    ResultRelease,
    RunPhase,
    StopReason,
    Usage,
)
from runwright.core.policy import Decision, PolicyStage, RemotePolicy, Verdict
from runwright.core.policy_walk import PolicyAnswer
from runwright.core.request import Budget
from runwright.core.state import CallState, RunState
from runwright.ports.journal import Appending, Journal, StoredEvent

from tests.core.builders import examples

REF = ContentRef("sha256:" + "ab" * 32, 12, "text/plain; charset=utf-8")
FAILURE = Failure(ErrorReason.PROVIDER_FAILED, "The provider failed.", (("adapter", "scripted"),))
CALL = EffectId("c1.1")
USAGE = Usage(rounds=1, tool_calls=2, input_tokens=30, output_tokens=4)
OLD = Omission.TURNS
AT = 1_700_000_000_123_456


def key(run_id: str = "run-1", namespace: str = "default") -> RunKey:
    """A run's key."""
    return RunKey(Namespace(namespace), RunId(run_id))


# What makes a journal of the present schema one of version 4, but for its number.
BACK_TO_VERSION_4 = """
    DROP TABLE packages; DROP TABLE package_changes;
    DROP TABLE entries; DROP TABLE counters; DROP TABLE recovering; DROP TABLE removals; DROP TABLE epochs;
    ALTER TABLE callbacks DROP COLUMN owner_key; ALTER TABLE callbacks DROP COLUMN row_check;
    ALTER TABLE callbacks DROP COLUMN max_calls_in_flight;"""
TRACE_PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"

# What a run in need of repair has.
UNKNOWN = (CallState(CALL, "lookup", CallPhase.UNKNOWN),)


def state(run: RunKey, seq: int) -> RunState:
    """A state that fits any record: what is constant in a run, and a sequence number."""
    return RunState(
        key=run,
        phase=RunPhase.RUNNING,
        seq=seq,
        session_id="session-1",
        turn_id="turn-1",
        agent_id="agent-1",
        principal="local",
        package_id="package-1",
        package=REF,
        package_fingerprint="sha256:" + "cd" * 32,
        budget=Budget(3, 4, 2),
        labels={"team": "blue"},
        trace_parent=TRACE_PARENT,
        usage=USAGE,
    )


def turn(at: int = AT) -> r.TurnStarted:
    """A small record that carries conversation."""
    return r.TurnStarted(at=at, input=(REF,))


def end(at: int = AT) -> r.RunCompleted:
    """A terminal record."""
    return r.RunCompleted(at=at, stop=StopReason.END_TURN, result=REF, usage=USAGE)


async def put_ended(journal: Journal, run: RunKey) -> list[StoredEvent]:
    """A run from its first event to its last, with the snapshot that fits them."""
    snapshot = replace(state(run, 2), phase=RunPhase.COMPLETED, stop=StopReason.END_TURN)
    return [*(await journal.append(run, [turn(), end()], after=0, contents=(), snapshot=snapshot)).events]


async def put(
    journal: Journal, run: RunKey, *records: r.Record, after: int, contents: Sequence[Content] = ()
) -> list[StoredEvent]:
    """Appends the records with the snapshot that fits them."""
    snapshot = state(run, after + len(records))
    return [*(await journal.append(run, records, after=after, contents=contents, snapshot=snapshot)).events]


async def pages(journal: Journal, run: RunKey, limit: int) -> AsyncIterator[list[StoredEvent]]:
    """The run's events, page by page, as a reader would ask for them."""
    after = 0
    while page := await journal.read(run, after=after, limit=limit):
        yield page
        after = page[-1].position


def check_chain(run: RunKey, events: Sequence[StoredEvent]) -> None:
    """Recomputes every hash of a whole run from the stored bytes."""
    previous = hashlib.sha256(b"runwright-chain-v1\0" + run.namespace.encode() + b"\0" + run.run_id.encode()).digest()
    for seq, event in enumerate(events, start=1):
        assert event.seq == seq
        assert event.previous_hash == previous
        previous = hashlib.sha256(previous + event.data).digest()
        assert event.hash == previous


def one_of_each() -> list[r.Record]:
    """A record of every kind, each field told from its neighbours."""
    return [*_run_records(), *_model_records(), *_call_records(), *_approval_records(), *_ends()]


def _approval_records() -> list[r.Record]:
    """Those of the core's examples, which leave no field at its default."""
    kinds = [kind for kind in EventKind if kind.name.startswith(("APPROVAL_", "GRANT_"))]
    return [replace(examples()[kind], at=AT) for kind in kinds]


def _run_records() -> list[r.Record]:
    started = r.RunStarted(
        at=AT,
        session_id="session-1",
        turn_id="turn-1",
        agent_id="agent-1",
        principal="local",
        request=REF,
        request_digest="sha256:" + "ef" * 32,
        package_id="package-1",
        package=REF,
        package_fingerprint="sha256:" + "cd" * 32,
        provider="scripted",
        model="model-1",
        budget=Budget(3, 4, 2),
        labels={"team": "blue"},
        trace_parent=TRACE_PARENT,
    )
    cancel = r.RunCancelRequested(at=AT + 2, reason="enough", requested_by="local", deadline=AT + 9)
    context = Context((SessionTurn(RunId("run-0"), "turn-0", (REF, REF), REF),), (OmittedRun(RunId("run-x"), OLD),), 1)
    assembled = r.ContextAssembled(at=AT + 1, context=context)
    return [started, assembled, r.TurnStarted(at=AT + 1, input=(REF, REF)), cancel]


def _model_records() -> list[r.Record]:
    message = r.ModelMessageCompleted(
        at=AT, round=1, attempt=2, text=REF, finish=FinishReason.STOP, tool_calls=1, input_tokens=7, output_tokens=8
    )
    limited = ErrorReason.PROVIDER_RATE_LIMITED
    return [
        r.ModelAttemptStarted(at=AT, round=1, attempt=1, provider="scripted", model="model-1"),
        r.ModelAttemptFailed(at=AT, round=1, attempt=1, error=FAILURE),
        r.RetryScheduled(at=AT, effect_id=EffectId("m1"), attempt=1, reason=limited, not_before=AT + 6),
        message,
    ]


def _call_records() -> list[r.Record]:
    allow = Decision(Verdict.ALLOW, "tool.declared")
    lost = ErrorReason.EXECUTOR_LOST
    started = r.ToolStarted(
        at=AT,
        call_id=CALL,
        attempt=1,
        tool="search",
        executor="box",
        effect="read",
        idempotent=True,
        idempotency_key="default/run-1/c1.1",
        arguments_digest=REF.digest,
        deadline=AT + 5,
    )
    unknown = r.ToolRecoveryRequired(
        at=AT,
        call_id=CALL,
        attempt=1,
        tool="search",
        executor="box",
        idempotency_key="default/run-1/c1.1",
        arguments_digest=REF.digest,
        reason=lost,
    )
    return [
        r.ToolRequested(at=AT, call_id=CALL, tool="search", provider_call_id="p-1", arguments=REF),
        r.PolicyDecided(
            at=AT, stage=PolicyStage.PRE_TOOL, subject=CALL, policy_ref="builtin:allow-declared", decision=allow
        ),
        started,
        r.RetryScheduled(at=AT, effect_id=CALL, attempt=1, reason=lost, not_before=AT + 6, give_up_at=AT + 7),
        r.ToolCompleted(at=AT, call_id=CALL, attempt=2, tool="search", result=REF),
        r.ToolFailed(at=AT, call_id=CALL, attempt=2, tool="search", reason=ErrorReason.TOOL_FAILED, message=REF),
        r.ToolDenied(at=AT, call_id=CALL, tool="search", policy_ref="builtin:read-only", code="effect.above_read"),
        r.ToolCancelled(at=AT, call_id=CALL, attempt=1, tool="search"),
        r.ToolResultReleased(
            at=AT, call_id=CALL, tool="search", release=ResultRelease.WITHHELD, policy_ref="policies.0", code="secret"
        ),
        unknown,
        *_of_remote_policies(),
        r.ReconcileStarted(
            at=AT,
            call_id=CALL,
            attempt=1,
            tool="search",
            executor="tools",
            ask=1,
            idempotency_key="journal/run/c1.1",
            arguments_digest=REF.digest,
            deadline=AT + 9,
        ),
        r.ReconcileEnded(
            at=AT,
            call_id=CALL,
            attempt=1,
            tool="search",
            ask=1,
            answer=ReconcileAnswer.CANNOT_SAY,
            reason=ErrorReason.EXECUTOR_LOST,
            give_up_at=AT + 99,
            next_ask_at=AT + 10,
            executor_identity=ExecutorIdentity(callback_id="desk.1", principal="team", address="127.0.0.1:1"),
        ),
        r.EffectResolved(
            at=AT,
            call_id=CALL,
            attempt=1,
            tool="search",
            resolution=Resolution.HAPPENED,
            resolved_by="ann",
            reason="seen",
            request_id="decision-1",
            request_digest=REF.digest,
        ),
    ]


def _of_remote_policies() -> list[r.Record]:
    question, policy = (
        EffectId("p1.1.1"),
        RemotePolicy("compliance", "policies.0", "package", 500, 3, 9_000, cache=True),
    )
    answer = PolicyAnswer(Verdict.MODIFY, "shorter", "Not all of it.", replacement=REF)
    return [
        r.PolicyAsked(
            at=AT,
            effect_id=question,
            attempt=1,
            remote=policy,
            stage=PolicyStage.PRE_TOOL,
            subject_digest=REF.digest,
            deadline=AT + 9,
        ),
        r.PolicyAnswered(
            at=AT, effect_id=question, attempt=1, remote=policy, subject_digest=REF.digest, answer=answer, error=FAILURE
        ),
        r.PolicyResumed(at=AT, effect_id=question, resumed_by="ann", reason="it is over", request_id="resume-1"),
        r.SubjectReplaced(
            at=AT,
            subject=CALL,
            stage=PolicyStage.PRE_TOOL,
            policy_ref="policies.0",
            decider="package",
            replaced_digest=REF.digest,
            replacement=REF,
        ),
    ]


def _ends() -> list[r.Record]:
    return [
        r.TurnCompleted(at=AT),
        r.TurnFailed(at=AT, error=FAILURE),
        end(AT),
        r.RunFailed(at=AT, stop=StopReason.PROVIDER_FAILURE, error=FAILURE, usage=USAGE),
        r.RunCancelled(at=AT, error=FAILURE, unknown_effects=(CALL,), usage=USAGE),
    ]


def batch(run: RunKey, *, after: int, contents: tuple[Content, ...] = (), number: int = 1) -> Batch:
    """What SQLite's writer is given for an append of so many small records."""
    snapshot = state(run, after + number)
    encoded = rules.encode(run, [turn()] * number, after=after, snapshot=snapshot)
    return Batch(run, encoded, after, contents, encoded.row(snapshot), Appending())


def large(number: int) -> Content:
    """16 KiB that no other number has."""
    return Content.of(number.to_bytes(4, "big") * 4096, "application/octet-stream")


def reason(outcome: object) -> ErrorReason | None:
    """Why an append failed; None for one that did not."""
    return outcome.reason if isinstance(outcome, AgentError) else None


BEGUN = one_of_each()[0], turn(AT + 1)  # what a run begins with


async def put_begun(journal: Journal, run: RunKey, until: int = 2) -> None:
    """The next of BEGUN, up to a number, with the state that they lead to."""
    loaded = await journal.load(run)
    begun = loaded.state if loaded else RunState(key=run)
    records = BEGUN[begun.seq : until]
    await journal.append(run, records, after=begun.seq, contents=(), snapshot=fold(begun, records))
