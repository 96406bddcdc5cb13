"""A real server, its executor and its neighbours in this process, for whoever calls the program against them."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.dialer import Dialer
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.executors import DialledExecutors
from runwright.core.allow_list import LOOPBACK, AllowList
from runwright.transport.server import RuntimeServer
from runwright.transport.tls import TlsFiles
from runwright_client import ToolServer, tool

from tests import builders as b
from tests.transport.known import certificate, keys_for

TOO_MUCH = 2 * 1024 * 1024  # bytes; a result may have one MiB


@dataclass
class Neighbourhood:
    """Addresses and files of everything that answers."""

    folder: Path
    open: str = ""  # plaintext, no keys
    guarded: str = ""  # TLS and keys
    mutual: str = ""  # TLS, and only for those who show a certificate
    web: str = ""
    other_grpc: str = ""
    mute: str = ""  # hangs up at once
    key: str = ""

    @property
    def ca(self) -> str:
        """The authority of the server's certificate."""
        return str(self.folder / "authority.pem")

    @property
    def other_ca(self) -> str:
        """An authority that signed nothing here."""
        return str(self.folder / "other.pem")


@tool(effect="read")
def raising() -> str:
    """Raises."""
    raise LookupError("the shelf is empty")


@tool(effect="read")
async def slow() -> str:
    """Never answers."""
    await asyncio.Event().wait()
    return ""


@tool(effect="read")
def wordless() -> object:
    """Answers with what is no JSON."""
    return object()


@tool(effect="read")
def endless() -> str:
    """Answers with too much."""
    return "x" * TOO_MUCH


TOOLS = (raising, slow, wordless, endless)


@contextmanager
def neighbourhood(folder: Path) -> Iterator[Neighbourhood]:
    """Serves it all on free ports of loopback until the block ends."""
    certificate(folder, "authority")
    certificate(folder, "other")
    certificate(folder, "server", authority="authority", names="DNS:runwright.example,IP:127.0.0.1")
    here = Neighbourhood(folder)
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with _serving(here):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="servers")
    with _web() as here.web, _other_grpc() as here.other_grpc, _mute() as here.mute:
        thread.start()
        assert ready.wait(30)
        try:
            yield here
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


class _serving:
    """The runtime behind three servers, and its executor."""

    def __init__(self, here: Neighbourhood) -> None:
        self._here = here
        self._servers: list[RuntimeServer] = []
        self._host = ToolServer(TOOLS)

    async def __aenter__(self) -> None:
        here = self._here
        callbacks = DialledCallbacks(Dialer(AllowList.parse(LOOPBACK), b.ListLog()), SystemClock())
        dialled = DialledExecutors({"desk": await self._host.start()}, SystemClock(), callbacks)
        dialled.connect()
        packages = [b.package(b.asks(one.name), b.says("done"), id=one.name, tools=(_declared(one),)) for one in TOOLS]
        bench = b.real_time_bench(tools=dialled, packages=(b.package(b.says("hello"), id="greeter"), *packages))
        self._runtime = bench.runtime()
        await self._runtime.recover()
        (here.key, *_), known = keys_for(here.folder, "caller")
        tls = TlsFiles(here.folder / "server.pem", here.folder / "server.key")
        mutual = TlsFiles(tls.certificate, tls.key, here.folder / "authority.pem")
        here.open = await self._served(RuntimeServer(self._runtime))
        here.guarded = await self._served(RuntimeServer(self._runtime, authenticator=known), tls)
        here.mutual = await self._served(RuntimeServer(self._runtime), mutual)

    async def _served(self, server: RuntimeServer, tls: TlsFiles | None = None) -> str:
        port = server.bind("127.0.0.1:0", tls.credentials()) if tls else server.bind("127.0.0.1:0")
        await server.start()
        self._servers.append(server)
        return f"127.0.0.1:{port}"

    async def __aexit__(self, *_: object) -> None:
        self._runtime.stop_streams()
        await self._runtime.drain(0)
        for server in self._servers:
            await server.stop(0)
        await self._runtime.close()
        await self._host.stop()


def _declared(one: Any) -> b.Fields:
    declared = one.declaration("desk")
    return {**declared, "timeout_ms": 200, "max_attempts": 1}


class _Page(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class _WebServer(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of those who leave in the middle."""


@contextmanager
def _web() -> Iterator[str]:
    with _WebServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.05))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def _other_grpc() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def _mute() -> Iterator[str]:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.05))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def free_address() -> str:
    """An address at which nothing listens: the port was just given back."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"
