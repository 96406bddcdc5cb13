"""Which gRPC status a reason gets, and how an error is put on the wire. The only such table."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from runwright.core.error_kinds import RetryClass
from runwright.core.errors import AgentError, ErrorReason
from runwright.wire.values import agent_error

_R = ErrorReason
_S = grpc.StatusCode

STATUS: Mapping[ErrorReason, grpc.StatusCode] = {
    _R.INVALID_REQUEST: _S.INVALID_ARGUMENT,
    _R.PACKAGE_INVALID: _S.FAILED_PRECONDITION,
    _R.PACKAGE_NOT_FOUND: _S.NOT_FOUND,
    _R.PACKAGE_TAG_MOVED: _S.ABORTED,
    _R.PACKAGE_LIMIT: _S.RESOURCE_EXHAUSTED,
    _R.REQUEST_ID_CONFLICT: _S.ALREADY_EXISTS,
    _R.AGENT_MISMATCH: _S.INVALID_ARGUMENT,
    _R.RUN_NOT_FOUND: _S.NOT_FOUND,
    _R.RUN_ID_CONFLICT: _S.ALREADY_EXISTS,
    _R.CURSOR_MALFORMED: _S.INVALID_ARGUMENT,
    _R.CURSOR_SCOPE_MISMATCH: _S.INVALID_ARGUMENT,
    _R.CURSOR_AHEAD: _S.OUT_OF_RANGE,
    _R.JOURNAL_RESTORED: _S.OUT_OF_RANGE,
    _R.SUBSCRIBER_STALLED: _S.RESOURCE_EXHAUSTED,
    _R.JOURNAL_FULL: _S.RESOURCE_EXHAUSTED,
    _R.JOURNAL_BUSY: _S.UNAVAILABLE,
    _R.JOURNAL_CONFLICT: _S.ABORTED,
    _R.JOURNAL_CORRUPT: _S.DATA_LOSS,
    _R.DRAINING: _S.UNAVAILABLE,
    _R.PORT_MISSING: _S.FAILED_PRECONDITION,
    _R.PROVIDER_MISSING: _S.FAILED_PRECONDITION,
    _R.PROVIDER_FAILED: _S.UNAVAILABLE,
    _R.PROVIDER_KEY_REFUSED: _S.FAILED_PRECONDITION,
    _R.PROVIDER_RATE_LIMITED: _S.RESOURCE_EXHAUSTED,
    _R.PROVIDER_REFUSED: _S.FAILED_PRECONDITION,
    _R.MODEL_OUTPUT_INVALID: _S.UNAVAILABLE,
    _R.MODEL_OUTPUT_TRUNCATED: _S.RESOURCE_EXHAUSTED,
    _R.MODEL_OUTPUT_FILTERED: _S.FAILED_PRECONDITION,
    _R.EXECUTOR_MISSING: _S.FAILED_PRECONDITION,
    _R.EXECUTOR_UNAVAILABLE: _S.UNAVAILABLE,
    _R.EXECUTOR_LOST: _S.UNAVAILABLE,
    _R.TOOL_UNKNOWN: _S.NOT_FOUND,
    _R.TOOL_ARGUMENTS_INVALID: _S.INVALID_ARGUMENT,
    _R.TOOL_FAILED: _S.FAILED_PRECONDITION,
    _R.TOOL_TIMED_OUT: _S.DEADLINE_EXCEEDED,
    _R.TOOL_RESULT_TOO_LARGE: _S.RESOURCE_EXHAUSTED,
    _R.TOOL_ANSWER_INVALID: _S.FAILED_PRECONDITION,
    _R.BUDGET_EXHAUSTED: _S.RESOURCE_EXHAUSTED,
    _R.OVERLOADED: _S.RESOURCE_EXHAUSTED,
    _R.CONVERSATION_TOO_LARGE: _S.RESOURCE_EXHAUSTED,
    _R.CANCELLED: _S.CANCELLED,
    _R.INTERNAL: _S.INTERNAL,
    _R.UNAUTHENTICATED: _S.UNAUTHENTICATED,
    _R.ROLE_MISSING: _S.PERMISSION_DENIED,
    _R.CALLBACK_NOT_FOUND: _S.NOT_FOUND,
    _R.CALLBACK_ADDRESS_REFUSED: _S.PERMISSION_DENIED,
    # Not ALREADY_EXISTS, which many clients take for "done before": this host is not registered.
    _R.CALLBACK_TAKEN: _S.PERMISSION_DENIED,
    _R.CALLBACK_LIMIT: _S.RESOURCE_EXHAUSTED,
    _R.SESSION_BUSY: _S.ABORTED,
    _R.CURSOR_EXPIRED: _S.OUT_OF_RANGE,
    _R.RUN_REMOVED: _S.NOT_FOUND,
    _R.TOO_MANY_CALLS: _S.RESOURCE_EXHAUSTED,
    _R.POLICY_DENIED: _S.PERMISSION_DENIED,
    _R.POLICY_INTERRUPT: _S.PERMISSION_DENIED,
    _R.POLICY_UNAVAILABLE: _S.UNAVAILABLE,
    _R.POLICY_LOST: _S.UNAVAILABLE,
    _R.POLICY_TIMED_OUT: _S.DEADLINE_EXCEEDED,
    _R.POLICY_ANSWER_INVALID: _S.FAILED_PRECONDITION,
    _R.RUN_HELD: _S.FAILED_PRECONDITION,
    _R.RUN_NOT_HELD: _S.FAILED_PRECONDITION,
    _R.EFFECT_NOT_UNKNOWN: _S.FAILED_PRECONDITION,
    # Not ABORTED, which is for trying again: nothing changes by that.
    _R.EFFECT_ATTEMPT_STALE: _S.FAILED_PRECONDITION,
    # Not ALREADY_EXISTS, which many clients take for "done before": something else was decided than was asked for.
    _R.EFFECT_ALREADY_RESOLVED: _S.FAILED_PRECONDITION,
    _R.EFFECT_UNKNOWN: _S.FAILED_PRECONDITION,
    _R.APPROVAL_NOT_FOUND: _S.NOT_FOUND,
    _R.APPROVAL_ALREADY_DECIDED: _S.FAILED_PRECONDITION,  # as above
    _R.APPROVAL_EXPIRED: _S.FAILED_PRECONDITION,
    _R.APPROVAL_WITHDRAWN: _S.FAILED_PRECONDITION,
    _R.APPROVAL_DIGEST_MISMATCH: _S.FAILED_PRECONDITION,
    _R.APPROVER_NOT_ALLOWED: _S.PERMISSION_DENIED,
    _R.APPROVAL_ABORTED: _S.FAILED_PRECONDITION,
    _R.APPROVAL_DENIED: _S.FAILED_PRECONDITION,
    _R.APPROVER_MISSING: _S.FAILED_PRECONDITION,
    _R.APPROVAL_EDIT_INVALID: _S.INVALID_ARGUMENT,
    _R.APPROVAL_DELEGATE_NOT_ALLOWED: _S.FAILED_PRECONDITION,
    _R.GRANT_NOT_OFFERED: _S.FAILED_PRECONDITION,
    _R.GRANT_NOT_FOUND: _S.NOT_FOUND,
    _R.GRANT_NOT_YOURS: _S.PERMISSION_DENIED,
}


# The names of statuses without a reason.
OK, CANCELLED, NOT_FOUND = (code.name for code in (_S.OK, _S.CANCELLED, _S.NOT_FOUND))


def code_name(error: AgentError) -> str:
    """The name of the status that a call ends with for this error."""
    return STATUS[error.reason].name


def status_details(error: AgentError) -> bytes:
    """The `google.rpc.Status` of an error: ErrorInfo, AgentError, and what fits of BadRequest and RetryInfo."""
    code: int = STATUS[error.reason].value[0]
    status = status_pb2.Status(code=code, message=message(error))
    info = error_details_pb2.ErrorInfo(reason=error.reason.name, domain="runwright", metadata=error.metadata)
    own = agent_error(error)
    details = [info, own]
    if error.reason is ErrorReason.INVALID_REQUEST:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.metadata.get("field", ""), description=error.metadata.get("expected", "")
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.meaning.retry is RetryClass.RETRYABLE and own.HasField("retry_after"):
        details.append(error_details_pb2.RetryInfo(retry_delay=own.retry_after))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    encoded: bytes = status.SerializeToString()
    return encoded


def message(error: AgentError) -> str:
    """The status message: what is wrong and what to do, for tools that show nothing else."""
    return f"{error.message} {error.remedy}"


class ServiceUnknown(Exception):
    """Health was asked for a service that is not there: the one NOT_FOUND of a standard service, without a reason."""


async def abort_unknown_service(context: grpc.aio.ServicerContext[object, object]) -> None:
    """Ends a health check of an unknown service."""
    await _aborted(context.abort(_S.NOT_FOUND, "There is no service of this name."))


async def _aborted(aborting: Awaitable[None]) -> None:
    try:
        await aborting
    except grpc.aio.AbortError as ended:
        # gRPC keeps it with the call and raises it again. With the traceback it would keep the call, and what that
        # holds, until the next collection.
        ended.__traceback__ = None
    except grpc.aio.InternalError:
        return  # the client has left


async def abort(context: grpc.aio.ServicerContext[object, object], error: AgentError) -> None:
    """Ends the call with the error; on return the handler has nothing more to do.

    A message before it that nobody reads holds it up until the client has left.
    """
    details = (("grpc-status-details-bin", status_details(error)),)
    await _aborted(context.abort(STATUS[error.reason], message(error), trailing_metadata=details))
