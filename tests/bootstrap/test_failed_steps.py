"""Each step of a start is made to fail in turn, and then each close: what was opened before is closed all the same."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import socketserver
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from runwright import bootstrap
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.remote.executors import DialledExecutors
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.telemetry.setup import Telemetry
from runwright.adapters.watchdog import LoopWatchdog
from runwright.bootstrap import parts, serving
from runwright.bootstrap.signals import Signals
from runwright.core.errors import AgentError
from runwright.runtime import AgentRuntime
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.runtime.runs.supervisor import Supervisor
from runwright.settings import Settings
from runwright.testing import FunctionTools
from runwright.transport.server import HealthServer, RuntimeServer

from tests import builders as b
from tests.bootstrap.leftovers import Executor, Open, free_port, is_free, is_unlocked
from tests.bootstrap.steps import Broken, Step, failing, steps_of
from tests.e2e.packages import package, says, tool, write
from tests.transport.known import add_key, certificate

# Made ready in a process of its own, which is there from then on.
COSTLY = {"type": "object", "properties": {"deeper": {"$ref": "#"}}}
AWAY = b.package(b.asks("wait"), id="waiting", tools=(b.tool("wait", executor="away"),))


class Model:
    """A provider that says what became of it."""

    def __init__(self) -> None:
        self.is_open = False

    async def complete(self, request: Any, emit: Any) -> Any:
        """Never asked."""
        raise AssertionError

    async def prepare(self) -> None:
        """Opens."""
        self.is_open = True

    async def close(self) -> None:
        """Closes."""
        self.is_open = False


@dataclass
class Scene:
    """A server with all there is to open, and what it left when it was over."""

    settings: Settings
    ports: tuple[int, ...]
    executor: Executor
    model: Model = field(default_factory=Model)
    dials: int = 0
    tasks: set[str] = field(default_factory=set)
    address: str = ""

    def serve(self, ready: Callable[[str], None] = lambda _: None) -> None:
        """Serves until it ends or fails, as `runwright serve` does."""
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Callable[[str], None]) -> None:
        def is_ready(address: str) -> None:
            self.address = address
            ready(address)

        before = Open.now().handlers
        try:
            await bootstrap.serve(self.settings, is_ready, {"model": self.model}, reread=lambda: self.settings)
        finally:
            await asyncio.sleep(0)  # what was cancelled at the very end
            self.tasks = {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}
            assert Open.now().handlers == before

    def assert_closed(self, before: Open) -> None:
        """Nothing of the server is left."""
        assert is_unlocked(self.settings.data)
        assert [port for port in self.ports if not is_free(port)] == []
        assert self.tasks == set()
        assert not self.model.is_open
        self.dials = self.executor.close()
        after = Open.now()
        assert after.threads <= before.threads
        assert after.processes <= before.processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What settings name: packages, keys, a certificate, and a journal with a run that waits for its executor."""
    made = tmp_path_factory.mktemp("start")
    add_key(made / "keys.json", "caller")
    certificate(made, "server")
    write(made, package("costly", [says("hi")], {**tool("look", "read"), "parameters": COSTLY}))

    async def open_run() -> None:
        journal = SqliteJournal.open(made / "data")
        runtime = b.real_time_bench(tools=FunctionTools({"wait": b.look}, unreachable={"away"})).runtime(
            AWAY, journal=journal
        )
        await runtime.recover()
        await runtime.start_run(b.request())
        await runtime.drain(0)
        await runtime.close()

    asyncio.run(open_run())
    return made


@pytest.fixture
def scene(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    listen, health, metrics = ports = (free_port(), free_port(), free_port())
    executor = Executor()
    shutil.copytree(folder / "data", tmp_path / "data")
    made = Scene(
        Settings(
            data=tmp_path / "data",
            listen=f"127.0.0.1:{listen}",
            health_listen=f"127.0.0.1:{health}",
            metrics=f"127.0.0.1:{metrics}",
            otlp_endpoint="http://127.0.0.1:1",
            packages=(folder / "costly.yaml",),
            executors={"executor": executor.address},
            keys=folder / "keys.json",
            tls_cert=folder / "server.pem",
            tls_key=folder / "server.key",
            callback_cert=folder / "server.pem",
            callback_key=folder / "server.key",
            retention_days=30,
            drain_grace_seconds=0.0,
        ),
        ports,
        executor,
    )
    monkeypatch.setattr(serving, "settle_interpreter", lambda: None)  # which is for a process of its own
    # The server of metrics looks every half second whether it is to end.
    monkeypatch.setattr(socketserver.BaseServer.serve_forever, "__defaults__", (0.01,))
    return made


STEPS = [*steps_of(serving._start), *steps_of(serving._serve_health), *steps_of(parts.build_runtime)]


def test_the_steps_are_those_of_the_start() -> None:
    assert len(STEPS) > 35
    assert any("runtime.recover" in step.text for step in STEPS)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_that_fails_leaves_nothing_open(scene: Scene, step: Step) -> None:
    before = Open.now()

    with failing(step), pytest.raises(Broken):
        scene.serve(lambda _: pytest.fail("it must not serve"))

    scene.assert_closed(before)


def stop(_: str) -> None:
    """Ends the server that serves in this process."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_server_that_was_stopped_leaves_nothing_open(scene: Scene) -> None:
    before = Open.now()

    scene.serve(stop)

    assert scene.address == scene.settings.listen
    scene.assert_closed(before)
    assert scene.dials > 0


CLOSES = [
    (serving._Started, "stop_tasks"),
    (RuntimeServer, "stop"),
    (HealthServer, "stop"),
    (AgentRuntime, "drain"),
    (CallbackRegistry, "close"),
    (AgentRuntime, "close"),
    (Supervisor, "close"),
    (DialledExecutors, "close"),
    (JsonSchemaChecker, "close"),
    (SqliteJournal, "close"),
    (Telemetry, "close"),
]


@pytest.mark.parametrize(("part", "method"), CLOSES, ids=lambda named: getattr(named, "__name__", named))
def test_a_close_that_fails_keeps_nothing_else_open(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, part: type, method: str
) -> None:
    before, closing = Open.now(), getattr(part, method)

    async def fails(*arguments: Any) -> None:
        await closing(*arguments)
        raise Broken(method)

    monkeypatch.setattr(part, method, fails)

    with pytest.raises(Broken):
        scene.serve(stop)

    scene.assert_closed(before)


def test_a_watchdog_that_does_not_close_keeps_nothing_else_open(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    before, closing = Open.now(), LoopWatchdog.close

    def fails(self: LoopWatchdog) -> None:
        closing(self)
        raise Broken

    monkeypatch.setattr(LoopWatchdog, "close", fails)

    with pytest.raises(Broken):
        scene.serve(stop)

    scene.assert_closed(before)


def test_an_address_that_cannot_be_announced_leaves_nothing_open(scene: Scene) -> None:
    before = Open.now()

    def breaks(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        scene.serve(breaks)

    scene.assert_closed(before)


@pytest.mark.parametrize("name", ["listen", "health_listen", "metrics"])
def test_an_address_that_is_taken_leaves_nothing_open(scene: Scene, name: str) -> None:
    before = Open.now()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        scene.settings = replace(scene.settings, **{name: address})

        with pytest.raises(AgentError, match=address):
            scene.serve(lambda _: pytest.fail("it must not serve"))

    scene.assert_closed(before)


@pytest.mark.parametrize("moment", ["taking runs up", "serving"])
def test_a_server_whose_task_is_cancelled_leaves_nothing_open(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = Open.now()

    def cancel(*_: object) -> None:
        [serving_task] = [task for task in asyncio.all_tasks() if task.get_coro().__name__ == "_serve"]  # type: ignore[union-attr]
        serving_task.cancel()

    async def cancelled(_: object) -> int:
        cancel()
        await asyncio.sleep(0)
        raise AssertionError("it was cancelled")

    if moment == "taking runs up":
        monkeypatch.setattr(AgentRuntime, "recover", cancelled)

    with pytest.raises(asyncio.CancelledError):
        scene.serve(cancel)

    scene.assert_closed(before)


async def test_of_signals_that_cannot_all_be_handled_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, before = asyncio.get_running_loop(), Open.now().handlers
    handle = loop.add_signal_handler

    def fails(number: int, *arguments: Any) -> None:
        if number == signal.SIGHUP:
            raise Broken
        handle(number, *arguments)

    monkeypatch.setattr(loop, "add_signal_handler", fails)

    with pytest.raises(Broken), Signals():
        pytest.fail("it must not begin")

    assert Open.now().handlers == before
