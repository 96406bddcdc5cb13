"""The server as a process, with a real model behind it, and what it refuses to start with."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from runwright import bootstrap
from runwright._gen.runwright.v1 import package_service_pb2 as pb_packages
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub
from runwright.bootstrap import parts
from runwright.core.errors import AgentError, ErrorReason
from runwright.settings import Settings

from tests.adapters.models.asking import KEY, VARIABLE, base_url
from tests.adapters.models.fake_vendor import Answer, fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire
from tests.e2e.client import SECONDS
from tests.e2e.executor import EXECUTOR, running_executor
from tests.e2e.packages import LOOK, package, write
from tests.e2e.server_process import ROOT, Server

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])


def model_package(kind: str, **parameters: Any) -> dict[str, Any]:
    """A package for a real model, with the executor's tool."""
    route = {"adapter": kind, "model": "test-model", "parameters": parameters}
    return {**package("real", [], LOOK), "provider": route}


async def refusal(tmp_path: Path, spec: dict[str, Any], *options: str) -> str:
    """What a server says that cannot start."""
    server = Server(tmp_path / "data", [write(tmp_path, spec)], {EXECUTOR: "127.0.0.1:1"}, *options)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *server.arguments(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    async with asyncio.timeout(30):
        message, _ = await process.communicate()
    assert process.returncode == 2, message.decode()
    assert b"Traceback" not in message
    return message.decode()


@both
async def test_a_run_on_a_real_server(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{KEY}\n")
    answers = wire.answer(None, [("v-1", "look", {"n": 1})]), wire.answer("Seen.")
    async with fake_vendor(*answers) as vendor, running_executor() as executor:
        option = f"{wire.kind}={VARIABLE}@{base_url(vendor, wire.kind)}"
        spec = write(tmp_path, model_package(wire.kind, max_tokens=100))
        server = Server(tmp_path / "data", [spec], {EXECUTOR: executor.address}, "--provider", option)
        try:
            await server.start()
            await server.call.start("run-1", "What is there?")
            run = await server.call.settled("run-1")
            wrong = pb_packages.ValidatePackageRequest(
                document=json.dumps(model_package(wire.kind, max_tokns=1, top_p=2))
            )
            found = await PackageServiceStub(server.call.channel).ValidatePackage(wrong, timeout=SECONDS)
            server.terminate()
            assert await server.ended() == 0
        finally:
            await server.close()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED, run
    assert [(finding.path, finding.did_you_mean) for finding in found.findings] == [
        ("provider.parameters.max_tokns", "max_tokens"),
        ("provider.parameters.top_p", ""),
    ]
    assert [wire.key(requested) for requested in vendor.requested] == [KEY, KEY]
    assert [each["id"] for each in wire.results(vendor.requested[1])] == ["v-1"]
    assert (
        '"n": 1' in wire.results(vendor.requested[1])[0]["text"]
        or '"n":1' in wire.results(vendor.requested[1])[0]["text"]
    )
    assert KEY not in server.log.read_text()
    assert server.foreign_output() == []
    assert all(KEY.encode() not in path.read_bytes() for path in server.data.iterdir() if path.is_file())


async def test_a_server_killed_while_a_run_waits_for_its_vendor_goes_on_to_the_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    limited = Answer({"error": {}}, status=429, headers={"retry-after": "3"})
    spare = {"adapter": "anthropic", "model": "spare", "parameters": {}}
    spec = {**model_package("openai"), "fallbacks": [spare], "tools": []}
    spec["provider"]["max_attempts"] = 2
    async with fake_vendor(limited, limited) as busy, fake_vendor(ANTHROPIC.answer("There.")) as willing:
        routes = [f"{kind}={VARIABLE}@{base_url(at, kind)}" for kind, at in [("openai", busy), ("anthropic", willing)]]
        options = [word for route in routes for word in ("--provider", route)]
        server = Server(tmp_path / "data", [write(tmp_path, spec)], {}, *options)
        try:
            await server.start()
            await server.call.start("run-1", "What is there?")
            waiting = await waits(server)
            await server.restart()
            run = await server.call.settled("run-1")
        finally:
            await server.close()

    assert [(wait.kind, wait.subject) for wait in waiting] == [(run_pb2.WAIT_KIND_PROVIDER, "openai/test-model")]
    assert (run.status, run.provider, run.model) == (run_pb2.RUN_STATUS_COMPLETED, "anthropic", "spare")
    assert (len(busy.requested), len(willing.requested)) == (2, 1), "what was planned before the kill was done once"


async def waits(server: Server) -> list[run_pb2.WaitingOn]:
    """What the run waits for, once its first attempt has failed."""
    call = server.call.stub.Subscribe(pb.SubscribeRequest(scope=pb.StreamScope(run_id="run-1")), timeout=30)
    async for response in call:
        if any(frame.event.HasField("retry_scheduled") for frame in response.frames):
            call.cancel()
            return list((await server.call.snapshot("run-1")).waiting_on)
    raise AssertionError("the run ended without a retry")


async def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "NO_SUCH_KEY" in await refusal(tmp_path, model_package("openai"), "--provider", "openai=NO_SUCH_KEY")


async def test_an_unknown_parameter_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)

    message = await refusal(tmp_path, model_package("openai", temprature=1), "--provider", f"openai={VARIABLE}")

    assert "provider.parameters.temprature" in message
    assert "real.yaml" in message


async def test_an_unknown_parameter_of_a_fallback_is_refused_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    spare = {"adapter": "openai", "model": "spare", "parameters": {"temprature": 1}}
    spec = {**model_package("openai"), "fallbacks": [spare]}

    message = await refusal(tmp_path, spec, "--provider", f"openai={VARIABLE}")

    assert "fallbacks.0.parameters.temprature" in message


async def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "missing_libraries", lambda: ("openai",))
    settings = Settings(data=tmp_path, providers={"ollama": ""})

    with pytest.raises(AgentError, match="not installed: openai") as raised:
        async with bootstrap.build_runtime(settings):
            pass
    assert raised.value.remedy == "Install them, in the checkout: python -m pip install '.[models]'."


async def test_an_adapter_that_nobody_provides_is_found_at_the_start(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", packages=(write(tmp_path, model_package("openai")),))

    with pytest.raises(AgentError, match=r"provider\.adapter, line ") as raised:
        async with bootstrap.build_runtime(settings):
            pass

    assert raised.value.reason is ErrorReason.PROVIDER_MISSING
    assert raised.value.metadata == {"adapter": "openai", "known": "demo, scripted"}
    assert "--provider openai=OPENAI_API_KEY" in raised.value.remedy
    assert not (tmp_path / "data").exists()


async def test_the_libraries_are_not_loaded_by_a_start() -> None:
    """Neither a server without real models nor the start of one with them waits for the vendors' libraries."""
    found = (
        "import sys, runwright.bootstrap, runwright.cli.serve; "
        "print({'pydantic_ai', 'openai', 'anthropic'} & {*sys.modules})"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", found, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    output, _ = await process.communicate()

    assert output.decode().strip() == "set()"
