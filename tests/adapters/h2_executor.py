"""An executor on a bare HTTP/2 connection: it may refuse a call before it begins, as no gRPC server can be told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded

from tests.adapters.raw_executor import RESULT

# What a stream comes to, given its connection, its number, and how to close the connection.
Answer: TypeAlias = Callable[[H2Connection, int], None]
_METHOD = b"/runwright.callback.v1.ToolExecutorService/ExecuteTool"


def answered(connection: H2Connection, stream: int) -> None:
    """The usual result."""
    connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    connection.send_data(stream, b"\0" + len(RESULT).to_bytes(4, "big") + RESULT)
    connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def refused(connection: H2Connection, stream: int) -> None:
    """Not begun, as REFUSED_STREAM says; gRPC tells it in the words that `passed_on` uses."""
    connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM)


def going_away(connection: H2Connection, stream: int) -> None:
    """Not begun, for sure: it is above the last stream that the GOAWAY names."""
    connection.close_connection(ErrorCodes.NO_ERROR, last_stream_id=max(0, stream - 2))


def reset(connection: H2Connection, stream: int) -> None:
    """Broken off, perhaps after it was made."""
    connection.reset_stream(stream, ErrorCodes.CANCEL)


def passed_on(connection: H2Connection, stream: int) -> None:
    """A status that the executor had from a service behind it, in the words of a refused stream."""
    message = "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))"
    status = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "14"),
        ("grpc-message", message),
    ]
    connection.send_headers(stream, status, end_stream=True)


class Http2Executor:
    """Does with each call what `answers` says next; the last of them for all that follow."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.calls = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        """Takes no more connections."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        paths: dict[int, bytes] = {}
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        paths[event.stream_id] = dict(event.headers)[b":path"]
                    elif isinstance(event, StreamEnded):
                        self._answer(connection, event.stream_id, paths.pop(event.stream_id))
                writer.write(connection.data_to_send())
                if connection.state_machine.state.name == "CLOSED":
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the test is over
        finally:
            writer.close()

    def _answer(self, connection: H2Connection, stream: int, path: bytes) -> None:
        if path != _METHOD:
            status = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]
            connection.send_headers(stream, status, end_stream=True)
            return
        self.calls += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        answer(connection, stream)
