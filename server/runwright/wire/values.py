"""Small values that many messages share: times, content references, errors, budgets, usage."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from runwright._gen.runwright.v1 import content_pb2, error_pb2, package_pb2, run_pb2
from runwright.core.content import ContentRef
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.outcomes import ExecutorIdentity, Usage
from runwright.core.request import Budget
from runwright.core.retry import retry_after_us

_MICROS = 1_000_000


def timestamp(at: int) -> Timestamp:
    """Microseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=at // _MICROS, nanos=at % _MICROS * 1000)


def put_timestamp(into: Timestamp, at: int) -> None:
    """Microseconds since 1970, into a message's own Timestamp: assigned, a message is copied."""
    into.seconds, into.nanos = at // _MICROS, at % _MICROS * 1000


def micros(value: Timestamp) -> int:
    """A Timestamp as microseconds since 1970."""
    return value.seconds * _MICROS + value.nanos // 1000


def content_ref(ref: ContentRef) -> content_pb2.ContentRef:
    """core → proto."""
    return content_pb2.ContentRef(digest=ref.digest, size=ref.size, media_type=ref.media_type)


def put_ref(into: content_pb2.ContentRef, ref: ContentRef) -> None:
    """core → a message's own reference."""
    into.digest, into.size, into.media_type = ref.digest, ref.size, ref.media_type


def to_content_ref(ref: content_pb2.ContentRef) -> ContentRef:
    """proto → core."""
    return ContentRef(ref.digest, ref.size, ref.media_type)


def put_budget(into: package_pb2.Budget, value: Budget) -> None:
    """core → a message's own budget."""
    into.rounds, into.tool_calls, into.parallel_calls = value.rounds, value.tool_calls, value.parallel_calls


def to_budget(value: package_pb2.Budget) -> Budget:
    """proto → core."""
    return Budget(value.rounds, value.tool_calls, value.parallel_calls)


def put_usage(into: run_pb2.Usage, value: Usage) -> None:
    """core → a message's own usage."""
    into.rounds, into.tool_calls = value.rounds, value.tool_calls
    into.input_tokens, into.output_tokens = value.input_tokens, value.output_tokens


def to_usage(value: run_pb2.Usage) -> Usage:
    """proto → core."""
    return Usage(value.rounds, value.tool_calls, value.input_tokens, value.output_tokens)


def put_identity(into: run_pb2.ExecutorIdentity, value: ExecutorIdentity | None) -> None:
    """core → a message's own identity of an executor, which stays absent when there is none."""
    if value is not None:
        into.callback_id, into.principal, into.address = value.callback_id, value.principal, value.address


def to_identity(value: run_pb2.ExecutorIdentity) -> ExecutorIdentity | None:
    """proto → core; an absent one reads as one without an address."""
    return ExecutorIdentity(value.callback_id, value.principal, value.address) if value.address else None


def agent_error(error: AgentError) -> error_pb2.AgentError:
    """core → proto, with kind, retry class and remedy from the table."""
    wait = retry_after_us(error.metadata)
    return error_pb2.AgentError(
        reason_name=error.reason.name,
        retry_after=Duration(seconds=wait // _MICROS) if wait else None,
        reason=error_pb2.ErrorReason.ValueType(error.reason.value),
        kind=error_pb2.AgentErrorKind.ValueType(error.meaning.kind.value),
        retry_class=error_pb2.RetryClass.ValueType(error.meaning.retry.value),
        message=error.message,
        remedy=error.remedy,
        metadata=error.metadata,
    )


def failure(value: Failure) -> error_pb2.AgentError:
    """core → proto."""
    return agent_error(value.error())


def put_failure(into: error_pb2.AgentError, value: Failure) -> None:
    """core → a message's own error."""
    into.CopyFrom(failure(value))


def to_failure(value: error_pb2.AgentError) -> Failure:
    """proto → core; kind, retry class and remedy follow from the reason."""
    return Failure(ErrorReason(value.reason), value.message, tuple(sorted(value.metadata.items())))
