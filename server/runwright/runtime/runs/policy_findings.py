"""What policies say of what a run is about to do, found out where its bytes are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from pydantic import JsonValue

from runwright.core import inputs as i
from runwright.core.content import Content
from runwright.core.grants import CalledTool
from runwright.core.ids import EffectId, parse_effect_id
from runwright.core.package import RuntimePackage, ToolSpec
from runwright.core.policy import PolicyFindings, PolicyStage
from runwright.core.state import NO_POLICY, CallState, RunState
from runwright.runtime.policies import (
    CallFacts,
    Policies,
    PolicySubject,
    Result,
    RunFacts,
    arguments_of,
    subject_of_call,
    subject_of_result,
    subject_of_text,
)
from runwright.runtime.ports import Ports
from runwright.runtime.runs.grant_findings import with_grants
from runwright.runtime.runs.summaries import with_summaries


async def of_calls(
    ports: Ports,
    package: RuntimePackage,
    state: RunState,
    calls: Sequence[i.RequestedCall],
    values: Sequence[JsonValue],
) -> tuple[i.RequestedCall, ...]:
    """The calls of an answer, sound ones with what policies say of them at PRE_TOOL and the grants that may answer."""
    policies, stage, namespace = ports.policies, PolicyStage.PRE_TOOL, state.key.namespace
    sound = [index for index, call in enumerate(calls) if call.findings.problem is None]
    if not sound or not policies.is_used(package, namespace, stage):
        return tuple(calls)
    run = RunFacts.of(state)
    subjects, called, tools = [], [], []
    for index in sound:
        call, tool = calls[index], package.tool(calls[index].tool)
        assert tool is not None, "a call of an unknown tool is not sound"
        facts = CallFacts(state.round, index + 1, state.tainted, call.arguments)
        subjects.append(subject_of_call(run, tool, facts, values[index]))
        called.append(_called(tool, facts, values[index]))
        tools.append(tool)
    said_of_all = await policies.find(package, namespace, stage, subjects)
    said_of_all = await with_summaries(policies.conditions, list(zip(tools, subjects, strict=True)), said_of_all)
    found = await with_grants(ports, package, state, called, said_of_all)
    decided = list(calls)
    for index, said in zip(sound, found, strict=True):
        decided[index] = replace(calls[index], findings=replace(calls[index].findings, policies=(said,)))
    return tuple(decided)


def _called(tool: ToolSpec, facts: CallFacts, arguments: JsonValue) -> tuple[CalledTool, JsonValue, int]:
    return CalledTool(tool.name, facts.arguments.digest, facts.tainted), arguments, facts.arguments.size


def _facts(package: RuntimePackage, call: CallState) -> tuple[ToolSpec, CallFacts]:
    tool = package.tool(call.tool)
    assert tool is not None and call.arguments is not None, "only calls of declared tools are made"
    round_, index = parse_effect_id(EffectId(call.call_id)).numbers
    return tool, CallFacts(round_, index, (call.policy or NO_POLICY).tainted, call.arguments)


def _result(
    package: RuntimePackage, state: RunState, call: CallState, arguments: bytes, result: Result
) -> PolicySubject:
    asked = subject_of_call(RunFacts.of(state), *_facts(package, call), arguments_of(arguments))
    return subject_of_result(asked, result)


async def of_call_again(
    ports: Ports, package: RuntimePackage, state: RunState, call: CallState, arguments: bytes
) -> tuple[PolicyFindings, ...]:
    """What is said of a call anew, where its walk goes on or the rules are others now than those on record."""
    tool, facts = _facts(package, call)
    value = arguments_of(arguments)
    subject = subject_of_call(RunFacts.of(state), tool, facts, value)
    said = await ports.policies.find(package, state.key.namespace, PolicyStage.PRE_TOOL, [subject])
    said = await with_summaries(ports.policies.conditions, [(tool, subject)], said)
    return tuple(await with_grants(ports, package, state, [_called(tool, facts, value)], said))


def of_result_at_once(
    policies: Policies, package: RuntimePackage, state: RunState, call: CallState, arguments: bytes, result: Result
) -> tuple[PolicyFindings, ...]:
    """What is said of what came of a call; nothing where it takes a while to find that out."""
    namespace, stage = state.key.namespace, PolicyStage.POST_TOOL
    if not policies.is_used(package, namespace, stage):
        return ()
    subject = _result(package, state, call, arguments, result)
    return tuple(policies.find_at_once(package, namespace, stage, [subject]) or ())


async def of_result(
    policies: Policies, package: RuntimePackage, state: RunState, call: CallState, arguments: bytes, result: Result
) -> tuple[PolicyFindings, ...]:
    """What is said of what came of a call and is on record."""
    subject = _result(package, state, call, arguments, result)
    return tuple(await policies.find(package, state.key.namespace, PolicyStage.POST_TOOL, [subject]))


async def of_answer(
    policies: Policies, package: RuntimePackage, state: RunState, answer: Content | None
) -> tuple[PolicyFindings, ...]:
    """What is said of the model's answer before it is published."""
    stage, namespace = PolicyStage.OUTPUT, state.key.namespace
    if answer is None or not policies.is_used(package, namespace, stage):
        return ()
    subject = subject_of_text(RunFacts.of(state), "output", [answer.data.decode()], answer.ref.digest)
    return tuple(await policies.find(package, namespace, stage, [subject]))
