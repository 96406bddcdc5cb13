"""A served run whose only call was lost, and decisions about that call."""

from __future__ import annotations

from typing import Any

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.transport.serving import CALL_SECONDS, Served


def losing() -> b.Bench:
    """A bench whose runs lose their only call, which must not be repeated."""
    tools = FunctionTools({"write": lambda _: ToolOutcome(ToolOutcomeKind.LOST)})
    script = b.package(b.asks("write"), b.says("told {results}"), tools=(b.writing_tool(),))
    return b.Bench(tools=tools, packages=(script,))


async def in_repair(served: Served) -> None:
    """Starts the run, and returns once it needs repair."""
    await served.start()
    waited = await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)
    assert waited.run.status == run_pb2.RUN_STATUS_REPAIR_NEEDED


def decision(**fields: Any) -> pb.ResolveEffectRequest:
    """A decision about the call: it failed, unless the fields say otherwise."""
    said = {"effect_id": "c1.1", "attempt": 1, "request_id": "d-1", "resolution": run_pb2.RESOLUTION_FAILED, **fields}
    return pb.ResolveEffectRequest(run_id="run-1", **said)
