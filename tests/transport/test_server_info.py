"""GetServerInfo tells the whole package: whoever computes its fingerprint gets the one the server uses."""

from __future__ import annotations

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.wire.packages import to_package

from tests import builders as b
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Served

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": -5}, "ä": {"enum": [1.5, None]}}}
FULL = b.package(
    b.says("hi"),
    id="full",
    agent={"id": "full-agent", "name": "Füll", "instructions": "Line one.\nLine two. \u2028"},
    policy="builtin:read-only",
    budget={"rounds": 3, "tool_calls": 0, "parallel_calls": 2},
    tools=(
        b.tool("z", description="Last.", timeout_ms=1, unavailable_timeout_ms=2, max_attempts=7),
        b.tool("a", parameters=SCHEMA, effect="network", idempotent=True),
        b.tool("p", effect="process"),
        b.writing_tool("w", executor="other"),
    ),
)


async def info(served: Served) -> pb.GetServerInfoResponse:
    """What the server says of itself."""
    response: pb.GetServerInfoResponse = await served.stub.GetServerInfo(
        pb.GetServerInfoRequest(), timeout=CALL_SECONDS
    )
    return response


async def test_a_package_comes_back_with_the_same_fingerprint(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(b.one_call_package(), FULL)))

    told = (await info(served)).packages

    for known, package in zip(told, (b.one_call_package(), FULL), strict=True):
        assert to_package(known.package) == package
        assert to_package(known.package).fingerprint() == known.fingerprint == package.fingerprint()


async def test_a_run_says_the_fingerprint_that_was_told(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(b.one_call_package(), FULL)))
    [_, full] = (await info(served)).packages

    run = await served.start(package=run_pb2.PackageSelector(fingerprint=full.fingerprint))

    assert (run.package_id, run.package_fingerprint) == ("full", full.fingerprint)


async def test_the_incarnation_is_the_journals(served: Served) -> None:
    assert (await info(served)).incarnation == served.bench.journal.incarnation


async def test_the_limits_that_are_told_are_those_that_hold(served: Served) -> None:
    limits = (await info(served)).limits

    at_the_limit = run_pb2.RunRequest(
        run_id="run-1",
        input=[run_pb2.RunRequest().input.add(text="x" * (limits["input_bytes"] // limits["input_parts"]))]
        * limits["input_parts"],
        labels={f"l{number}": "x" * limits["label_bytes"] for number in range(limits["labels"])},
    )
    answer = await served.stub.StartRun(pb.StartRunRequest(run=at_the_limit), timeout=CALL_SECONDS)

    assert answer.created
    assert set(limits) == {
        "input_parts",
        "input_bytes",
        "labels",
        "label_bytes",
        "inline_content_bytes",
        "cancel_grace_seconds",
        "filter_entries",
        "wait_seconds",
    }
