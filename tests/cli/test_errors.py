"""Failed calls in one line, whoever answered."""

from __future__ import annotations

from collections import namedtuple

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from runwright._gen.runwright.v1 import error_pb2
from runwright.cli.errors import Problem

Entry = namedtuple("Entry", "key value")


class Failed(grpc.RpcError):
    """A failed call with given trailing metadata."""

    def __init__(self, code: grpc.StatusCode, details: str = "", *metadata: Entry) -> None:
        self._message = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._message[0]

    def details(self) -> str:
        return self._message[1]

    def trailing_metadata(self) -> tuple[Entry, ...]:
        return self._message[2]


def details(*messages: Message) -> Entry:
    packed = []
    for message in messages:
        packed.append(Any())
        packed[-1].Pack(message)
    return Entry("grpc-status-details-bin", status_pb2.Status(details=packed).SerializeToString())


def info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="runwright")


def test_the_servers_own_words_come_first() -> None:
    message = error_pb2.AgentError(
        reason=error_pb2.ERROR_REASON_INTERNAL,
        message="Something broke.",
        remedy="Report it.",
        metadata={"incident_id": "incident-7"},
    )
    problem = Problem.of(Failed(grpc.StatusCode.INTERNAL, "x", details(info("INTERNAL"), message)), "here:1")

    assert str(problem) == "INTERNAL: Something broke. (incident_id=incident-7) Report it."
    assert not problem.passing


def test_facts_that_the_message_names_are_not_repeated() -> None:
    message = error_pb2.AgentError(message="There is no run r1.", remedy="Check.", metadata={"run_id": "r1"})
    problem = Problem.of(Failed(grpc.StatusCode.NOT_FOUND, "x", details(message, info("RUN_NOT_FOUND"))), "here:1")

    assert str(problem) == "RUN_NOT_FOUND: There is no run r1. Check."


def test_a_reason_newer_than_this_client_keeps_its_name() -> None:
    message = error_pb2.AgentError(reason=99, message="New.")  # type: ignore[arg-type]
    problem = Problem.of(Failed(grpc.StatusCode.ABORTED, "x", details(info("BRAND_NEW"), message)), "here:1")

    assert str(problem) == "BRAND_NEW: New."


def test_what_a_server_says_cannot_harm_the_terminal() -> None:
    message = error_pb2.AgentError(message="\x1b[2J\nline", remedy="\u202eback")

    assert (
        str(Problem.of(Failed(grpc.StatusCode.ABORTED, "", details(message)), "here:1")) == "UNSPECIFIED: [2J line back"
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE: The connection to here:1 ended: the server may be starting"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED: here:1 did not answer in time."),
        (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED: What answers at here:1 does not serve this call."),
        (grpc.StatusCode.DATA_LOSS, "DATA_LOSS: here:1 ended the call: foreign words"),
    ],
)
def test_without_details_we_say_what_to_do(code: grpc.StatusCode, said: str) -> None:
    broken = Entry("grpc-status-details-bin", b"\xff\xff")

    assert str(Problem.of(Failed(code, "foreign words", broken), "here:1")).startswith(said)


@pytest.mark.parametrize(
    ("code", "reason", "passing"),
    [
        (grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_DRAINING, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, error_pb2.ERROR_REASON_SUBSCRIBER_STALLED, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, error_pb2.ERROR_REASON_JOURNAL_FULL, False),
        (grpc.StatusCode.OUT_OF_RANGE, error_pb2.ERROR_REASON_JOURNAL_RESTORED, False),
    ],
)
def test_only_what_passes_by_itself_is_worth_coming_back(
    code: grpc.StatusCode, reason: error_pb2.ErrorReason.ValueType, passing: bool
) -> None:
    problem = Problem.of(Failed(code, "", details(error_pb2.AgentError(reason=reason))), "here:1")

    assert problem.passing is passing


def test_what_speaks_http_and_no_grpc_is_told_by_its_status() -> None:
    failed = Failed(grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404")

    problem = Problem.of(failed, "here:1")

    assert "a web server or a proxy, and says HTTP 404." in str(problem)
    assert not problem.unexplained


def test_a_server_that_is_slow_is_worth_coming_back_to() -> None:
    assert Problem.of(Failed(grpc.StatusCode.DEADLINE_EXCEEDED, ""), "here:1").passing
