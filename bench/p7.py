"""P7: from nothing to SERVING, beside a server that does nothing, and with 1,000 parked runs to recover."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from grpc_health.v1 import health_pb2
from runwright.adapters.clock import SystemClock
from runwright.adapters.ids import RandomIds
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.log import StandardLog
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.request import RunRequest
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntimeBuilder
from runwright.testing import FunctionTools

from bench.calls import channel, unary
from bench.children import running
from bench.figures import Figure, Goal, ratios
from bench.parts import asks, install, package, tool
from bench.rounds import interleaved, say

CEILING = "a process that imports grpc.aio and serves nothing, from its start to its first word"
PARKED = 1_000
ROUNDS = 9
COLD = Goal("P7", "cold start ÷ empty grpc.aio server", "×", 4, 3)
RECOVERING = Goal("P7", "cold start, 1,000 parked runs ÷ none", "×", 1.5, 1.2)


async def measure(directory: Path) -> Sequence[Figure]:
    """Starts real servers on prepared directories, and asks their health."""
    spec = package("parked", [asks("write")], tool("write", "write"))
    none, parked = install(directory, spec, name="none"), install(directory, spec, name="parked")
    await _park(none.data, spec, 0)
    await _park(parked.data, spec, PARKED)

    async def started(arguments: Sequence[str], name: str) -> float:
        async with running(directory, *arguments, announces=(name,), gently=False) as child:
            if name == "runwright":
                async with channel(child.addresses[name]) as to:
                    answer = health_pb2.HealthCheckResponse.FromString(
                        await unary(to, "/grpc.health.v1.Health/Check")(b"")
                    )
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            return 1000 * child.started

    found = await interleaved(
        "P7",
        {
            "empty": lambda: started(["-m", "bench.empty_server"], "empty"),
            "none": lambda: started(none.serve(), "runwright"),
            "parked": lambda: started(parked.serve(), "runwright"),
        },
        ROUNDS,
    )
    empty, cold, recovering = (median(found[side]) for side in ("empty", "none", "parked"))
    return [
        Figure(COLD, ratios(found["none"], found["empty"]), f"{cold:,.0f} ms, empty {empty:,.0f} ms"),
        Figure(RECOVERING, ratios(found["parked"], found["none"]), f"{recovering:,.0f} ms with {PARKED:,} parked"),
    ]


async def _lost(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.LOST)


async def _park(data: Path, spec: dict[str, object], number: int) -> None:
    """A journal with runs whose call that must not be repeated was lost: they wait for a person."""
    say(f"  P7: making a journal with {number:,} parked runs")
    runtime = AgentRuntimeBuilder(
        journal=SqliteJournal.open(data),
        clock=SystemClock(),
        ids=RandomIds(),
        tools=FunctionTools({"write": _lost}),
        schemas=JsonSchemaChecker(),
        log=StandardLog(),
        providers={"scripted": ScriptedProvider()},
        packages=[RuntimePackage.model_validate(spec)],
    ).build()
    for index in range(number):
        ended = await runtime.run_text(RunRequest(run_id=f"parked-{index}", input=("Write it down.",)))
        assert ended.status is RunStatus.REPAIR_NEEDED
    await runtime.close()
