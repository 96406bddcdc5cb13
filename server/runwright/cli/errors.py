"""How a command ends: exit codes, and failed calls in one line that says what to do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from runwright._gen.runwright.v1 import error_pb2
from runwright.cli import names, sanitize
from runwright.cli.connection import Connection
from runwright.core.errors import AgentError

_DETAILS_KEY = "grpc-status-details-bin"
# What gRPC says of an answer that is HTTP/2 and no gRPC.
_HTTP_STATUS = re.compile(r"Received http2 header with status: (\d+)")
_NOBODY_SAID = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNKNOWN,
)
# In the words of this program, where the server's are for those who write a client.
_REMEDIES = {
    "UNAUTHENTICATED": "Give a key that `runwright keys add` printed, in RUNWRIGHT_KEY or with --key, or a client "
    "certificate with --tls-cert and --tls-key.",
}


class ExitCode(IntEnum):
    """Exit codes of the commands. 130 is what shells expect of a command ended by Ctrl-C."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    REPAIR_NEEDED = 4
    CALL_FAILED = 5
    STILL_RUNNING = 6
    INTERRUPTED = 130


class Problem(Exception):
    """What keeps a command from doing its work, most often a failed call.

    `passing` is true when the same call may succeed later without anybody's help;
    `unexplained` when nobody said why it failed: `connection` may be looked into.
    """

    unexplained = False
    connection: Connection | None = None

    def __init__(
        self,
        reason: str,
        message: str,
        remedy: str,
        *,
        passing: bool = False,
        exit_code: ExitCode = ExitCode.CALL_FAILED,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.passing = passing
        self.exit_code = exit_code
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        """One line: reason, message, remedy."""
        return sanitize.line(f"{self.reason}: {self.message} {self.remedy}".strip())

    def json(self) -> str:
        """One line of JSON, an object with the one key `error`. Whatever is not ASCII is escaped."""
        said = {
            "reason": self.reason,
            "message": self.message,
            "remedy": self.remedy,
            "metadata": self.metadata,
            "may_pass": self.passing,
        }
        return json.dumps({"error": said})

    @classmethod
    def refused(cls, error: AgentError) -> Problem:
        """What keeps a command from its work on this machine: files, settings, the journal."""
        reason, metadata = error.reason.name, error.metadata
        return cls(reason, error.message, error.remedy, exit_code=ExitCode.USAGE, metadata=metadata)

    @classmethod
    def of(cls, error: grpc.RpcError, server: str) -> Problem:
        """What a failed call says: in the server's own words, or, if it did not answer, in ours."""
        agent_error, reason = _agent_error(error)
        code = error.code()
        if agent_error is not None:
            stalled = agent_error.reason == error_pb2.ERROR_REASON_SUBSCRIBER_STALLED
            passing = code is grpc.StatusCode.UNAVAILABLE or stalled
            remedy = _REMEDIES.get(reason, agent_error.remedy)
            return cls(reason, _with_metadata(agent_error), remedy, passing=passing, metadata=agent_error.metadata)
        problem = cls._unexplained(code, error.details() or "", server)
        problem.unexplained = code in _NOBODY_SAID and not _HTTP_STATUS.match(error.details() or "")
        return problem

    @classmethod
    def _unexplained(cls, code: grpc.StatusCode, details: str, server: str) -> Problem:
        if (answered := _HTTP_STATUS.match(details)) is not None:
            message = f"What answers at {server} is a web server or a proxy, and says HTTP {answered[1]}."
            return cls(code.name, message, "Give the address that `runwright serve` printed, with --server HOST:PORT.")
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                message = f"The connection to {server} ended: the server may be starting, stopping, or full."
                return cls(code.name, message, "Try again; the server's log says what it does.", passing=True)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return cls(
                    code.name,
                    f"{server} did not answer in time.",
                    "Try again; the server's log says what it does.",
                    passing=True,
                )
            case grpc.StatusCode.UNIMPLEMENTED:
                message = f"What answers at {server} does not serve this call."
                return cls(code.name, message, "Check --server, and that client and server are of one version.")
            case _:
                text = f"{server} ended the call: {details or code.name}"
                return cls(code.name, text, f"Check that {server} (--server) is the server; its log may say more.")


def _agent_error(error: grpc.RpcError) -> tuple[error_pb2.AgentError | None, str]:
    """The AgentError among the status details and its reason, which ErrorInfo names even if it is newer than we are."""
    agent_error, info = error_pb2.AgentError(), error_details_pb2.ErrorInfo()
    found = False
    for detail in _details(error):
        found = detail.Unpack(agent_error) or found
        detail.Unpack(info)
    return (agent_error if found else None), info.reason or names.reason(agent_error.reason)


def _details(error: grpc.RpcError) -> Iterator[Any]:
    for entry in error.trailing_metadata() or ():
        if entry.key == _DETAILS_KEY and isinstance(entry.value, bytes):
            try:
                yield from status_pb2.Status.FromString(entry.value).details
            except DecodeError:
                continue


def _with_metadata(error: error_pb2.AgentError) -> str:
    """The message, with those facts it does not spell out itself, such as an incident's id."""
    unsaid = [f"{key}={value}" for key, value in sorted(error.metadata.items()) if value not in error.message]
    return f"{error.message} ({', '.join(unsaid)})" if unsaid else error.message


def tell(problem: Problem) -> None:
    """Says it on standard error: as JSON if the command line asks for JSON, else in one line for people."""
    print(problem.json() if wants_json(sys.argv[1:]) else f"error: {problem}", file=sys.stderr, flush=True)


def wants_json(words: Sequence[str]) -> bool:
    """True for a command line with `-o json`, in any of its spellings, whether or not it can be parsed."""
    before = ["", *words]
    return any(
        word in ("-ojson", "--output=json") or (word == "json" and last in ("-o", "--output"))
        for last, word in zip(before, words, strict=False)
    )
