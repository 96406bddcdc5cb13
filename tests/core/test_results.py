"""What comes of calls at POST_TOOL: held from the model until it is released, never from the record."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import apply
from runwright.core.content import ContentRef
from runwright.core.kinds import EventKind
from runwright.core.machine import decide, pending, status
from runwright.core.outcomes import CallPhase, ResultRelease, RunPhase, RunStatus, StopReason
from runwright.core.policy import PolicyStage, Verdict
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition
from runwright.wire.state_row import decode_state, encode_state

from tests.core import builders as b

RULES = [{"rules": [{"stage": "post_tool", "when": "result.ok", "then": "deny"}]}, {"builtin": "allow-declared"}]
TOOLS = (b.tool("lookup", untrusted=True), b.tool("send", effect="write"))
PLAIN = b.package(*TOOLS)
GATED = b.package(*TOOLS, policy="builtin:read-only", policies=RULES)
RESULT = b.text("12 degrees")


def allowed(*calls: str) -> i.ModelReplied:
    """The model asks for these tools, and policies allow it."""
    said = b.said_of(b.json_text("{}"), Verdict.ALLOW, stage=PolicyStage.PRE_TOOL)
    asked = [b.tool_call(name) for name in calls]
    return b.asks(*(replace(call, findings=replace(call.findings, policies=(said,))) for call in asked))


def evaluated(verdict: Verdict, ref: ContentRef = RESULT, **fields: int) -> i.ResultEvaluated:
    """Policies say this of what came of the first call."""
    said = (b.said_of(ref, verdict, "secret"),)
    return i.ResultEvaluated(at=b.at(4), call_id=b.FIRST_CALL, attempt=fields.get("attempt", 1), policies=said)


def held(*calls: str) -> RunState:
    """A run whose first call has returned and awaits its release."""
    state, _ = b.play(GATED, b.started(GATED), allowed(*(calls or ("lookup",))), b.returned())
    return state


def test_a_stage_that_nobody_uses_leaves_no_record_and_holds_nothing() -> None:
    _, records = b.play(PLAIN, b.started(PLAIN), b.asks(b.tool_call()), b.returned())

    assert b.kinds(records)[-2:] == ["TOOL_COMPLETED", "MODEL_ATTEMPT_STARTED"]
    assert not [record for record in records if getattr(record, "awaits_release", False)]


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_result_is_on_record_at_once_and_the_model_waits_for_its_release(by_operator: bool) -> None:
    package = PLAIN if by_operator else GATED
    state, _ = b.play(package, b.started(package), allowed("lookup"))

    state, records = b.play(package, replace(b.returned(), is_gated=by_operator), state=state)

    assert b.kinds(records) == ["TOOL_COMPLETED"]
    assert (state.calls[0].outcome, state.calls[0].phase) == (RESULT, CallPhase.COMPLETED)
    assert list(pending(state).values()) == [e.EvaluateResult(b.FIRST_CALL, 1)]
    assert status(state) is RunStatus.RUNNING
    assert decode_state(encode_state(state)) == state, "a restart finds it so"
    assert decide(package, state, i.Recovered(at=b.at(9))) == [], "and asks again"


def test_what_is_known_at_once_costs_no_append_of_its_own() -> None:
    state, _ = b.play(GATED, b.started(GATED), allowed("lookup"))
    said = b.said_of(RESULT, Verdict.ALLOW)

    new = decide(GATED, state, replace(b.returned(), policies=(said,)))

    assert b.kinds(new) == ["TOOL_COMPLETED", "POLICY_DECIDED", "TOOL_RESULT_RELEASED", "MODEL_ATTEMPT_STARTED"]


@pytest.mark.parametrize(
    ("verdict", "release", "tainted"),
    [
        (Verdict.ALLOW, ResultRelease.RELEASED, True),
        (Verdict.DENY, ResultRelease.WITHHELD, False),
        (Verdict.ASK, ResultRelease.WITHHELD, False),
    ],
)
def test_only_what_is_released_taints(verdict: Verdict, release: ResultRelease, tainted: bool) -> None:
    before = held()
    state, records = b.play(GATED, evaluated(verdict), state=before)

    decided, released, _ = records
    assert isinstance(decided, r.PolicyDecided) and isinstance(released, r.ToolResultReleased)
    assert (decided.stage, decided.subject_digest) == (PolicyStage.POST_TOOL, RESULT.digest)
    assert released.release is release
    assert (released.policy_ref, released.code) == (("policies.0", "secret") if not tainted else ("", ""))
    assert (before.tainted, state.tainted) == (False, tainted)
    assert b.kinds(records)[-1] == "MODEL_ATTEMPT_STARTED"


def test_what_was_found_for_another_result_releases_nothing() -> None:
    _, records = b.play(GATED, evaluated(Verdict.ALLOW, b.text("other")), state=held())

    assert isinstance(records[1], r.ToolResultReleased)
    assert (records[1].release, records[1].code) == (ResultRelease.WITHHELD, "policy.not_found_out")


def test_an_answer_for_another_attempt_or_a_call_that_awaits_nothing_changes_nothing() -> None:
    state = held("lookup", "lookup")

    assert decide(GATED, state, evaluated(Verdict.ALLOW, attempt=2)) == []
    running = replace(evaluated(Verdict.ALLOW), call_id=b.SECOND_CALL)
    assert decide(GATED, state, running) == []


def test_a_failure_in_the_words_of_the_tool_is_held_and_one_without_words_is_not() -> None:
    state, _ = b.play(GATED, b.started(GATED), allowed("lookup", "lookup"))
    lost = b.package(b.tool("lookup", max_attempts=1), policy="builtin:read-only", policies=RULES)

    said, _ = b.play(GATED, b.returned(ok=False), state=state)
    silent, records = b.play(lost, b.lost(), state=state)

    assert (said.calls[0].phase, said.calls[0].outcome) == (CallPhase.FAILED, RESULT)
    assert (silent.calls[0].phase, silent.calls[0].outcome) == (CallPhase.FAILED, None)
    assert isinstance(records[0], r.ToolFailed) and not records[0].awaits_release


def test_an_interrupt_over_a_result_ends_the_run_and_withholds_it() -> None:
    state, records = b.play(GATED, evaluated(Verdict.INTERRUPT), state=held())

    assert b.kinds(records) == ["POLICY_DECIDED", "TOOL_RESULT_RELEASED", "TURN_FAILED", "RUN_FAILED"]
    assert isinstance(records[1], r.ToolResultReleased) and records[1].release is ResultRelease.WITHHELD
    assert state.stop is StopReason.POLICY_INTERRUPT
    assert state.error is not None and "the result of a tool call" in state.error.message


def test_an_interrupt_beside_an_unknown_call_goes_by_the_barrier_and_names_it() -> None:
    state, _ = b.play(GATED, b.started(GATED), allowed("lookup", "send"), b.lost(b.SECOND_CALL), b.returned())
    assert status(state) is RunStatus.REPAIR_NEEDED

    after, records = b.play(GATED, evaluated(Verdict.INTERRUPT), state=state)

    assert b.kinds(records)[2:] == ["RUN_CANCEL_REQUESTED", "TURN_FAILED", "RUN_FAILED"]
    assert isinstance(records[-1], r.RunFailed)
    assert records[-1].unknown_effects == (b.SECOND_CALL,)
    assert after.stop is StopReason.POLICY_INTERRUPT and after.phase is RunPhase.FAILED


def test_a_result_that_somebody_tells_of_an_unknown_call_taints_like_any_other() -> None:
    """Whether it is released or nobody has to release it."""
    foreign = b.package(b.tool("send", effect="write", untrusted=True), b.tool("lookup"))
    unknown, _ = b.play(foreign, b.started(foreign), b.asks(b.tool_call("send")), b.lost())
    told = b.resolved()

    at_once, _ = b.play(foreign, told, state=unknown)
    gated, _ = b.play(foreign, replace(told, is_gated=True), state=unknown)
    outcome = gated.calls[0].outcome
    assert outcome is not None
    released, _ = b.play(foreign, evaluated(Verdict.ALLOW, outcome), state=gated)
    withheld, _ = b.play(foreign, evaluated(Verdict.DENY, outcome), state=gated)

    assert (unknown.tainted, at_once.tainted, gated.tainted) == (False, True, False)
    assert (released.tainted, withheld.tainted) == (True, False)


def test_what_awaits_no_release_is_neither_decided_on_nor_released() -> None:
    state, _ = b.play(PLAIN, b.started(PLAIN), b.asks(b.tool_call(), b.tool_call()), b.returned())
    release = b.examples()[EventKind.TOOL_RESULT_RELEASED]
    decided = replace(b.examples()[EventKind.POLICY_DECIDED], stage=PolicyStage.POST_TOOL)

    for record in (release, decided):
        with pytest.raises(IllegalTransition):
            apply(state, replace(record, at=b.at(9)))
    with pytest.raises(IllegalTransition):
        apply(held(), replace(decided, stage=PolicyStage.PRE_TOOL))
