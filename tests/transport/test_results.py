"""Results at POST_TOOL over the wire: the model sees what was released, readers see what is on record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from runwright._gen.runwright.v1 import event_pb2, policy_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.cel_conditions import INLINE_BYTES
from runwright.core.ids import Namespace
from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Served
from tests.transport.unknown_calls import decision

SECRET = "token sk-12345"
NO_TOKENS = {
    "stage": "post_tool",
    "when": 'result.text.contains("sk-")',
    "then": "deny",
    "code": "secret",
    "message": "Ask for something else.",
}


def looking(*script: Any, rules: list[dict[str, Any]], **fields: Any) -> RuntimePackage:
    """A package with a tool that looks, whose results may come from strangers, under these rules."""
    tools = (b.tool(untrusted=True), b.writing_tool())
    policies = [{"builtin": "allow-declared"}, {"rules": rules}]
    return b.package(*script, tools=tools, policy="builtin:read-only", policies=policies, **fields)


async def served_with(serve: Serve, package: RuntimePackage, answer: object, **parts: Any) -> Served:
    """A server of the package whose tool answers this."""
    return await serve(b.Bench(packages=(package,), tools=FunctionTools({"look": lambda _: answer, **parts})))


async def events(served: Served, body: str) -> list[event_pb2.Event]:
    """The events of the run that have such a body."""
    return [frame.event for frame in await served.frames() if frame.event.WhichOneof("body") == body]


async def test_a_result_that_a_rule_denies_is_withheld_from_the_model_and_stays_for_readers(serve: Serve) -> None:
    served = await served_with(serve, looking(b.asks("look"), b.says("{results}"), rules=[NO_TOKENS]), {"page": SECRET})

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert SECRET not in run.result.text, "the model has not seen it"
    assert "withheld by policy policies.1 (secret). Ask for something else." in run.result.text
    [completed] = await events(served, "tool_completed")
    [decided] = [event for event in await events(served, "policy_decided") if event.policy_decided.stage == 5]
    [released] = await events(served, "tool_result_released")
    assert completed.tool_completed.awaits_release
    assert decided.policy_decided.verdict == policy_pb2.POLICY_VERDICT_DENY
    assert decided.policy_decided.subject_digest == completed.tool_completed.result.digest
    assert decided.effect_id == released.effect_id == completed.effect_id == "c1.1"
    withheld = released.tool_result_released
    assert (withheld.tool, withheld.policy_ref, withheld.code) == ("look", "policies.1", "secret")
    assert withheld.release == event_pb2.RESULT_RELEASE_WITHHELD
    full = await served.frames(view=pb.EVENT_VIEW_FULL)
    assert SECRET in "".join(content.text for frame in full for content in frame.contents)


async def test_a_result_that_nobody_objects_to_is_released_as_it_is(serve: Serve) -> None:
    served = await served_with(serve, looking(b.asks("look"), b.says("{results}"), rules=[NO_TOKENS]), {"degrees": 12})

    run = await served.ended()

    assert '{"degrees": 12}' in run.result.text
    [released] = await events(served, "tool_result_released")
    assert released.tool_result_released.release == event_pb2.RESULT_RELEASE_RELEASED


@pytest.mark.parametrize(
    ("when", "answer", "withheld"),
    [
        ("result.json.degrees > 30", {"degrees": 31}, True),
        ("result.json.degrees > 30", {"degrees": 12}, False),
        ("result.json.degrees > 30", ToolOutcome(ToolOutcomeKind.RESULT, b"hot", "text/plain"), True),  # it fails
        ('has(result.json) && result.media_type == "text/plain"', "hot", False),
        ("!result.ok", ToolOutcome(ToolOutcomeKind.ERROR, b"no such city"), True),
        ("result.size > 10", "short", False),
        ('tool.name == "look" && args == {} && call.index == 1 && usage.tool_calls == 1', "", True),
    ],
)
async def test_a_rule_may_speak_of_the_result_and_of_its_call(
    serve: Serve, when: str, answer: object, withheld: bool
) -> None:
    rule = {"stage": "post_tool", "when": when, "then": "deny", "code": "no"}
    served = await served_with(serve, looking(b.asks("look"), b.says("{results}"), rules=[rule]), answer)

    await served.ended()

    [released] = await events(served, "tool_result_released")
    assert (released.tool_result_released.release == event_pb2.RESULT_RELEASE_WITHHELD) == withheld


async def test_a_large_result_is_durable_before_anybody_looks_at_it(serve: Serve) -> None:
    """Its conditions are evaluated in a process of their own, and TOOL_COMPLETED does not wait for that."""
    large = {"page": SECRET, "rest": "x" * INLINE_BYTES}
    served = await served_with(serve, looking(b.asks("look"), b.says("{results}"), rules=[NO_TOKENS]), large)

    run = await served.ended()

    assert SECRET not in run.result.text and "(secret)" in run.result.text
    kinds = [frame.event.WhichOneof("body") for frame in await served.frames() if frame.HasField("event")]
    at = kinds.index("tool_completed")
    assert kinds[at : at + 4] == ["tool_completed", "policy_decided", "tool_result_released", "model_attempt_started"]


@pytest.mark.parametrize("value", [10**40, "\ud800", float("nan")], ids=["number", "half a character", "nan"])
async def test_a_value_that_the_language_does_not_have_is_withheld(serve: Serve, value: object) -> None:
    answer = ToolOutcome(ToolOutcomeKind.RESULT, json.dumps({"value": value}).encode())
    rule = {"stage": "post_tool", "when": "result.json.value == 1", "then": "deny", "code": "one"}
    served = await served_with(serve, looking(b.asks("look"), b.says("{results}"), rules=[rule]), answer)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED, "what a tool says ends no run"
    [released] = await events(served, "tool_result_released")
    assert released.tool_result_released.code in ("policy.condition_failed", "")


async def test_an_interrupt_over_a_result_ends_the_run_and_the_model_is_not_asked_on(serve: Serve) -> None:
    rule = {**NO_TOKENS, "then": "interrupt"}
    served = await served_with(serve, looking(b.asks("look"), b.says("{results}"), rules=[rule]), SECRET)

    run = await served.ended()

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_INTERRUPT)
    assert len(await events(served, "model_attempt_started")) == 1


async def test_what_is_withheld_does_not_taint_and_what_is_released_does(serve: Serve) -> None:
    script = (b.asks("look"), b.asks("look"), b.says("done"))
    hidden = await served_with(serve, looking(*script, rules=[NO_TOKENS]), SECRET)
    await hidden.ended()
    shown = await served_with(serve, looking(*script, rules=[NO_TOKENS]), "sunny")
    await shown.ended()

    tainted = [
        [event.tool_requested.tainted for event in await events(served, "tool_requested")] for served in (hidden, shown)
    ]
    assert tainted == [[False, False], [False, True]]


async def test_the_operators_rules_are_heard_where_a_package_has_none(serve: Serve) -> None:
    package = b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(),), policy="builtin:read-only")
    served = await served_with(serve, package, SECRET)
    rules = OperatorRules((PolicySpec.model_validate({"rules": [NO_TOKENS]}),), "sha256:01")
    served.runtime.ports.policies.replace_operator_rules({Namespace("*"): rules})

    run = await served.ended()

    assert SECRET not in run.result.text and "operator.policies.0 (secret)" in run.result.text


async def test_a_policy_in_shadow_mode_withholds_nothing(serve: Serve) -> None:
    policies = [{"builtin": "allow-declared"}, {"mode": "shadow", "rules": [NO_TOKENS]}]
    package = b.package(
        b.asks("look"), b.says("{results}"), tools=(b.tool(),), policy="builtin:read-only", policies=policies
    )
    served = await served_with(serve, package, SECRET)

    run = await served.ended()

    assert SECRET in run.result.text
    [decided] = [event for event in await events(served, "policy_decided") if event.policy_decided.stage == 5]
    [would] = decided.policy_decided.shadow
    assert (would.verdict, would.code) == (policy_pb2.POLICY_VERDICT_DENY, "secret")


@pytest.mark.parametrize("resolution", [run_pb2.RESOLUTION_HAPPENED, run_pb2.RESOLUTION_FAILED])
async def test_what_somebody_says_of_a_lost_call_goes_through_the_same_gate(serve: Serve, resolution: int) -> None:
    package = looking(b.asks("write"), b.says("told {results}"), rules=[NO_TOKENS])
    lost = ToolOutcome(ToolOutcomeKind.LOST)
    served = await served_with(serve, package, "", write=lambda _: lost)
    await served.start()
    await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)
    happened = resolution == run_pb2.RESOLUTION_HAPPENED
    words = {"result": {"data": SECRET.encode(), "media_type": "text/plain"}} if happened else {"message": SECRET}

    await served.stub.ResolveEffect(decision(resolution=resolution, **words), timeout=CALL_SECONDS)
    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert SECRET not in run.result.text and "(secret)" in run.result.text
