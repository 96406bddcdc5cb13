"""What a remote policy defers, over the lives of a server; and a remote policy of the operator's file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runwright._gen.runwright.v1 import event_pb2, policy_pb2, run_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import BOOK, one_call
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import runwright
from tests.e2e.test_remote_policies import NAME, SECONDS, PolicyProcess, governed, policy, registered

__all__ = ["policy"]
OPERATOR = f"""format: runwright-policies-v0
namespaces:
  default:
    - remote: {NAME}
"""


async def bodies(server: Server, field: str) -> list[tuple[event_pb2.Event, object]]:
    """The run's events of one kind, each with its body."""
    events = [frame.event for frame in await server.call.frames("run-1")]
    return [(event, getattr(event, field)) for event in events if event.HasField(field)]


async def deferred(server: Server, policy: PolicyProcess, seconds: int) -> run_pb2.WaitingOn:
    """Starts a run whose call is deferred for so long; returns what it waits for then."""
    await server.start()
    await policy.start(f"defer={seconds}")
    await registered(server, policy)
    await server.call.start("run-1")
    assert await policy.asked() == ["p1.1.1", "1"]
    return await held(server)


async def held(server: Server) -> run_pb2.WaitingOn:
    """What the run waits for, once that is its time."""
    async with asyncio.timeout(SECONDS):
        while True:
            waits = (await server.call.snapshot("run-1")).waiting_on
            if len(waits) == 1 and "defers it" in waits[0].unblocked_by:
                return waits[0]


async def test_neither_a_kill_nor_a_stop_changes_when_a_deferral_ends_and_who_may_end_it_before(
    make_server: MakeServer, executor: Executor, policy: PolicyProcess
) -> None:
    server = make_server(governed())
    before = await deferred(server, policy, 3600)
    server.terminate()
    await server.ended()
    await server.start()
    assert await held(server) == before, "the time of its end among the rest"
    await server.restart()
    assert await held(server) == before

    at = ("--server", server.address)
    _, explained, _ = await runwright(*at, "explain", "run-1")
    assert f"policy {NAME} defers it" in explained and "`runwright resume run-1 p1.1.1`" in explained
    code, said, problem = await runwright(*at, "resume", "run-1", "p1.1.1", "--reason", "it is over")
    assert (code, said.startswith("run-1 goes on: ")) == (0, True), (said, problem)
    ended = await server.call.settled("run-1")
    assert (ended.status, executor.effects_of("run-1", "c1.1")) == (run_pb2.RUN_STATUS_COMPLETED, 1)
    [(_, resumed)] = await bodies(server, "policy_resumed")
    assert (resumed.resumed_by, resumed.reason) == ("local", "it is over")  # type: ignore[attr-defined]

    code, said, _ = await runwright(*at, "resume", "run-1", "p1.1.1")
    assert (code, said) == (0, "run-1 was not deferred by that question (any more): COMPLETED\n")


async def test_what_was_deferred_when_the_server_was_killed_goes_on_at_its_time_and_not_before(
    make_server: MakeServer, executor: Executor, policy: PolicyProcess
) -> None:
    server = make_server(governed())
    await deferred(server, policy, 2)

    await server.restart()
    ended = await server.call.settled("run-1")

    assert (ended.status, executor.effects_of("run-1", "c1.1")) == (run_pb2.RUN_STATUS_COMPLETED, 1)
    [(_, first), _] = await bodies(server, "policy_answered")
    [(event, resumed)] = await bodies(server, "policy_resumed")
    assert resumed.resumed_by == ""  # type: ignore[attr-defined]
    assert event.time.ToMicroseconds() >= first.answer.defer_until.ToMicroseconds()  # type: ignore[attr-defined]


async def test_a_remote_policy_of_the_operators_file_is_asked_and_no_package_undoes_it(
    make_server: MakeServer, executor: Executor, policy: PolicyProcess, tmp_path: Path
) -> None:
    rules = tmp_path / "policies.yaml"
    rules.write_text(OPERATOR)
    package = one_call("one", BOOK) | {"policy": "builtin:allow-declared"}
    server = make_server(package, options=("--policies", str(rules)))
    await server.start()
    await policy.start("deny")
    await registered(server, policy)

    await server.call.start("run-1")
    ended = await server.call.settled("run-1")

    assert (ended.status, executor.effects_of("run-1", "c1.1")) == (run_pb2.RUN_STATUS_COMPLETED, 0)
    assert "Denied by policy operator.policies.0 (asked)" in ended.result.text
    [(_, decided)] = await bodies(server, "policy_decided")
    assert (decided.decider, decided.verdict) == ("operator", policy_pb2.POLICY_VERDICT_DENY)  # type: ignore[attr-defined]
    assert decided.operator_digest  # type: ignore[attr-defined]
