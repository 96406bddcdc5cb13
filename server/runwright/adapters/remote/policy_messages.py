"""Questions to remote policies: core → proto, and what a host answered: bytes → core. They are a stranger's."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from runwright._gen.runwright.callback.v1 import policy_service_pb2 as pb
from runwright._gen.runwright.v1 import package_pb2, policy_pb2, run_pb2
from runwright.core.policy import Verdict
from runwright.core.request import Budget
from runwright.ports.remote_policies import (
    MAX_ASKED_RESULT_BYTES,
    AskedCall,
    AskedResult,
    PolicyReply,
    PolicyReplyKind,
    PolicyRequest,
)
from runwright.wire.packages import EFFECTS
from runwright.wire.values import timestamp

_VERDICTS = {verdict.value: verdict for verdict in Verdict}


def decide_request(request: PolicyRequest, deadline: int) -> pb.DecideRequest:
    """The question as its host gets it; `deadline` is microseconds."""
    return pb.DecideRequest(
        run=_run(request),
        policy=request.remote.policy,
        effect_id=request.effect_id,
        attempt=request.attempt,
        stage=policy_pb2.PolicyStage.ValueType(request.stage.value),
        subject_digest=request.subject_digest,
        deadline=timestamp(deadline),
        call=_call(request.call) if request.call is not None else None,
        text=request.text,
        result=_result(request.result) if request.result is not None else None,
    )


def read_answer(data: bytes) -> PolicyReply:
    """What a host answered; UNREADABLE when that does not parse, or has no verdict that is known."""
    try:
        message = pb.DecideResponse.FromString(data)
    except DecodeError:
        return PolicyReply(kind=PolicyReplyKind.UNREADABLE)
    verdict = _VERDICTS.get(message.verdict)
    if verdict is None:
        return PolicyReply(kind=PolicyReplyKind.UNREADABLE)
    which, budget = message.WhichOneof("replacement"), message.budget
    return PolicyReply(
        kind=PolicyReplyKind.ANSWERED,
        subject_digest=message.subject_digest,
        verdict=verdict,
        code=message.code,
        message=message.message,
        arguments_json=message.arguments_json if which == "arguments_json" else None,
        text=message.text if which == "text" else None,
        budget=Budget(budget.rounds, budget.tool_calls, budget.parallel_calls) if which == "budget" else None,
        defer_for=message.defer_for.seconds * 1_000_000 + message.defer_for.nanos // 1000,
    )


def _run(request: PolicyRequest) -> pb.PolicySubjectRun:
    state, usage, budget = request.state, request.state.usage, request.state.budget
    return pb.PolicySubjectRun(
        namespace=state.key.namespace,
        run_id=state.key.run_id,
        session_id=state.session_id,
        agent_id=state.agent_id,
        labels=dict(state.labels),
        package_fingerprint=state.package_fingerprint,
        principal=state.principal,
        principal_roles=state.principal_roles,
        usage=run_pb2.Usage(
            rounds=usage.rounds,
            tool_calls=usage.tool_calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        ),
        budget=package_pb2.Budget(
            rounds=budget.rounds, tool_calls=budget.tool_calls, parallel_calls=budget.parallel_calls
        ),
    )


def _call(call: AskedCall) -> pb.PolicySubjectCall:
    tool = call.tool
    return pb.PolicySubjectCall(
        call_id=call.call_id,
        tool=tool.name,
        effect=EFFECTS[tool.effect.value],
        risk=tool.risk or "",
        executor=tool.executor,
        idempotent=tool.idempotent,
        tainted=call.is_tainted,
        arguments_json=call.arguments_json,
    )


def _result(result: AskedResult) -> pb.PolicySubjectResult:
    return pb.PolicySubjectResult(
        ok=result.ok,
        media_type=result.ref.media_type,
        size=result.ref.size,
        data=result.data[:MAX_ASKED_RESULT_BYTES],
    )
