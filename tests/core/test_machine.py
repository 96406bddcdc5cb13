"""The run machine where a transcript is too coarse: whole records, whole effects, bounds and keys."""

from __future__ import annotations

import pytest
from msgspec import structs
from runwright.core import effects as e
from runwright.core import records as r
from runwright.core.content import JSON, Content
from runwright.core.errors import MEANINGS, ErrorReason, Failure
from runwright.core.inputs import Availability, CancelDeadlinePassed, Findings, Input, Recovered
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.outcomes import CallPhase, FinishReason, RunPhase, RunStatus, StopReason, WaitKind
from runwright.core.package import RuntimePackage
from runwright.core.request import Budget, RunRequest
from runwright.core.retry import backoff_us, model_wait_us, retry_after_us
from runwright.core.state import RunState

from tests.core import builders as b

PACKAGE = b.package(b.tool("lookup"), b.tool("send", effect="write", executor="mail", timeout_ms=5000))


def _running(state: RunState) -> list[str]:
    return [call.call_id for call in state.calls if call.phase is CallPhase.RUNNING]


def test_a_run_starts_with_everything_it_was_asked_for_and_pins_its_package() -> None:
    input_ = b.started(
        PACKAGE, session_id="s-1", turn_id="t-1", agent_id="helper", labels={"team": "blue"}, budget=Budget(rounds=2)
    )
    requested = RunRequest(**{field.name: getattr(input_.request, field.name) for field in structs.fields(RunRequest)})

    first, second, *_ = decide(PACKAGE, b.NEW, input_)

    assert first == r.RunStarted(
        at=b.at(0),
        session_id="s-1",
        turn_id="t-1",
        agent_id="helper",
        principal="local",
        request=Content.of(requested.canonical(), JSON).ref,
        request_digest=requested.digest(),
        package_id="helper-package",
        package=Content.of(PACKAGE.canonical(), JSON).ref,
        package_fingerprint=PACKAGE.fingerprint(),
        provider="scripted",
        model="model-1",
        budget=Budget(2, 64, 8),
        labels={"team": "blue"},
        trace_parent=b.TRACE_PARENT,
    )
    assert second == r.TurnStarted(at=b.at(0), input=(b.text("How is the weather?"),))


def test_a_start_without_an_agent_records_the_agent_of_the_package() -> None:
    input_ = b.started(PACKAGE, agent_id="")

    state, _ = b.play(PACKAGE, input_)

    assert state.agent_id == "helper"


@pytest.mark.parametrize(
    ("requested", "effective"),
    [
        (Budget(), Budget(4, 10, 3)),
        (Budget(1, 2, 1), Budget(1, 2, 1)),
        (Budget(99, 99, 99), Budget(4, 10, 3)),
        (Budget(rounds=2), Budget(2, 10, 3)),
    ],
)
def test_a_request_lowers_a_limit_and_never_raises_one(requested: Budget, effective: Budget) -> None:
    pinned = b.package(budget={"rounds": 4, "tool_calls": 10, "parallel_calls": 3})

    state, _ = b.play(pinned, b.started(pinned, budget=requested))

    assert state.budget == effective


def test_a_tool_call_is_wanted_with_all_its_executor_needs() -> None:
    state, _ = b.play(PACKAGE, b.started(PACKAGE), b.asks(b.tool_call("send")))

    wanted = pending(state)

    assert wanted == {
        ("c1.1", "call", 1): e.CallTool(
            call_id=b.FIRST_CALL,
            tool="send",
            executor="mail",
            attempt=1,
            arguments=b.json_text("{}"),
            idempotency_key="default/run-1/c1.1",
            idempotent=False,
            deadline=b.at(1 + 5),
        )
    }


def test_a_call_that_was_not_sent_is_awaited_with_its_executor_and_times() -> None:
    state, _ = b.play(PACKAGE, b.started(PACKAGE), b.asks(b.tool_call("send")), b.not_sent(seconds=2))

    (wait,) = pending(state).values()

    assert wait == e.AwaitExecutor(
        call_id=b.FIRST_CALL,
        attempt=1,
        executor="mail",
        not_before=b.at(2.2),
        give_up_at=b.at(602),
    )


def test_an_executor_that_is_waited_for_is_named_to_a_person() -> None:
    state, _ = b.play(PACKAGE, b.started(PACKAGE), b.asks(b.tool_call("send")), b.not_sent(seconds=2))

    (wait,) = waiting_on(state)

    assert (wait.kind, wait.effect_id, wait.subject, wait.since) == (WaitKind.EXECUTOR, "c1.1", "mail", b.at(2))
    assert "mail" in wait.unblocked_by


def test_an_unknown_outcome_is_named_to_a_person() -> None:
    state, _ = b.play(PACKAGE, b.started(PACKAGE), b.asks(b.tool_call("send")), b.lost(seconds=2))

    (wait,) = waiting_on(state)

    assert (wait.kind, wait.effect_id, wait.subject, wait.since) == (WaitKind.REPAIR, "c1.1", "mail", b.at(2))


def test_every_attempt_of_a_call_has_the_same_idempotency_key() -> None:
    input_ = [b.started(PACKAGE), b.asks(b.tool_call("lookup")), b.not_sent(), b.awaited(), Recovered(at=b.at(4))]
    input_.append(b.awaited(attempt=2, seconds=9))

    _, records = b.play(PACKAGE, *input_)

    starts = [record for record in records if isinstance(record, r.ToolStarted)]
    assert [start.attempt for start in starts] == [1, 2, 3]
    assert {start.idempotency_key for start in starts} == {"default/run-1/c1.1"}


def test_runs_of_two_journals_never_share_an_idempotency_key() -> None:
    starts = [structs.replace(b.started(PACKAGE), journal_id=journal) for journal in ("3f2a", "77c0")]

    keys = [b.play(PACKAGE, start, b.asks(b.tool_call("send")))[0].calls[0].idempotency_key for start in starts]

    assert keys == ["3f2a/default/run-1/c1.1", "77c0/default/run-1/c1.1"]


def test_a_denied_tool_is_never_called() -> None:
    pinned = b.package(b.tool("send", effect="write"), policy="builtin:read-only")

    state, records = b.play(pinned, b.started(pinned), b.asks(b.tool_call("send")))

    assert "TOOL_STARTED" not in b.kinds(records)
    assert list(pending(state)) == [("m2", "call", 1)]


def test_a_denied_call_uses_nothing_of_the_budget() -> None:
    pinned = b.package(b.tool("send", effect="write"), b.tool(), policy="builtin:read-only", budget={"tool_calls": 1})

    state, _ = b.play(
        pinned,
        b.started(pinned),
        b.asks(b.tool_call("send"), b.tool_call("send"), b.tool_call("lookup")),
    )

    assert _running(state) == ["c1.3"]
    assert state.usage.tool_calls == 1


def test_a_budget_of_no_tool_calls_ends_the_run_at_the_first_one() -> None:
    pinned = b.package(b.tool(), budget={"tool_calls": 0})

    state, records = b.play(pinned, b.started(pinned), b.asks(b.tool_call()))

    assert b.kinds(records)[-3:] == ["TOOL_FAILED", "TURN_FAILED", "RUN_FAILED"]
    assert state.stop is StopReason.MAX_TOOL_CALLS


@pytest.mark.parametrize("finish", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
def test_what_a_broken_off_answer_asks_for_is_never_done(finish: FinishReason) -> None:
    reply = structs.replace(b.asks(b.tool_call("send")), finish=finish)

    state, records = b.play(PACKAGE, b.started(PACKAGE), reply)

    assert "TOOL_REQUESTED" not in b.kinds(records)
    assert state.phase is RunPhase.FAILED


def test_a_run_that_failed_keeps_the_text_so_far() -> None:
    reply = structs.replace(b.answered("It will be"), finish=FinishReason.LENGTH)

    state, _ = b.play(PACKAGE, b.started(PACKAGE), reply)

    assert state.result == b.text("It will be")


def test_the_text_of_an_earlier_round_is_not_taken_for_that_of_a_later_one() -> None:
    speaks = structs.replace(b.asks(b.tool_call("lookup")), text=b.text("Let me see."))

    state, _ = b.play(PACKAGE, b.started(PACKAGE), speaks, b.returned(), b.asks(b.tool_call("lookup"), round=2))

    assert state.result is None


def test_the_end_of_an_earlier_wait_does_not_end_a_later_one() -> None:
    input_ = [b.started(PACKAGE), b.asks(b.tool_call("send")), b.not_sent(), b.awaited(), b.not_sent(attempt=2)]
    state, _ = b.play(PACKAGE, *input_)

    records = decide(PACKAGE, state, b.awaited(attempt=1))

    assert records == []


def test_calls_are_acted_on_even_when_the_model_says_it_stopped() -> None:
    reply = structs.replace(b.asks(b.tool_call("lookup")), finish=FinishReason.STOP)

    state, _ = b.play(PACKAGE, b.started(PACKAGE), reply)

    assert _running(state) == ["c1.1"]


def test_what_the_edge_found_wrong_is_what_the_model_is_told() -> None:
    message = b.text("city is required")
    call = structs.replace(b.tool_call(), findings=Findings(ErrorReason.TOOL_ARGUMENTS_INVALID, message))

    _, records = b.play(PACKAGE, b.started(PACKAGE), b.asks(call))

    (failed,) = [record for record in records if isinstance(record, r.ToolFailed)]
    assert (failed.reason, failed.message, failed.attempt) == (ErrorReason.TOOL_ARGUMENTS_INVALID, message, 0)


@pytest.mark.parametrize("seconds", [-100, 0, 3])
def test_the_time_on_record_never_steps_back(seconds: float) -> None:
    input_ = [b.started(PACKAGE, seconds=3), b.asks(b.tool_call("send"), seconds=seconds)]

    _, records = b.play(PACKAGE, *input_)

    assert [record.at for record in records] == [b.at(3)] * len(records)
    assert records[-1].deadline == b.at(3 + 5)


def test_a_run_waits_only_when_all_it_wants_is_an_executor() -> None:
    asks_twice = [
        b.started(PACKAGE),
        b.asks(b.tool_call("lookup"), b.tool_call("lookup")),
        b.not_sent(b.FIRST_CALL),
    ]

    one_left, _ = b.play(PACKAGE, *asks_twice)
    none_left, _ = b.play(PACKAGE, *asks_twice, b.not_sent(b.SECOND_CALL))

    assert status(one_left) is RunStatus.RUNNING
    assert status(none_left) is RunStatus.WAITING


@pytest.mark.parametrize(
    "input_",
    [b.answered(), b.returned(), b.lost(), b.awaited(), b.cancelled(), CancelDeadlinePassed(at=1), Recovered(at=1)],
    ids=lambda input_: type(input_).__name__,
)
def test_a_run_that_was_not_started_accepts_nothing_but_a_start(input_: Input) -> None:
    records = decide(PACKAGE, b.NEW, input_)

    assert records == []


def test_deciding_leaves_the_state_as_it_was() -> None:
    state, _ = b.play(PACKAGE, b.started(PACKAGE))
    before = structs.replace(state)

    first = decide(PACKAGE, state, b.asks(b.tool_call("lookup")))
    second = decide(PACKAGE, state, b.asks(b.tool_call("lookup")))

    assert first == second != []
    assert state == before


def test_attempts_wait_twice_as_long_each_up_to_ten_seconds() -> None:
    waits = [backoff_us(attempt) / b.SECOND for attempt in (1, 2, 3, 6, 7, 100, 10_000)]

    assert waits == [0.2, 0.4, 0.8, 6.4, 10, 10, 10]


def test_attempts_of_the_model_wait_twice_as_long_each_up_to_a_minute_and_a_quarter_more() -> None:
    for failures, least in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (10_000, 60)]:
        waits = {model_wait_us(f"default/run-{number}/m1/1", failures) / b.SECOND for number in range(100)}

        assert all(least <= wait <= least * 1.25 for wait in waits)
        assert len(waits) > 90, "runs that failed together do not come back together"


@pytest.mark.parametrize(
    ("requested", "least", "most"), [(0, 1, 1.25), (7, 7, 8.75), (299, 299, 300), (10**9, 300, 300)]
)
def test_a_vendor_is_left_alone_as_long_as_it_asks_within_bounds(requested: int, least: float, most: float) -> None:
    wait = model_wait_us("default/run-1/m1/1", 1, requested * b.SECOND) / b.SECOND

    assert least <= wait <= most
    assert wait == model_wait_us("default/run-1/m1/1", 1, requested * b.SECOND) / b.SECOND


@pytest.mark.parametrize("said", ["", "7", "s", "-7s", "7.5s", "7 s", "7s\n", "9" * 10 + "s", "soon"])
def test_what_is_no_number_of_seconds_asks_for_nothing(said: str) -> None:
    assert retry_after_us({"retry_after": said}) == 0
    assert retry_after_us({"retry_after": "7s"}) == 7 * b.SECOND


def test_a_provider_that_is_waited_for_is_named_to_a_person() -> None:
    pinned = b.package(fallbacks=[{"adapter": "spare", "model": "model-2"}])
    refused = b.failed(ErrorReason.PROVIDER_KEY_REFUSED)

    state, _ = b.play(pinned, b.started(pinned), refused, b.failed(attempt=2, seconds=2))

    (wait,) = waiting_on(state)
    assert (wait.kind, wait.effect_id, wait.subject, wait.since) == (WaitKind.PROVIDER, "m1", "spare/model-2", b.at(2))
    assert "spare" in wait.unblocked_by
    assert (state.provider, state.model) == ("spare", "model-2")
    assert status(state) is RunStatus.WAITING


def test_an_executor_that_comes_back_does_not_break_the_parallel_bound() -> None:
    pinned = b.package(b.tool(), budget={"parallel_calls": 1})
    waits = [b.started(pinned), b.asks(b.tool_call(), b.tool_call()), b.not_sent(b.FIRST_CALL)]

    state, _ = b.play(pinned, *waits, b.awaited(b.FIRST_CALL))

    assert len(_running(state)) <= 1


def test_a_call_that_ran_for_long_still_waits_for_its_lost_executor() -> None:
    pinned = b.package(b.tool(timeout_ms=3_600_000, unavailable_timeout_ms=60_000))
    input_ = [b.started(pinned), b.asks(b.tool_call()), b.lost(seconds=1800)]

    _, records = b.play(pinned, *input_)

    planned = records[-1]
    assert isinstance(planned, r.RetryScheduled)
    assert planned.give_up_at == b.at(1800 + 60)


def test_an_executor_that_comes_and_goes_is_not_waited_for_without_end() -> None:
    pinned = b.package(b.tool(unavailable_timeout_ms=60_000))
    input_ = [b.started(pinned), b.asks(b.tool_call()), b.not_sent(seconds=2), b.awaited(seconds=50)]

    _, early = b.play(pinned, *input_, b.not_sent(attempt=2, seconds=51))
    _, late = b.play(pinned, *input_, b.not_sent(attempt=2, seconds=99))

    assert early[-1].give_up_at == b.at(62)
    failed = next(record for record in late if isinstance(record, r.ToolFailed))
    assert failed.reason is ErrorReason.EXECUTOR_UNAVAILABLE


def test_a_lost_executor_is_waited_for_anew_after_an_outage() -> None:
    pinned = b.package(b.tool(unavailable_timeout_ms=60_000))
    input_ = [b.started(pinned), b.asks(b.tool_call()), b.not_sent(seconds=2), b.awaited(seconds=50)]

    _, records = b.play(pinned, *input_, b.lost(attempt=2, seconds=70))

    assert records[-1].give_up_at == b.at(130)


def test_what_this_server_took_back_is_no_refusal_of_the_executor() -> None:
    pinned = b.package(b.tool(unavailable_timeout_ms=60_000))
    input_ = [b.started(pinned), b.asks(b.tool_call()), b.not_sent(seconds=2), b.awaited(seconds=50)]
    withdrawn = structs.replace(b.not_sent(attempt=2, seconds=99), withdrawn=True)

    _, records = b.play(pinned, *input_, withdrawn)

    assert b.kinds(records)[-1] == "RETRY_SCHEDULED"


def test_the_first_refusal_begins_a_wait_of_its_own_however_long_the_executor_was_away_before() -> None:
    pinned = b.package(b.tool(unavailable_timeout_ms=60_000))
    away = b.asks(b.tool_call(availability=Availability.AWAY))
    input_ = [b.started(pinned), away, b.awaited(attempt=0, seconds=300), b.not_sent(seconds=301)]

    _, records = b.play(pinned, *input_)

    planned = [record for record in records if isinstance(record, r.RetryScheduled)]
    assert [(record.attempt, record.give_up_at) for record in planned] == [(0, b.at(61)), (1, b.at(361))]


def test_a_wait_that_was_given_up_counts_even_without_room_to_call() -> None:
    pinned = b.package(b.tool(), budget={"parallel_calls": 1})
    input_ = [
        b.started(pinned),
        b.asks(b.tool_call(), b.tool_call()),
        b.not_sent(),
        b.awaited(b.SECOND_CALL, attempt=0),
    ]

    state, records = b.play(pinned, *input_, b.awaited(has_place=False, give_up_at=b.at(602)))

    assert b.kinds(records)[-1] == "TOOL_FAILED"
    assert _running(state) == ["c1.2"]


def _failures_of_the_core() -> dict[str, tuple[RuntimePackage, list[Input]]]:
    plain, no_calls = b.package(b.tool()), b.package(b.tool(), budget={"tool_calls": 0})
    one_round = b.package(b.tool(), budget={"rounds": 1})
    truncated = structs.replace(b.answered(), finish=FinishReason.LENGTH)
    filtered = structs.replace(b.answered(), finish=FinishReason.CONTENT_FILTER)
    return {
        "truncated": (plain, [truncated]),
        "filtered": (plain, [filtered]),
        "empty": (plain, [b.answered(None)]),
        "cancelled": (plain, [b.cancelled()]),
        "out of calls": (no_calls, [b.asks(b.tool_call())]),
        "out of rounds": (one_round, [b.asks(b.tool_call()), b.returned()]),
    }


@pytest.mark.parametrize("name", _failures_of_the_core())
def test_a_failure_carries_the_metadata_its_reason_documents(name: str) -> None:
    pinned, input_ = _failures_of_the_core()[name]

    state, records = b.play(pinned, b.started(pinned), *input_)

    assert state.is_terminal
    errors = [record.error for record in records if isinstance(getattr(record, "error", None), Failure)]
    for error in errors:
        assert set(dict(error.metadata)) == set(MEANINGS[error.reason].keys)
