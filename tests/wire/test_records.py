"""Records and their stored bytes: nothing is lost, and what is not a record is refused as corrupt."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core import records as r
from runwright.core.apply import apply, fold
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import EffectId
from runwright.core.kinds import EventKind, kind_of
from runwright.core.outcomes import FinishReason, StopReason, Usage
from runwright.core.policy import Decision, PolicyStage, Verdict
from runwright.core.records import Record
from runwright.core.references import refs
from runwright.core.request import Budget
from runwright.core.state import RunState
from runwright.wire.records import decode_event, encode_events
from runwright.wire.references import event_refs

from tests.core import builders as b
from tests.properties.random_runs import RandomRun

EXAMPLES = b.examples()
STARTED = fold(b.NEW, [EXAMPLES[EventKind.RUN_STARTED]])
_START = EXAMPLES[EventKind.RUN_STARTED]
assert isinstance(_START, r.RunStarted)
BARE_FAILURE = Failure(ErrorReason.CANCELLED, "")
BARE_START = structs.replace(
    _START,
    session_id="",
    labels={},
    budget=Budget(),
    provider="",
    principal="",
    package_fingerprint="",
    model="",
    trace_parent="",
    journal_id="",
)
BARE: list[r.Record] = [
    BARE_START,
    r.TurnStarted(at=b.at(1), input=()),
    r.ModelMessageCompleted(
        at=b.at(1),
        round=1,
        attempt=1,
        text=None,
        finish=FinishReason.TOOL_CALLS,
        tool_calls=0,
        input_tokens=0,
        output_tokens=0,
    ),
    r.ModelAttemptStarted(at=b.at(1), round=1, attempt=1),
    r.ModelAttemptFailed(at=b.at(1), round=1, attempt=1, error=BARE_FAILURE),
    r.RetryScheduled(
        at=b.at(1), effect_id=EffectId("m12"), attempt=3, reason=ErrorReason.PROVIDER_RATE_LIMITED, not_before=b.at(8)
    ),
    r.ToolRequested(at=b.at(1), call_id=b.FIRST_CALL, tool="", provider_call_id="", arguments=b.json_text("")),
    r.ToolFailed(at=b.at(1), call_id=b.FIRST_CALL, attempt=0, tool="t", reason=ErrorReason.TOOL_UNKNOWN),
    r.PolicyDecided(
        at=b.at(1), stage=PolicyStage.PRE_TOOL, subject=b.FIRST_CALL, policy_ref="", decision=Decision(Verdict.DENY, "")
    ),
    r.PolicyDecided(
        at=b.at(1), stage=PolicyStage.PRE_TOOL, subject=None, policy_ref="p", decision=Decision(Verdict.ALLOW, "c")
    ),
    r.RunCancelRequested(at=b.at(1), reason="", requested_by="", deadline=0),
    r.TurnFailed(at=0, error=BARE_FAILURE),
    r.RunFailed(at=b.at(1), stop=StopReason.INTERNAL, error=BARE_FAILURE, usage=Usage()),
    r.RunCancelled(at=b.at(1), error=BARE_FAILURE, unknown_effects=(), usage=Usage()),
]


def encoded(state: RunState, seq: int, record: Record) -> bytes:
    """The bytes that are stored of a record."""
    return encode_events(state, seq - 1, [record])[0]


def state_of(record: r.Record) -> RunState:
    """A run in which the record can stand."""
    return fold(b.NEW, [record]) if isinstance(record, r.RunStarted) else STARTED


@pytest.mark.parametrize("record", EXAMPLES.values(), ids=lambda record: type(record).__name__)
def test_a_record_with_every_field_set_comes_back_the_same(record: r.Record) -> None:
    stored = encoded(state_of(record), 7, record)

    back = decode_event(stored)

    assert back == record


@pytest.mark.parametrize("record", [*EXAMPLES.values(), *BARE], ids=lambda record: type(record).__name__)
def test_a_record_refers_to_what_its_event_refers_to(record: r.Record) -> None:
    stored = encoded(state_of(record), 7, record)

    assert refs(record) == tuple(event_refs(stored))


def test_records_of_one_append_are_stored_as_if_alone() -> None:
    records = [*EXAMPLES.values(), *BARE, *reversed(EXAMPLES.values())]

    together = encode_events(STARTED, 4, records)

    assert together == [encoded(STARTED, seq, record) for seq, record in enumerate(records, start=5)]


def test_the_examples_set_every_field() -> None:
    unset = [
        f"{type(record).__name__}.{field.name}"
        for record in EXAMPLES.values()
        for field in structs.fields(record)
        if getattr(record, field.name) in (None, "", 0, (), {}, False)
    ]

    assert unset == []


@pytest.mark.parametrize("record", BARE, ids=lambda record: type(record).__name__)
def test_a_record_with_nothing_optional_comes_back_the_same(record: r.Record) -> None:
    stored = encoded(state_of(record), 7, record)

    back = decode_event(stored)

    assert back == record


@pytest.mark.parametrize("record", EXAMPLES.values(), ids=lambda record: type(record).__name__)
def test_an_event_says_which_run_and_which_kind_it_is_of(record: r.Record) -> None:
    event = pb.Event.FromString(encoded(STARTED, 7, record))

    assert (event.seq, event.event_id, event.run_id) == (7, "run-1/7", "run-1")
    assert event.kind == kind_of(record).value
    assert event.WhichOneof("body") == kind_of(record).name.lower()
    assert (event.session_id, event.turn_id, event.agent_id) == ("session-1", "turn-1", "helper")
    assert (event.principal, event.package_fingerprint) == ("local", "sha256:runwright-package-v0:00")
    assert not event.ignorable


@pytest.mark.parametrize(
    ("kind", "round", "effect_id", "attempt"),
    [
        (EventKind.RUN_STARTED, 0, "", 0),
        (EventKind.RUN_CANCEL_REQUESTED, 0, "", 0),
        (EventKind.MODEL_ATTEMPT_STARTED, 12, "m12", 3),
        (EventKind.MODEL_MESSAGE_COMPLETED, 12, "m12", 3),
        (EventKind.TOOL_REQUESTED, 12, "c12.34", 0),
        (EventKind.TOOL_DENIED, 12, "c12.34", 0),
        (EventKind.TOOL_STARTED, 12, "c12.34", 3),
        (EventKind.RETRY_SCHEDULED, 12, "c12.34", 3),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_event_names_its_round_effect_and_attempt(kind: EventKind, round: int, effect_id: str, attempt: int) -> None:
    values = {"round": 12, "attempt": 3, "call_id": "c12.34", "effect_id": "c12.34"}
    names = {field.name for field in structs.fields(EXAMPLES[kind])}
    record = structs.replace(EXAMPLES[kind], **{name: values[name] for name in names & values.keys()})

    event = pb.Event.FromString(encoded(STARTED, 7, record))

    assert (event.round, event.effect_id, event.attempt) == (round, effect_id, attempt)


def test_a_retry_of_the_model_is_one_of_its_request() -> None:
    planned = r.RetryScheduled(
        at=b.at(1), effect_id=EffectId("m12"), attempt=3, reason=ErrorReason.PROVIDER_FAILED, not_before=b.at(2.5)
    )

    event = pb.Event.FromString(encoded(STARTED, 7, planned))

    assert (event.kind, event.round, event.effect_id, event.attempt) == (pb.EVENT_KIND_RETRY_SCHEDULED, 12, "m12", 3)
    assert event.retry_scheduled.not_before.ToMicroseconds() == b.at(2.5)
    assert not event.retry_scheduled.HasField("give_up_at")


def test_an_attempt_of_an_older_server_keeps_the_route_of_the_run() -> None:
    begun = fold(b.NEW, [_START])
    stored = pb.Event.FromString(encoded(begun, 2, r.ModelAttemptStarted(at=b.at(1), round=1, attempt=1)))
    assert stored.model_attempt_started == pb.ModelAttemptStarted(), "what such a server wrote"

    state = apply(begun, decode_event(stored.SerializeToString()))

    assert (state.provider, state.model, state.route) == ("scripted", "model-1", 0)


def test_times_are_kept_to_the_microsecond() -> None:
    moments = [0, 1, 999_999, 1_000_000, b.at(1.000001), 4_102_444_800_999_999]

    back = [decode_event(encoded(STARTED, 1, r.TurnCompleted(at=moment))).at for moment in moments]

    assert back == moments


def test_the_same_record_always_has_the_same_bytes() -> None:
    labels = {f"key-{index}": "x" for index in range(16)}
    first = structs.replace(_START, labels=labels)
    second = structs.replace(_START, labels=dict(reversed(labels.items())))

    stored = {encoded(STARTED, 1, record) for record in (first, second)}

    assert len(stored) == 1


def test_random_runs_fold_from_their_stored_bytes_to_the_live_state() -> None:
    for seed in range(200):
        run = RandomRun(seed)
        run.give(run.first)
        for _ in range(30):
            run.give(run.next())

        state = b.NEW
        for record in run.records:
            after = apply(state, record)
            state = apply(state, decode_event(encoded(after, after.seq, record)))

        assert state == run.state, f"seed {seed}"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0",
        b"garbage",
        b"\xff" * 40,
        pb.Event(seq=1, run_id="r").SerializeToString(),
        pb.Event(model_message_completed=pb.ModelMessageCompleted()).SerializeToString(),
        pb.Event(tool_failed=pb.ToolFailed(tool="t")).SerializeToString(),
        pb.Event(policy_decided=pb.PolicyDecided(policy_ref="p")).SerializeToString(),
        pb.Event(run_completed=pb.RunCompleted()).SerializeToString(),
        pb.Event(turn_failed=pb.TurnFailed()).SerializeToString(),
        pb.Event(retry_scheduled=pb.RetryScheduled(reason=99)).SerializeToString(),
    ],
)
def test_bytes_that_are_no_record_are_refused_as_corrupt(garbage: bytes) -> None:
    with pytest.raises(AgentError) as refused:
        decode_event(garbage)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert set(refused.value.metadata) == {"run_id", "first_bad"}


def test_a_tool_intent_without_an_effect_is_refused_as_corrupt() -> None:
    event = pb.Event.FromString(encoded(STARTED, 1, EXAMPLES[EventKind.TOOL_STARTED]))
    event.tool_started.effect = 0

    with pytest.raises(AgentError) as refused:
        decode_event(event.SerializeToString())

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT


@pytest.mark.parametrize("subject", [None, b.FIRST_CALL])
@pytest.mark.parametrize("stage", PolicyStage, ids=lambda stage: stage.name)
def test_a_decision_is_of_its_stage_and_subject(stage: PolicyStage, subject: EffectId | None) -> None:
    decided = r.PolicyDecided(
        at=b.at(1), stage=stage, subject=subject, policy_ref="p", decision=Decision(Verdict.ALLOW, "c")
    )

    stored = encoded(STARTED, 7, decided)

    event = pb.Event.FromString(stored)
    assert (event.policy_decided.stage, event.effect_id) == (stage.value, subject or "")
    assert event.round == (1 if subject else 0)
    assert decode_event(stored) == decided


@pytest.mark.parametrize("effect_id", ["", "c", "c1.x", "1.1"])
@pytest.mark.parametrize("kind", [EventKind.TOOL_STARTED, EventKind.RETRY_SCHEDULED], ids=lambda kind: kind.name)
def test_an_event_about_an_effect_that_has_no_such_id_is_refused_as_corrupt(kind: EventKind, effect_id: str) -> None:
    event = pb.Event.FromString(encoded(STARTED, 1, EXAMPLES[kind]))
    event.effect_id = effect_id

    with pytest.raises(AgentError) as refused:
        decode_event(event.SerializeToString())

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT


def test_an_event_whose_kind_is_not_its_body_is_refused_as_corrupt() -> None:
    event = pb.Event.FromString(encoded(STARTED, 1, EXAMPLES[EventKind.TURN_COMPLETED]))
    event.kind = pb.EVENT_KIND_TURN_FAILED

    with pytest.raises(AgentError) as refused:
        decode_event(event.SerializeToString())

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT


def test_damaged_bytes_are_a_record_or_corrupt_and_nothing_else() -> None:
    rng = Random(1)
    stored = [encoded(STARTED, 1, record) for record in EXAMPLES.values()]

    for _ in range(5000):
        damaged = bytearray(rng.choice(stored))
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        del damaged[rng.randint(len(damaged) // 2, len(damaged)) :]
        try:
            decode_event(bytes(damaged))
        except AgentError as error:
            assert error.reason is ErrorReason.JOURNAL_CORRUPT
