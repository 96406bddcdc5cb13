"""Scenarios that end in a failed run, a failed call of a tool, or a runtime nobody can build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import AgentError
from runwright.ports.remote_policies import PolicyReplyKind
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.adapters.models.asking import provider_at
from tests.adapters.models.fake_vendor import Answer, fake_vendor
from tests.runtime.approving import of_the_run
from tests.runtime.parts import HeldTool
from tests.runtime.watching import quiet
from tests.transport.pending_approvals import ABORT, DENY, asking_bench, waiting
from tests.transport.pending_approvals import decide as decide_approval
from tests.transport.policy_hosts import NoAnswer
from tests.transport.refused_calls import Stage
from tests.transport.serving import CALL_SECONDS, Served
from tests.transport.unknown_calls import decision, in_repair, losing


@dataclass(frozen=True)
class Ending:
    """How a run said why it failed, or why a call of its did."""

    reason: int
    metadata: dict[str, str]


async def failed_run(stage: Stage, *script: b.Fields, **fields: Any) -> Ending:
    """The error of a run that plays the script, however often it is tried."""
    return await failure_of(stage, b.Bench(packages=(b.package(*script, tools=(b.tool(),), **fields),)))


async def failure_of(stage: Stage, bench: b.Bench) -> Ending:
    """The error of a run of the bench's package."""
    served = await stage.serve(bench)
    await served.start()
    await turn(served)
    error = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run.error
    return Ending(error.reason, dict(error.metadata))


async def vendor_answers(stage: Stage, status: int) -> Ending:
    """The error of a run whose vendor answers like this, over real HTTP, with nobody else to ask."""
    route = {"adapter": "openai", "model": "m", "max_attempts": 1}
    async with fake_vendor(Answer({"error": {}}, status=status)) as vendor, provider_at(vendor, "openai") as provider:
        return await failure_of(stage, b.Bench(providers={"openai": provider}, packages=(b.package(provider=route),)))


async def policy_interrupt(stage: Stage) -> Ending:
    rules = [{"rules": [{"then": "interrupt"}]}]
    return await failed_run(stage, b.asks("look"), policy="builtin:read-only", policies=rules)


async def provider_failed(stage: Stage) -> Ending:
    return await failed_run(stage, {"fail": True})


async def provider_key_refused(stage: Stage) -> Ending:
    return await vendor_answers(stage, 401)


async def provider_rate_limited(stage: Stage) -> Ending:
    return await vendor_answers(stage, 429)


async def provider_refused(stage: Stage) -> Ending:
    return await vendor_answers(stage, 404)


async def model_output_invalid(stage: Stage) -> Ending:
    return await failed_run(stage, b.says(""))


async def model_output_truncated(stage: Stage) -> Ending:
    return await failed_run(stage, b.says("so", finish="length"))


async def model_output_filtered(stage: Stage) -> Ending:
    return await failed_run(stage, b.says("so", finish="content_filter"))


async def conversation_too_large(stage: Stage) -> Ending:
    package = b.package(b.says("hi"), tools=(b.tool(),))
    return await failure_of(stage, b.Bench(packages=(package,), conversation_memory=40))


async def budget_exhausted(stage: Stage) -> Ending:
    return await failed_run(stage, b.asks("look"), b.asks("look"), budget={"rounds": 1})


async def cancelled(stage: Stage) -> Ending:
    bench = b.Bench(tools=FunctionTools({"look": HeldTool()}))
    served = await stage.serve(bench)
    await served.start()
    await served.stub.Cancel(pb.CancelRequest(run_id="run-1"), timeout=CALL_SECONDS)
    error = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run.error
    return Ending(error.reason, dict(error.metadata))


async def effect_unknown(stage: Stage) -> Ending:
    served = await stage.serve(losing())
    await in_repair(served)
    ending = decision(resolution=run_pb2.RESOLUTION_END_RUN)
    await served.stub.ResolveEffect(ending, timeout=CALL_SECONDS)
    error = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run.error
    return Ending(error.reason, dict(error.metadata))


async def approval_aborted(stage: Stage) -> Ending:
    served = await stage.serve(asking_bench())
    await waiting(served)
    await decide_approval(served, verdict=ABORT)
    error = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run.error
    return Ending(error.reason, dict(error.metadata))


async def approval_denied(stage: Stage) -> Ending:
    served = await stage.serve(b.Bench(packages=(of_the_run("run_start"),)))
    await waiting(served)
    await decide_approval(served, verdict=DENY, approval_id="run-1/a0.1")
    error = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run.error
    return Ending(error.reason, dict(error.metadata))


async def failed_call(stage: Stage, call: str | b.Fields, **tools: Any) -> Ending:
    """The reason of the only failed call of a run."""
    bench = b.Bench(tools=FunctionTools(**{"tools": {"look": b.look}, **tools}))
    strict = b.tool(parameters={"type": "object", "additionalProperties": False}, unavailable_timeout_ms=1)
    bench.packages = (b.package(b.asks(call), b.says("done"), tools=({**strict, "max_attempts": 1},)),)
    served = await stage.serve(bench)
    await served.start()
    await turn(served)
    frames = await served.frames()
    [failed] = [frame.event.tool_failed for frame in frames if frame.event.HasField("tool_failed")]
    return Ending(failed.reason, {})


async def turn(served: Served) -> None:
    """Lets time pass until the run has ended: nobody waits for an executor for ever."""
    while served.runtime.registered_run_count():
        await quiet()
        served.bench.manual_clock.advance(b.SECOND)


def plays(kind: ToolOutcomeKind) -> dict[str, Any]:
    """A tool whose attempts all end like this."""

    async def play(arguments: object) -> ToolOutcome:
        return ToolOutcome(kind, b"no")

    return {"look": play}


async def executor_unavailable(stage: Stage) -> Ending:
    return await failed_call(stage, "look", unreachable={"tools"})


async def executor_lost(stage: Stage) -> Ending:
    return await failed_call(stage, "look", tools=plays(ToolOutcomeKind.LOST))


async def tool_unknown(stage: Stage) -> Ending:
    return await failed_call(stage, "teleport")


async def tool_arguments_invalid(stage: Stage) -> Ending:
    return await failed_call(stage, {"tool": "look", "arguments": {"path": 1}})


async def tool_failed(stage: Stage) -> Ending:
    return await failed_call(stage, "look", tools=plays(ToolOutcomeKind.ERROR))


async def tool_timed_out(stage: Stage) -> Ending:
    return await failed_call(stage, "look", tools=plays(ToolOutcomeKind.TIMED_OUT))


async def tool_result_too_large(stage: Stage) -> Ending:
    return await failed_call(stage, "look", tools=plays(ToolOutcomeKind.TOO_LARGE))


async def tool_answer_invalid(stage: Stage) -> Ending:
    return await failed_call(stage, "look", tools=plays(ToolOutcomeKind.UNREADABLE))


async def package_invalid(stage: Stage) -> AgentError:
    return unbuildable(b.Bench(packages=(b.one_call_package(), b.one_call_package())))


async def port_missing(stage: Stage) -> AgentError:
    return unbuildable(b.Bench(schemas=None))  # type: ignore[arg-type]


def unbuildable(bench: b.Bench) -> AgentError:
    """Why no runtime can be built."""
    try:
        bench.runtime()
    except AgentError as error:
        return error
    raise AssertionError("it was built")


async def unanswered(stage: Stage, kind: PolicyReplyKind) -> error_pb2.AgentError:
    """What is on record of a question to a remote policy that comes to this."""
    remote = {"remote": "compliance", "max_attempts": 1, "unavailable_timeout_ms": 1}
    package = b.package(b.asks("look"), b.says("no"), tools=(b.tool(),), policy="builtin:read-only", policies=[remote])
    served = await stage.serve(b.real_time_bench(packages=(package,), remote_policies=NoAnswer(kind)))
    await served.ended()
    answered = [frame.event.policy_answered for frame in await served.frames()]
    return next(each.error for each in answered if each.HasField("error"))
