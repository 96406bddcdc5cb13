"""What effects say of themselves: the driver goes by nothing else."""

from __future__ import annotations

from typing import get_args

import pytest
from runwright.core import effects as e
from runwright.core import records as r
from runwright.core.content import ContentRef
from runwright.core.ids import EffectId
from runwright.core.machine import intent

CALL = EffectId("c3.2")


def call(*, idempotent: bool) -> e.CallTool:
    """A call that may be repeated, or not."""
    arguments = ContentRef("0" * 64, 2, "application/json")
    return e.CallTool(CALL, "look", "tools", 4, arguments, "key", idempotent, 9)


EFFECTS: dict[str, e.Effect] = {
    "model": e.CallModel(3, 4),
    "retry": e.AwaitRetry(3, 4, 9),
    "read": call(idempotent=True),
    "write": call(idempotent=False),
    "executor": e.AwaitExecutor(CALL, 4, "tools", 0, 0),
    "approval": e.AwaitApproval(CALL, "a3.2.1", 0, 9, 1),
    "ask": e.ReconcileTool(CALL, "look", 4, 2, ContentRef("0" * 64, 2, "application/json"), "key"),
    "asking": e.AwaitReconcile(CALL, 4, 2, 0, 9),
    "result": e.EvaluateResult(CALL, 4),
    "deadline": e.WaitForCancelDeadline(9),
    "policy": e.AskPolicy(EffectId("p3.1.1"), 1),
    "policies": e.HearPolicies(CALL, 1),
    "deferral": e.AwaitDeferral(EffectId("p3.1.1"), 9, 0),
    "dispatch": e.DispatchApproval(EffectId("n3.2.1.1"), 4),
    "dispatcher": e.AwaitDispatcher(EffectId("n3.2.1.1"), 4, "chat", 2, 1),
    "policy host": e.AwaitPolicy(EffectId("p3.1.1"), 1, "compliance", 0, 9, 0),
}


def saying(attribute: str) -> set[str]:
    """The effects of which it is true."""
    return {name for name, effect in EFFECTS.items() if getattr(effect, attribute)}


def test_every_effect_is_looked_at_here() -> None:
    classes = {each for union in get_args(e.Effect) for each in (get_args(union) or (union,))}

    assert {type(effect) for effect in EFFECTS.values()} == classes


def test_what_only_has_to_be_waited_for_parks() -> None:
    of_hosts = {"executor", "asking", "policy host", "dispatcher"}
    assert saying("parks") == {"retry", "approval", "deadline", "deferral"} | of_hosts


def test_what_must_not_be_repeated_is_settled_while_the_server_stops_and_so_is_a_cancel() -> None:
    assert saying("settles_while_draining") == {"write", "deadline"}
    assert saying("may_be_repeated") == set(EFFECTS) - {"write"}


def test_an_answer_that_would_begin_something_new_is_left_to_the_next_start() -> None:
    of_policies = {"result", "policy", "policies", "policy host", "deferral"}
    of_calls = {"model", "retry", "executor", "approval", "ask", "asking", "dispatcher"}
    assert saying("is_left_to_restart") == of_calls | of_policies


def test_what_is_sent_to_somebody_needs_an_intent() -> None:
    assert saying("needs_intent") == {"model", "read", "write", "ask", "policy", "dispatch"}


def test_effects_have_keys_of_their_own_and_attempts_too() -> None:
    distinct = {effect.key for name, effect in EFFECTS.items() if name != "read"}

    assert len(distinct) == len(EFFECTS) - 1
    assert e.CallModel(3, 4).key != e.CallModel(3, 5).key
    assert e.CallModel(3, 4).key == e.CallModel(3, 4, route=1).key


@pytest.mark.parametrize("effect", [EFFECTS["model"], EFFECTS["write"], EFFECTS["ask"]])
def test_an_intent_has_the_key_of_its_effect(effect: e.RunningEffect) -> None:
    record: r.Record
    if isinstance(effect, e.CallModel):
        record = r.ModelAttemptStarted(at=1, round=3, attempt=4, provider="p", model="m", route=0)
    elif isinstance(effect, e.ReconcileTool):
        record = r.ReconcileStarted(
            at=1,
            call_id=CALL,
            attempt=4,
            tool="look",
            executor="tools",
            ask=2,
            idempotency_key="key",
            arguments_digest="0" * 64,
            deadline=9,
        )
    else:
        record = r.ToolStarted(
            at=1,
            call_id=CALL,
            attempt=4,
            tool="look",
            executor="tools",
            effect="write",
            idempotent=False,
            idempotency_key="key",
            arguments_digest="0" * 64,
            deadline=9,
        )

    assert intent(record) == effect.key
