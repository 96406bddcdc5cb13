"""How a command ends: exit codes, and failed calls in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from runwright._gen.runwright.v1 import error_pb2
from runwright.cli import clean, names

_DETAILS_KEY = "grpc-status-details-bin"


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
    """A failed call. `passing` is true when the same call may succeed later without anybody's help."""

    def __init__(self, reason: str, message: str, remedy: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.passing = passing

    def __str__(self) -> str:
        """One line: reason, message, remedy."""
        return clean.line(f"{self.reason}: {self.message} {self.remedy}".strip())

    @classmethod
    def of(cls, error: grpc.RpcError, server: str) -> Problem:
        """What a failed call says: in the server's own words, or, if it did not answer, in ours."""
        told, reason = _told(error)
        code = error.code()
        if told is not None:
            stalled = told.reason == error_pb2.ERROR_REASON_SUBSCRIBER_STALLED
            passing = code is grpc.StatusCode.UNAVAILABLE or stalled
            return cls(reason, _with_metadata(told), told.remedy, passing=passing)
        return cls._unexplained(code, error.details() or "", server)

    @classmethod
    def _unexplained(cls, code: grpc.StatusCode, details: str, server: str) -> Problem:
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                message = f"No Runwright server answers at {server}."
                remedy = "Start one with `runwright serve`, or name its address with --server HOST:PORT."
                return cls(code.name, message, remedy, passing=True)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return cls(
                    code.name, f"{server} did not answer in time.", "Try again; look at the server's log.", passing=True
                )
            case grpc.StatusCode.UNIMPLEMENTED:
                message = f"What answers at {server} does not serve this call."
                return cls(code.name, message, "Check --server, and that client and server are of one version.")
            case _:
                return cls(code.name, details or "The call failed.", "Look at the server's log.")


def _told(error: grpc.RpcError) -> tuple[error_pb2.AgentError | None, str]:
    """The AgentError among the status details and its reason, which ErrorInfo names even if it is newer than we are."""
    told, info = error_pb2.AgentError(), error_details_pb2.ErrorInfo()
    found = False
    for detail in _details(error):
        found = detail.Unpack(told) or found
        detail.Unpack(info)
    return (told if found else None), info.reason or names.reason(told.reason)


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
