"""Scenarios that end in a refused call, one for each reason that a call can be refused for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright._gen.runwright.v1 import package_service_pb2 as package_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.memory import MemoryPackages
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.callbacks import MAX_PER_NAMESPACE
from runwright.core.cursor import CursorMaker, run_scope
from runwright.runtime.housekeeping.retention import Retention
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, UnreadableJournal, journal_broken
from tests.runtime.parts import HeldProvider, HeldTool
from tests.runtime.watching import key, quiet, stood_still
from tests.transport.known import add_key, authenticator, bearer, keys_for
from tests.transport.pending_approvals import DELEGATE, EDIT, People, asking_bench, waiting
from tests.transport.pending_approvals import decide as decide_approval
from tests.transport.serving import (
    CALL_SECONDS,
    Refusal,
    Served,
    refused,
    registration,
    run_request,
    scope,
    subscription,
)
from tests.transport.slow_reader import LONG, SlowReader, talkative
from tests.transport.unknown_calls import decision, in_repair, losing


@dataclass
class Stage:
    """What a scenario may use."""

    serve: Callable[..., Awaitable[Served]]
    directory: Path

    async def sqlite(self, **options: Any) -> tuple[Served, SqliteJournal]:
        """A server over a journal on disk."""
        journal = SqliteJournal.open(self.directory, **options)
        return await self.serve(b.Bench(journal=journal)), journal


def starting(served: Served, **fields: Any) -> Any:
    """A StartRun."""
    return served.stub.StartRun(pb.StartRunRequest(run=run_request(**fields)), timeout=CALL_SECONDS)


def listing(served: Served, **fields: Any) -> Any:
    """A ListEvents."""
    return served.stub.ListEvents(pb.ListEventsRequest(scope=scope(), **fields), timeout=CALL_SECONDS)


async def invalid_request(stage: Stage) -> Refusal:
    return await refused(starting(await stage.serve(), input=[]))


async def package_not_found(stage: Stage) -> Refusal:
    return await refused(starting(await stage.serve(), package=run_pb2.PackageSelector(package_id="nobody")))


async def agent_mismatch(stage: Stage) -> Refusal:
    return await refused(starting(await stage.serve(), agent_id="nobody"))


async def policy_denied(stage: Stage) -> Refusal:
    rules = [{"rules": [{"stage": "run_start", "then": "deny"}]}]
    package = b.package(b.says("never"), policy="builtin:read-only", policies=rules)
    return await refused(starting(await stage.serve(b.Bench(packages=(package,)))))


async def run_not_found(stage: Stage) -> Refusal:
    served = await stage.serve()
    return await refused(served.stub.Snapshot(pb.SnapshotRequest(run_id="run-9"), timeout=CALL_SECONDS))


async def run_id_conflict(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.ended()
    return await refused(starting(served, session_id="another"))


async def cursor_malformed(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.ended()
    return await refused(served.stub.Subscribe(subscription(after_cursor="garbage"), timeout=CALL_SECONDS))


async def cursor_scope_mismatch(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.ended()
    other = await served.ended("run-2")
    return await refused(listing(served, page_token=other.last_cursor))


async def cursor_ahead(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.ended()
    journal = served.bench.journal
    ahead = CursorMaker(journal.incarnation, journal.cursor_key, journal.epochs).make(
        run_scope(key()), journal.head + 1
    )
    return await refused(listing(served, page_token=ahead))


async def journal_restored(stage: Stage) -> Refusal:
    first, second = await stage.serve(), await stage.serve(b.Bench())
    foreign = await first.ended()
    await second.ended()
    return await refused(listing(second, page_token=foreign.last_cursor))


async def journal_full(stage: Stage) -> Refusal:
    served, journal = await stage.sqlite()
    await journal.set_max_bytes(4096)
    return await refused(starting(served, input=[content_pb2.InputPart(text="x" * 60_000)]))


async def journal_busy(stage: Stage) -> Refusal:
    served, _ = await stage.sqlite(busy_timeout_ms=20)
    intruder = apsw.Connection(str(stage.directory / "journal.db"))
    intruder.execute("BEGIN IMMEDIATE")
    refusal = await refused(starting(served))
    intruder.close()
    return refusal


async def journal_conflict(stage: Stage) -> Refusal:
    tool = HeldTool()
    bench = b.Bench(tools=FunctionTools({"look": tool}))
    bench.packages = (b.package(b.asks("look"), tools=(b.writing_tool("look"),)),)
    served = await stage.serve(bench)
    await served.start()
    await tool.begun.wait()
    other = bench.runtime()  # another server that believes this one is dead
    await other.recover()
    await stood_still(other)
    return await refused(served.stub.Cancel(pb.CancelRequest(run_id="run-1"), timeout=CALL_SECONDS))


async def journal_corrupt(stage: Stage) -> Refusal:
    served = await stage.serve(b.Bench(journal=FailingJournal(b.Bench().journal, journal_broken())))
    return await refused(starting(served))


async def damaged(stage: Stage) -> Served:
    """A server with a run of whose ten events the third cannot be read."""
    served, _ = await stage.sqlite()
    await served.ended()
    intruder = apsw.Connection(str(stage.directory / "journal.db"))
    # Under another id, because the server remembers how its own run ended.
    intruder.execute("UPDATE runs SET run_id = 'run-2', snapshot = x'00'")
    intruder.execute("UPDATE events SET data = x'ff' WHERE seq = 3")
    intruder.close()
    return served


async def run_held(stage: Stage) -> Refusal:
    served = await damaged(stage)
    return await refused(served.stub.Cancel(pb.CancelRequest(run_id="run-2"), timeout=CALL_SECONDS))


async def run_not_held(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.ended()
    return await refused(served.stub.RemoveRun(pb.RemoveRunRequest(run_id="run-1"), timeout=CALL_SECONDS))


async def effect_not_unknown(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.ended()
    return await refused(served.stub.ResolveEffect(decision(), timeout=CALL_SECONDS))


async def effect_attempt_stale(stage: Stage) -> Refusal:
    served = await stage.serve(losing())
    await in_repair(served)
    return await refused(served.stub.ResolveEffect(decision(attempt=2), timeout=CALL_SECONDS))


async def effect_already_resolved(stage: Stage) -> Refusal:
    served = await stage.serve(losing())
    await in_repair(served)
    await served.stub.ResolveEffect(decision(), timeout=CALL_SECONDS)
    return await refused(served.stub.ResolveEffect(decision(request_id="d-2"), timeout=CALL_SECONDS))


async def approval_not_found(stage: Stage) -> Refusal:
    return await refused(decide_approval(await stage.serve()))


async def approval_already_decided(stage: Stage) -> Refusal:
    served = await stage.serve(asking_bench())
    await waiting(served)
    await decide_approval(served)
    return await refused(decide_approval(served, request_id="d-2"))


async def approval_expired(stage: Stage) -> Refusal:
    served = await stage.serve(asking_bench())
    await waiting(served)
    served.bench.manual_clock.advance(3_600_000_000)
    return await refused(decide_approval(served))


async def approval_withdrawn(stage: Stage) -> Refusal:
    served = await stage.serve(asking_bench())
    await waiting(served)
    await served.stub.Cancel(pb.CancelRequest(run_id="run-1"), timeout=CALL_SECONDS)
    return await refused(decide_approval(served))


async def approval_digest_mismatch(stage: Stage) -> Refusal:
    served = await stage.serve(asking_bench())
    await waiting(served)
    return await refused(decide_approval(served, digest=f"sha256:runwright-approval-v1:{'0' * 64}"))


async def approver_not_allowed(stage: Stage) -> Refusal:
    people = People(stage.directory)
    served = await stage.serve(asking_bench(people.known), authenticator=people.known)
    await waiting(served, people.caller)
    return await refused(decide_approval(served, people.hal))


async def approval_edit_invalid(stage: Stage) -> Refusal:
    served = await stage.serve(asking_bench())
    await waiting(served)
    return await refused(decide_approval(served, verdict=EDIT, arguments_json=b"[]"))


async def approval_delegate_not_allowed(stage: Stage) -> Refusal:
    people = People(stage.directory)
    served = await stage.serve(asking_bench(people.known), authenticator=people.known)
    await waiting(served, people.caller)
    return await refused(decide_approval(served, people.bob, verdict=DELEGATE, delegate_to="ann"))


async def approver_missing(stage: Stage) -> Refusal:
    people = People(stage.directory)
    served = await stage.serve(asking_bench(people.known, sets=[{"principals": ["zoe"]}]))
    return await refused(starting(served))


async def draining(stage: Stage) -> Refusal:
    served = await stage.serve()
    await served.runtime.drain(0)
    return await refused(starting(served))


async def provider_missing(stage: Stage) -> Refusal:
    return await refused(starting(await stage.serve(b.Bench(providers={}))))


async def executor_missing(stage: Stage) -> Refusal:
    return await refused(starting(await stage.serve(b.Bench(tools=FunctionTools({}, unknown={"tools"})))))


async def subscriber_stalled(stage: Stage) -> Refusal:
    served = await stage.serve(b.Bench(tools=talkative(), packages=(LONG,)), stall_seconds=0.1)
    await served.ended()
    reader = SlowReader(served)
    await reader.stall()
    return await reader.rest()


async def internal(stage: Stage) -> Refusal:
    bench = b.Bench()
    await bench.runtime().run_text(b.request())
    return await refused(listing(await stage.serve(bench, journal=UnreadableJournal(bench.journal))))


async def unauthenticated(stage: Stage) -> Refusal:
    _, authenticator = keys_for(stage.directory, "caller")
    served = await stage.serve(authenticator=authenticator)
    return await refused(served.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS))


async def role_missing(stage: Stage) -> Refusal:
    [key], authenticator = keys_for(stage.directory, "observer")
    served = await stage.serve(authenticator=authenticator)
    request = pb.StartRunRequest(run=run_request())
    return await refused(served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(key)))


async def session_busy(stage: Stage) -> Refusal:
    served = await stage.serve(b.Bench(tools=FunctionTools({"look": HeldTool()})))
    await starting(served, session_id="morning")
    return await refused(starting(served, run_id="run-2", session_id="morning", on_busy=run_pb2.ON_BUSY_REJECT))


async def overloaded(stage: Stage) -> Refusal:
    """Two requests to models for which there is room for one."""
    provider = HeldProvider()
    bench = b.Bench(packages=(b.package(b.says("hi")),), providers={"scripted": provider}, conversation_memory=64)
    served = await stage.serve(bench)
    await starting(served)
    await provider.requested.wait()
    await starting(served, run_id="run-2")
    await quiet()
    return await refused(starting(served, run_id="run-3"))


async def callback_not_found(stage: Stage) -> Refusal:
    request = callback_pb.UnregisterCallbackRequest(callback_id="nobody")
    return await refused((await stage.serve()).callbacks.UnregisterCallback(request, timeout=CALL_SECONDS))


async def callback_address_refused(stage: Stage) -> Refusal:
    request = registration(address="169.254.169.254:80")
    return await refused((await stage.serve()).callbacks.RegisterCallback(request, timeout=CALL_SECONDS))


async def callback_taken(stage: Stage) -> Refusal:
    keys = [add_key(stage.directory / "keys.json", "executor", name=name) for name in ("first", "second")]
    served = await stage.serve(authenticator=authenticator(stage.directory / "keys.json"))
    register = served.callbacks.RegisterCallback
    await register(registration(), timeout=CALL_SECONDS, metadata=bearer(keys[0]))
    return await refused(register(registration(), timeout=CALL_SECONDS, metadata=bearer(keys[1])))


async def callback_limit(stage: Stage) -> Refusal:
    register = (await stage.serve()).callbacks.RegisterCallback
    for number in range(MAX_PER_NAMESPACE):
        await register(registration(f"c{number}"), timeout=CALL_SECONDS)
    return await refused(register(registration(), timeout=CALL_SECONDS))


async def cursor_expired(stage: Stage) -> Refusal:
    served, _ = await stage.sqlite()
    everything = pb.StreamScope(all=pb.AllRuns())
    await served.ended()
    page = await served.stub.ListEvents(pb.ListEventsRequest(scope=everything, page_size=1), timeout=CALL_SECONDS)
    await served.ended("run-2")
    await removed(served)
    request = pb.ListEventsRequest(scope=everything, page_token=page.next_page_token)
    return await refused(served.stub.ListEvents(request, timeout=CALL_SECONDS))


async def run_removed(stage: Stage) -> Refusal:
    served, _ = await stage.sqlite()
    await served.ended()
    await served.ended("run-2")
    await removed(served)
    return await refused(served.stub.ExportRun(pb.ExportRunRequest(run_id="run-1"), timeout=CALL_SECONDS))


async def too_many_calls(stage: Stage) -> Refusal:
    served = await stage.serve()
    method = served.channel().stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    most = (await served.stub.GetServerInfo(pb.GetServerInfoRequest())).limits["reflection_streams_per_principal"]
    for _ in range(most):
        stream = method()
        await stream.write(b"")
        await stream.read()
    return await refused(method(iter([b""]), timeout=CALL_SECONDS))


async def removed(served: Served) -> None:
    """Time goes on, and what has ended is removed, but for the run with the newest event."""
    served.bench.manual_clock.advance(10 * b.SECOND)
    assert await Retention(served.runtime, b.SECOND).remove() == 1


def _putting(served: Served, says: str, **fields: Any) -> Any:
    document = json.dumps(b.package(b.says(says)).model_dump(mode="json"))
    return served.packages.PutPackage(package_pb.PutPackageRequest(document=document, **fields), timeout=CALL_SECONDS)


async def package_tag_moved(stage: Stage) -> Refusal:
    served = await stage.serve()
    await _putting(served, "one", tag="prod")
    return await refused(_putting(served, "two", tag="prod", expected_previous_fingerprint=""))


async def package_limit(stage: Stage) -> Refusal:
    served = await stage.serve(b.Bench(package_store=MemoryPackages(most=1)))
    await _putting(served, "one")
    return await refused(_putting(served, "two"))


async def request_id_conflict(stage: Stage) -> Refusal:
    served = await stage.serve()
    await _putting(served, "one", request_id="q")
    return await refused(_putting(served, "two", request_id="q"))
