"""Small values: errors are told with their whole meaning, times exactly."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from runwright._gen.runwright.v1 import error_pb2
from runwright.core.errors import MEANINGS, AgentError, ErrorReason, Failure
from runwright.wire import values as v


@pytest.mark.parametrize("reason", ErrorReason, ids=lambda reason: reason.name)
def test_an_error_is_told_with_the_meaning_of_its_reason(reason: ErrorReason) -> None:
    error = AgentError(reason, "Something happened.", metadata={"field": "input"})

    message = v.agent_error(error)

    assert error_pb2.ErrorReason.Name(message.reason) == f"ERROR_REASON_{reason.name}"
    assert error_pb2.AgentErrorKind.Name(message.kind) == f"AGENT_ERROR_KIND_{MEANINGS[reason].kind.name}"
    assert error_pb2.RetryClass.Name(message.retry_class) == f"RETRY_CLASS_{MEANINGS[reason].retry.name}"
    assert (message.message, message.remedy) == ("Something happened.", MEANINGS[reason].remedy)
    assert dict(message.metadata) == {"field": "input"}


def test_a_failure_comes_back_the_same() -> None:
    failure = Failure(ErrorReason.BUDGET_EXHAUSTED, "Used up.", (("budget", "rounds"), ("limit", "2")))

    back = v.to_failure(v.failure(failure))

    assert back == failure


def test_a_time_is_a_timestamp_of_whole_microseconds() -> None:
    message = v.timestamp(1_700_000_000_000_001)

    assert message == Timestamp(seconds=1_700_000_000, nanos=1000)
    assert v.micros(message) == 1_700_000_000_000_001
