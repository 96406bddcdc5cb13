"""One ask over one channel: what is sent, and what an answer must be to be used. It may be anything."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright.adapters.remote.dialer import Metadata
from runwright.adapters.remote.tool_answers import several_outcomes
from runwright.adapters.remote.unary_call import CallFailure, CallFailureKind, UnaryCall, unary_call
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.outcomes import ReconcileAnswer
from runwright.ports.log import OperatorLog
from runwright.ports.tools import ReconcileOutcome, ToolInvocation
from runwright.wire.values import timestamp

_METHOD = f"/{KINDS[CallbackKind.TOOL_EXECUTOR].service}/ReconcileTool"
_OUTCOMES = frozenset(field.number for field in pb.ReconcileToolResponse.DESCRIPTOR.oneofs_by_name["outcome"].fields)
MAX_SAID = 500  # of the words that the log takes over from a host


async def reconcile(
    channel: grpc.aio.Channel,
    call: ToolInvocation,
    ask: int,
    *,
    seconds: float,
    metadata: Metadata = (),
    log: OperatorLog | None = None,
) -> ReconcileOutcome:
    """Asks. Raises nothing but the cancellation of whoever awaits it."""
    no_answer = ReconcileOutcome(ReconcileAnswer.NO_ANSWER)
    sent = UnaryCall(_METHOD, _request(call, ask), seconds, metadata, call.trace_parent)
    answer = await unary_call(channel, sent, lambda data: read_reconciled(data, call))
    if not isinstance(answer, CallFailure):
        outcome, said = answer
    elif answer.kind is CallFailureKind.NOT_SENT:
        return ReconcileOutcome(ReconcileAnswer.NOT_ASKED)
    elif answer.status is not None:
        outcome, said = no_answer, f"{answer.status.code().name}: {answer.status.details()}"
    else:
        if answer.fault is not None and log is not None:
            log.error("asking about a call broke off", answer.fault, run_id=call.run_id, call_id=call.call_id)
        return no_answer
    if log is not None and outcome.answer not in (ReconcileAnswer.PERFORMED, ReconcileAnswer.NOT_PERFORMED):
        asked = f"asked {ask} times" if ask > 1 else "asked once"
        log.warning(
            f"executor was {asked} what became of a call",
            run_id=call.run_id,
            call_id=call.call_id,
            attempt=call.attempt,
            answer=outcome.answer.name,
            said=said[:MAX_SAID],
        )
    return outcome


def read_reconciled(data: bytes, call: ToolInvocation) -> tuple[ReconcileOutcome, str]:
    """The answer, and what it says in words. UNREADABLE unless it is beyond doubt about this attempt: it settles it.

    A field that is not known here could take back what the others say.
    """
    unreadable = ReconcileOutcome(ReconcileAnswer.UNREADABLE)
    try:
        response = pb.ReconcileToolResponse.FromString(data)
        if several_outcomes(data, _OUTCOMES) != 1:
            return unreadable, "not exactly one outcome"
    except DecodeError:
        return unreadable, "it does not parse"
    if (response.idempotency_key, response.attempt) != (call.idempotency_key, call.attempt):
        return unreadable, "it is about another call or attempt"
    outcome = response.WhichOneof("outcome")
    if outcome is None:
        return unreadable, "its outcome is of another type"
    if len(UnknownFieldSet(response)) or len(UnknownFieldSet(getattr(response, outcome))):
        return unreadable, "it has fields that this version does not know"
    if response.arguments_digest not in ("", call.arguments_digest):
        return unreadable, "the key was used for other arguments"
    match outcome:
        case "performed" if response.arguments_digest:
            said = response.performed
            return ReconcileOutcome(ReconcileAnswer.PERFORMED, said.data, said.media_type), ""
        case "performed":
            return unreadable, "it does not say which arguments were performed"
        case "not_performed":
            return ReconcileOutcome(ReconcileAnswer.NOT_PERFORMED), response.not_performed.message
        case _:
            return ReconcileOutcome(ReconcileAnswer.CANNOT_SAY), response.unknown.message


def _request(call: ToolInvocation, ask: int) -> bytes:
    return pb.ReconcileToolRequest(
        run_id=call.run_id,
        turn_id=call.turn_id,
        round=call.round,
        call_id=call.call_id,
        attempt=call.attempt,
        ask=ask,
        idempotency_key=call.idempotency_key,
        tool=call.tool,
        arguments_json=call.arguments_json,
        arguments_digest=call.arguments_digest,
        deadline=timestamp(call.deadline),
        package_fingerprint=call.package_fingerprint,
    ).SerializeToString()
