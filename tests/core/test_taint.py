"""By which calls a run is tainted, as records say it: bounded, the oldest first, and each once."""

from __future__ import annotations

import pytest
from msgspec import structs
from runwright.core import records as r
from runwright.core.context import Context, SessionRun, choose
from runwright.core.ids import EffectId, RunId
from runwright.core.outcomes import ResultRelease, RunStatus
from runwright.core.package import ContextPolicy
from runwright.core.policy import Verdict
from runwright.core.taint import RunTaint, Taint, TaintingCall, begun_with, taint_of_context, taint_of_turn
from runwright.wire.state_row import decode_state, encode_state

from tests.core import builders as b
from tests.core import policy_builders as p

FIRST, SECOND = (TaintingCall(EffectId(f"c{number}.1"), "lookup", number) for number in (1, 2))
UNTRUSTED = b.package(b.tool("lookup", untrusted=True), b.tool("send", effect="write"))


def of_run(run_id: str, *calls: TaintingCall) -> list[TaintingCall]:
    """Calls of an earlier turn."""
    return [structs.replace(call, run_id=run_id) for call in calls]


def test_what_the_model_has_not_been_asked_with_taints_nothing_yet() -> None:
    told = RunTaint().with_call(FIRST)

    assert told.of_what_is_requested is None
    assert told.all_seen().with_call(SECOND).of_what_is_requested == Taint((FIRST,))


def test_a_run_that_nothing_taints_has_nothing_to_say_of_it() -> None:
    state, _ = b.play(UNTRUSTED, b.started(UNTRUSTED), b.asks(b.tool_call("send")), b.returned())

    assert (state.tainted, state.taint, state.tainted_by) == (False, None, None)


@pytest.mark.parametrize("ok", [True, False])
def test_a_result_and_a_failure_are_named_by_the_event_with_which_they_were_told(ok: bool) -> None:
    state, records = b.play(UNTRUSTED, b.started(UNTRUSTED), b.asks(b.tool_call()), b.returned(ok=ok))

    [seq] = [seq for seq, each in enumerate(records, start=1) if isinstance(each, r.ToolCompleted | r.ToolFailed)]
    assert state.tainted_by == Taint((TaintingCall(b.FIRST_CALL, "lookup", seq),))


@pytest.mark.parametrize("resolution", [b.Resolution.HAPPENED, b.Resolution.FAILED])
def test_a_call_that_somebody_resolved_is_named(resolution: b.Resolution) -> None:
    pinned = b.package(b.tool("lookup", effect="write", untrusted=True))
    state, _ = b.play(pinned, b.started(pinned), b.asks(b.tool_call()), b.lost(), b.resolved(resolution))

    assert state.tainted_by is not None
    assert [call.effect_id for call in state.tainted_by.calls] == [b.FIRST_CALL]


def test_a_result_that_a_policy_has_replaced_is_named_by_its_release() -> None:
    pinned, other = p.of_results(), p.asked_of(digest=p.OTHER_RESULT.digest)
    state, records = b.play(
        pinned,
        b.started(pinned),
        p.sent("lookup"),
        p.came(),
        p.answer(Verdict.MODIFY, replacement=p.OTHER_RESULT),
        p.heard(1, policies=p.asked_of()),
        p.heard(2, policies=other),
        p.answer(Verdict.ALLOW, p.AGAIN, policies=other),
    )

    [(seq, released)] = [(seq, each) for seq, each in enumerate(records, 1) if isinstance(each, r.ToolResultReleased)]
    assert released.release is ResultRelease.REPLACED
    assert state.tainted_by == Taint((TaintingCall(b.FIRST_CALL, "lookup", seq),))
    assert decode_state(encode_state(state)) == state


def test_an_earlier_turn_brings_its_calls_along_under_its_own_name_and_those_it_began_with() -> None:
    begun, [older] = Taint((SECOND,), 3), of_run("run-0", FIRST)

    brought = taint_of_turn("run-1", Taint((older, *begun.calls), begun.more))

    assert brought == Taint((older, *of_run("run-1", SECOND)), 3)


def test_a_call_that_several_turns_name_is_named_once() -> None:
    [first], [second] = of_run("run-1", FIRST), of_run("run-2", SECOND)

    taint = taint_of_context([Taint((first,)), Taint((first, second))])

    assert taint == Taint((first, second))


def test_of_many_turns_the_oldest_calls_are_named_and_the_others_counted() -> None:
    first = Taint(tuple(of_run("run-1", *(structs.replace(FIRST, seq=seq) for seq in range(16)))), 4)
    second = Taint((*first.calls, *[]), 7)
    third = Taint(tuple(of_run("run-3", FIRST, SECOND)))

    assert taint_of_context([first, second]) == Taint(first.calls[:8], 15), "the seven may have those four"
    assert taint_of_context([third, first]) == Taint((*third.calls, *first.calls[:6]), 12), "there are twenty at least"
    assert taint_of_context([]) is None


def test_a_long_session_leaves_room_for_the_calls_of_the_run_itself() -> None:
    session = Taint(tuple(of_run("run-0", *(structs.replace(FIRST, seq=seq) for seq in range(16)))), 30)
    run = begun_with(taint_of_context([session]))
    assert run is not None

    for _ in range(9):
        run = run.with_call(FIRST)

    assert run.all_seen().of_what_is_requested == Taint((*session.calls[:8], *[FIRST] * 8), 39)


def test_a_turn_of_an_older_server_is_named_without_its_calls() -> None:
    turns = (b.earlier("run-0", "Who is there?", "Nobody."), b.earlier("run-1", "Still?", "Yes.", tainted=True))

    state, _ = b.play(UNTRUSTED, b.started(UNTRUSTED, context=Context(turns)))

    assert state.tainted_by == Taint((TaintingCall(run_id="run-1"),))


def test_a_context_names_what_taints_the_turns_that_are_in_it_and_no_others() -> None:
    runs = [
        SessionRun(
            RunId(f"run-{number}"),
            "helper",
            RunStatus.COMPLETED,
            b.earlier(f"run-{number}", "hm", "mh", tainted=number < 4),
            None if number == 2 else Taint((FIRST,)),
        )
        for number in (4, 3, 2, 1)
    ]

    context = choose(ContextPolicy(session_turns=3), "helper", runs, has_older=False)

    assert context.tainted_by == Taint((TaintingCall(run_id="run-2"), *of_run("run-3", FIRST)))
    state, _ = b.play(UNTRUSTED, b.started(UNTRUSTED, context=context))
    assert state.tainted_by == context.tainted_by
