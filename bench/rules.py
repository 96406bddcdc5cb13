"""Rules: what ten conditions cost a start and a run, beside the same without any, in one server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from bench.calls import PRODUCT, RAW, SERVICE, Unary, channel, start_and_wait, start_run, timed, unary
from bench.children import running
from bench.executor import executing
from bench.figures import Figure, Goal, percent, ratios
from bench.parts import Spec, asks, install, package, tool
from bench.rounds import interleaved

CEILING = "the same package without rules, and for starts the echo of P1"
ROUNDS, WARM_UP = 61, 4  # short ones: what else the machine does then falls on neighbours alike
STARTS, RUNS, WORKERS = 160, 64, 32
POINTS = Goal("P1", "StartRun ÷ echo, points lost by ten PRE_TOOL rules", "points", 3, 1)
RATE = Goal("P2", "tool-calling runs, ten PRE_TOOL rules ÷ none", "%", 97, 99, more_is_better=True)
CPU = Goal("P2", "server's CPU a run, ten PRE_TOOL rules ÷ none", "%", 105, 103)
SAME = Goal("P2", "the same package under another name ÷ itself: what this cannot tell apart", "%")
AT_START = Goal("P1", "StartRun ÷ echo, ten RUN_START rules", "%")
_CONDITIONS = (
    'tool.effect == "process"',
    'tool.risk in ["high", "critical"]',
    'tool.effect == "network" && call.tainted',
    'args.query.startsWith("/etc/")',
    'args.query.contains("..")',
    "size(args.query) > 4096",
    'run.labels.exists(label, label == "frozen")',
    '"observer" in principal.roles && tool.effect != "read"',
    "usage.tool_calls > 60",
    'call.round > 12 && tool.name == "look"',
)
_OF_STARTS = (
    *('input.text.contains("..")', "size(input.text) > 65536", 'input.text.startsWith("sudo ")'),
    *('"guest" in principal.roles', 'principal.name == ""', 'run.agent_id == "nobody"', 'run.session_id == "closed"'),
    *(
        'run.labels.exists(label, label == "frozen")',
        "usage.rounds > 0",
        'has(run.labels.team) && run.labels.team == ""',
    ),
)


def rules(stage: str, conditions: Sequence[str]) -> list[Spec]:
    """Policies that allow what is declared, and ten rules of which none holds."""
    denied = [{"stage": stage, "when": condition, "then": "deny"} for condition in conditions]
    return [{"builtin": "allow-declared"}, {"rules": denied}]


def _governed(spec: Spec, stage: str, conditions: Sequence[str]) -> Spec:
    own = {"policy": "builtin:read-only", "policies": rules(stage, conditions)}
    return {**spec, "id": f"{spec['id']}-{stage}", **own}


async def measure(directory: Path) -> Sequence[Figure]:
    """Starts and runs with and without rules, by turns."""
    patient = package("patient", [], tool("look"), adapter="patient")
    called = package("one-call", [asks("look"), {"text": "Found {results}."}], tool("look"))
    packages = [
        *(patient, _governed(patient, "pre_tool", _CONDITIONS), _governed(patient, "run_start", _OF_STARTS)),
        *(called, {**called, "id": "one-call-again"}, _governed(called, "pre_tool", _CONDITIONS)),
    ]
    installed = install(directory, *packages)
    async with executing() as executor:
        arguments = ["-m", "bench.product_server", *installed.options(executor.address)]
        async with (
            running(directory, *arguments, announces=("runwright", "raw"), gently=False) as server,
            channel(server.addresses["runwright"]) as product,
            channel(server.addresses["raw"]) as raw,
        ):
            start, settle = unary(product, SERVICE + "StartRun", installed), unary(raw, PRODUCT + "Settle")
            echo, requested = unary(raw, RAW + "Echo"), start_run("patient")

            async def starts(package_id: str) -> float:
                return await _starts(start, start_run(package_id), settle)

            of_server = psutil.Process(server.process.pid)
            spent: dict[str, list[float]] = {}

            async def runs(package_id: str) -> float:
                before = sum(of_server.cpu_times()[:2])
                once = lambda: start_and_wait(product, installed, package_id)  # noqa: E731
                seconds = (await timed(once, number=RUNS, workers=WORKERS))[-1]
                spent.setdefault(package_id, []).append(1000 * (sum(of_server.cpu_times()[:2]) - before) / RUNS)
                return RUNS / seconds

            sides: dict[str, Callable[[], Awaitable[float]]] = {"echo": lambda: _starts(echo, requested)}
            sides |= {name: partial(starts, name) for name in ("patient", "patient-pre_tool", "patient-run_start")}
            found = await interleaved("starts", sides, ROUNDS, warm_up=WARM_UP)
            of_runs = {name: partial(runs, name) for name in ("one-call", "one-call-again", "one-call-pre_tool")}
            found |= await interleaved("runs", of_runs, ROUNDS, warm_up=WARM_UP)
    without, with_rules, at_start = (
        percent(ratios(found[name], found["echo"])) for name in ("patient", "patient-pre_tool", "patient-run_start")
    )
    lost = [plain - ruled for plain, ruled in zip(without, with_rules, strict=True)]
    rates = f"{median(found['one-call-pre_tool']):,.0f} of {median(found['one-call']):,.0f} runs/s"
    cpu = percent(ratios(spent["one-call-pre_tool"], spent["one-call"]))[WARM_UP:]
    spends = f"{median(spent['one-call-pre_tool']):.2f} of {median(spent['one-call']):.2f} ms"
    return [
        Figure(POINTS, lost, f"{median(with_rules):.1f} of {median(without):.1f} %"),
        Figure(RATE, percent(ratios(found["one-call-pre_tool"], found["one-call"])), rates),
        Figure(CPU, cpu, spends),
        Figure(SAME, percent(ratios(found["one-call-again"], found["one-call"])), "runs/s"),
        Figure(AT_START, at_start, f"without rules {median(without):.1f} %"),
    ]


async def _starts(call: Unary, request: bytes, settle: Unary | None = None) -> float:
    seconds = (await timed(lambda: call(request), number=STARTS, workers=WORKERS))[-1]
    if settle is not None:
        await settle(b"")  # the runs end before anything else is measured
    return STARTS / seconds
