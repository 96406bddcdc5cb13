"""Remote policies over real sockets: what they say is done, and whoever does not say anything denies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from runwright._gen.runwright.callback.v1 import policy_service_pb2 as policy_pb
from runwright._gen.runwright.v1 import event_pb2, package_pb2, policy_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.content import digest
from runwright.core.package import RuntimePackage
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import RecordingProvider
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.policy_hosts import NAME, Answer, PolicyHost, register, says
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request, scope, subscription

WRITE = {"tool": "write", "arguments": {"path": "/srv/out/a"}}
StartHost = Callable[[Answer], Awaitable[PolicyHost]]


@pytest.fixture
async def host_of() -> AsyncIterator[StartHost]:
    """Starts hosts that end with the test."""
    hosts: list[PolicyHost] = []

    async def start(answer: Answer) -> PolicyHost:
        hosts.append(PolicyHost(answer))
        await hosts[-1].start()
        return hosts[-1]

    yield start
    for host in hosts:
        await host.stop()


def asking(*script: Any, policies: list[Any] | None = None, **fields: Any) -> RuntimePackage:
    """A package whose calls a remote policy decides on."""
    remote = {"remote": NAME, **fields}
    path = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    tools = (b.tool(), b.writing_tool(parameters=path))
    script = script or (b.asks(WRITE), b.says("{results}"))
    return b.package(*script, tools=tools, policy="builtin:read-only", policies=policies or [remote])


async def served_with(serve: Serve, package: RuntimePackage) -> tuple[Served, FunctionTools]:
    """A server of the package, and the tools with their ledger."""
    tools = FunctionTools(dict.fromkeys(("look", "write"), b.look))
    return await serve(b.real_time_bench(packages=(package,), tools=tools)), tools


async def events(served: Served, field: str, run_id: str = "run-1") -> list[Any]:
    """The bodies of one kind, in their order."""
    frames = await served.frames(run_id)
    return [getattr(frame.event, field) for frame in frames if frame.event.HasField(field)]


async def test_what_a_remote_policy_allows_is_done(serve: Serve, host_of: StartHost) -> None:
    host = await host_of(says("ALLOW", code="fine"))
    served, tools = await served_with(serve, asking())
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["write"]
    [question] = host.asked
    assert question.call.arguments_json == b'{"path":"/srv/out/a"}'
    assert question.subject_digest == digest(question.call.arguments_json)
    assert (question.effect_id, question.attempt, question.policy) == ("p1.1.1", 1, NAME)
    assert question.run.run_id == "run-1"
    [decided] = await events(served, "policy_decided")
    assert (decided.verdict, decided.policy_ref, decided.code, decided.decider) == (
        policy_pb2.POLICY_VERDICT_ALLOW,
        "policies.0",
        "fine",
        "package",
    )
    kinds = [event_pb2.EventKind.Name(frame.event.kind) for frame in await served.frames()]
    asked, answered, started = (
        kinds.index(f"EVENT_KIND_{kind}") for kind in ("POLICY_ASKED", "POLICY_ANSWERED", "TOOL_STARTED")
    )
    assert asked < answered < started


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (says("DENY", code="not_today", message="Not today."), "not_today"),
        (says("ALLOW", subject_digest="sha256:of something else"), "policy.answer_invalid"),
        (says("ALLOW", subject_digest=""), "policy.answer_invalid"),
        (says("UNSPECIFIED"), "policy.answer_invalid"),
        (says("ALLOW", code="Not A Code"), "policy.answer_invalid"),
        (says("MODIFY"), "policy.answer_invalid"),
        (says("MODIFY", arguments_json=b'{"path":7}'), "policy.answer_invalid"),
        (says("MODIFY", arguments_json=b"[]"), "policy.answer_invalid"),
        (says("MODIFY", arguments_json=b"\xff"), "policy.answer_invalid"),
        (says("MODIFY", text="no arguments"), "policy.answer_invalid"),
    ],
)
async def test_what_it_does_not_allow_in_so_many_words_is_denied_on_record(
    serve: Serve, host_of: StartHost, answer: Answer, code: str
) -> None:
    served, tools = await served_with(serve, asking())
    host = await host_of(answer)
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert tools.ledger == []
    [denied] = await events(served, "tool_denied")
    assert (denied.code, denied.policy_ref) == (code, "policies.0")
    assert code in run.result.text, "the model is told"
    assert len(host.asked) == 1, "asking again would change nothing"
    [answered] = await events(served, "policy_answered")
    assert answered.HasField("error") == (code == "policy.answer_invalid")


async def test_what_it_asks_for_waits_for_somebody_to_approve_it(serve: Serve, host_of: StartHost) -> None:
    served, tools = await served_with(serve, asking())
    await register(served, await host_of(says("ASK", code="look_at_it")))

    await served.start()

    async with asyncio.timeout(CALL_SECONDS):
        async for response in served.stub.Subscribe(subscription()):
            asked = [frame.event for frame in response.frames if frame.event.HasField("approval_requested")]
            if asked:
                break

    [requested] = [event.approval_requested for event in asked]
    assert (requested.code, requested.policy_ref) == ("look_at_it", "policies.0")
    assert tools.ledger == []


async def test_an_interrupt_ends_the_run_with_nothing_left_open(serve: Serve, host_of: StartHost) -> None:
    served, tools = await served_with(serve, asking(b.asks(WRITE, WRITE), b.says("no")))
    await register(served, await host_of(says("INTERRUPT", code="stop")))

    run = await served.ended()

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_INTERRUPT)
    assert tools.ledger == []
    assert len(await events(served, "policy_asked")) == len(await events(served, "policy_answered")) == 2


async def test_a_policy_that_nobody_serves_is_waited_for_by_name_and_then_denies(serve: Serve) -> None:
    served, tools = await served_with(serve, asking(unavailable_timeout_ms=1500))
    await served.start()

    retried = asyncio.Event()

    async def watch() -> None:
        async for response in served.stub.Subscribe(subscription()):
            if any(frame.event.HasField("retry_scheduled") for frame in response.frames):
                retried.set()

    watching = asyncio.create_task(watch())
    await asyncio.wait_for(retried.wait(), CALL_SECONDS)
    [waits] = (await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"))).run.waiting_on
    assert (waits.kind, waits.subject, waits.effect_id) == (run_pb2.WAIT_KIND_POLICY, NAME, "p1.1.1")
    await watching
    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert tools.ledger == []
    [denied] = await events(served, "tool_denied")
    assert denied.code == "policy.unavailable"


async def test_a_run_goes_on_as_soon_as_a_host_of_its_policy_is_registered(serve: Serve, host_of: StartHost) -> None:
    served, tools = await served_with(serve, asking())
    await served.start()
    host = await host_of(says("ALLOW"))
    await register(served, host)

    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["write"]


async def test_a_slow_policy_is_asked_again_and_then_denies(serve: Serve, host_of: StartHost) -> None:
    async def never(_: Any) -> policy_pb.DecideResponse:
        await asyncio.Event().wait()
        raise AssertionError

    served, tools = await served_with(serve, asking(timeout_ms=50, max_attempts=2))
    host = await host_of(never)
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert tools.ledger == []
    assert [question.attempt for question in host.asked] == [1, 2]
    assert host.gave_up.is_set(), "a host is told that its answer is not wanted any more"
    [denied] = await events(served, "tool_denied")
    assert denied.code == "policy.timed_out"


async def test_a_policy_that_fails_is_asked_again_and_the_answer_it_gives_then_counts(
    serve: Serve, host_of: StartHost
) -> None:
    def fails_once(question: policy_pb.DecideRequest) -> policy_pb.DecideResponse:
        if question.attempt == 1:
            raise RuntimeError("not yet")
        answer = says("ALLOW")(question)
        assert isinstance(answer, policy_pb.DecideResponse)
        return answer

    served, tools = await served_with(serve, asking())
    host = await host_of(fails_once)
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["write"]
    [failed, answered] = await events(served, "policy_answered")
    assert failed.error.reason_name == "POLICY_LOST" and not failed.HasField("answer")
    assert answered.answer.verdict == policy_pb2.POLICY_VERDICT_ALLOW


async def test_replaced_arguments_are_checked_asked_about_again_and_sent(serve: Serve, host_of: StartHost) -> None:
    def nearer(question: policy_pb.DecideRequest) -> Any:
        if b"/srv/out" in question.call.arguments_json:
            return says("MODIFY", code="elsewhere", arguments_json=b' {"path": "/tmp/a"} ')(question)
        return says("ALLOW")(question)

    served, tools = await served_with(serve, asking())
    host = await host_of(nearer)
    await register(served, host)

    await served.ended()

    assert [call.arguments for call in tools.ledger] == ['{"path":"/tmp/a"}']
    assert [question.call.arguments_json for question in host.asked] == [b'{"path":"/srv/out/a"}', b'{"path":"/tmp/a"}']
    [replaced] = await events(served, "subject_replaced")
    assert replaced.replacement.digest == digest(b'{"path":"/tmp/a"}')
    [decided] = await events(served, "policy_decided")
    [started] = await events(served, "tool_started")
    assert decided.subject_digest == started.arguments_digest == replaced.replacement.digest


async def test_rules_are_heard_again_over_replaced_arguments(serve: Serve, host_of: StartHost) -> None:
    rule = {"when": 'args.path.startsWith("/etc/")', "then": "deny", "code": "not_etc"}
    policies = [{"remote": NAME}, {"rules": [rule]}]
    served, tools = await served_with(serve, asking(policies=policies))
    await register(served, await host_of(says("MODIFY", arguments_json=b'{"path":"/etc/passwd"}')))

    await served.ended()

    assert tools.ledger == []
    [denied] = await events(served, "tool_denied")
    assert denied.code == "not_etc"


async def test_a_policy_that_always_replaces_is_stopped(serve: Serve, host_of: StartHost) -> None:
    def longer(question: policy_pb.DecideRequest) -> Any:
        return says("MODIFY", arguments_json=question.call.arguments_json.replace(b"/a", b"/a/a"))(question)

    served, tools = await served_with(serve, asking())
    host = await host_of(longer)
    await register(served, host)

    await served.ended()

    assert tools.ledger == []
    assert len(host.asked) == 4
    [denied] = await events(served, "tool_denied")
    assert denied.code == "policy.too_many_replacements"


async def test_what_is_replaced_by_itself_is_allowed(serve: Serve, host_of: StartHost) -> None:
    def the_same(question: policy_pb.DecideRequest) -> Any:
        return says("MODIFY", arguments_json=question.call.arguments_json)(question)

    served, tools = await served_with(serve, asking())
    host = await host_of(the_same)
    await register(served, host)

    await served.ended()

    assert len(tools.ledger) == len(host.asked) == 1


@pytest.mark.parametrize(("cache", "asked"), [(True, 1), (False, 2)])
async def test_an_answer_counts_again_in_its_run_only_where_the_policy_says_so(
    serve: Serve, host_of: StartHost, cache: bool, asked: int
) -> None:
    served, tools = await served_with(serve, asking(b.asks(WRITE), b.asks(WRITE), b.says("done"), cache=cache))
    host = await host_of(says("ALLOW"))
    await register(served, host)

    await served.ended()
    assert (len(host.asked), len(tools.ledger)) == (asked, 2)

    await served.ended("run-2")
    assert len(host.asked) == 2 * asked, "no answer goes from run to run"


async def test_an_answer_of_the_run_is_decided_on_and_may_be_replaced(serve: Serve, host_of: StartHost) -> None:
    def milder(question: policy_pb.DecideRequest) -> Any:
        return says("MODIFY", text="Good day.")(question) if question.text == "Hey!" else says("ALLOW")(question)

    served, _ = await served_with(serve, asking(b.says("Hey!"), stages=["output"]))
    await register(served, await host_of(milder))

    run = await served.ended()

    assert (run.status, run.result.text) == (run_pb2.RUN_STATUS_COMPLETED, "Good day.")


async def test_an_answer_that_is_denied_is_not_published(serve: Serve, host_of: StartHost) -> None:
    served, _ = await served_with(serve, asking(b.says("secret"), stages=["output"]))
    await register(served, await host_of(says("DENY", code="leak")))

    run = await served.ended()

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_DENIED)
    assert run.result.text == ""
    assert dict(run.error.metadata) == {"code": "leak", "policy": "policies.0"}


async def test_a_start_that_is_asked_about_answers_a_waiting_run(serve: Serve, host_of: StartHost) -> None:
    let_go = asyncio.Event()

    async def later(question: policy_pb.DecideRequest) -> Any:
        await let_go.wait()
        return says("DENY", code="closed")(question)

    served, _ = await served_with(serve, asking(b.says("hello"), stages=["run_start"]))
    host = await host_of(later)
    await register(served, host)

    assert (await served.start()).status == run_pb2.RUN_STATUS_WAITING
    let_go.set()
    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert (run.status, run.stop_reason) == (run_pb2.RUN_STATUS_FAILED, run_pb2.STOP_REASON_POLICY_DENIED)
    assert [question.text for question in host.asked] == ["What is there?"]
    assert await events(served, "model_attempt_started") == []


async def test_a_start_may_only_be_given_lower_budgets(serve: Serve, host_of: StartHost) -> None:
    served, _ = await served_with(serve, asking(b.asks("look"), b.says("done"), stages=["run_start", "input"]))

    def limits(question: policy_pb.DecideRequest) -> Any:
        if question.stage == policy_pb2.POLICY_STAGE_RUN_START:
            budget = package_pb2.Budget(rounds=1, tool_calls=1_000_000)
            return says("MODIFY", budget=budget)(question)
        return says("ALLOW")(question)

    host = await host_of(limits)
    await register(served, host)

    run = await served.ended()

    assert run.stop_reason == run_pb2.STOP_REASON_MAX_ROUNDS
    [replaced] = await events(served, "subject_replaced")
    assert (replaced.budget.rounds, replaced.budget.tool_calls) == (1, 64)
    stages = [policy_pb2.PolicyStage.Name(question.stage) for question in host.asked]
    assert stages == ["POLICY_STAGE_RUN_START", "POLICY_STAGE_RUN_START", "POLICY_STAGE_INPUT"]


async def test_the_model_sees_the_input_that_a_policy_has_put_there(serve: Serve, host_of: StartHost) -> None:
    def without_name(question: policy_pb.DecideRequest) -> Any:
        is_mended = question.text == "What is [it]?"
        return says("ALLOW")(question) if is_mended else says("MODIFY", text="What is [it]?")(question)

    provider = RecordingProvider()
    package = asking(b.says("hello {turns}"), stages=["input"])
    served = await serve(b.real_time_bench(packages=(package,), providers={"scripted": provider}))
    await register(served, await host_of(without_name))

    await served.ended(session_id="s-1")
    later = await served.ended("run-2", session_id="s-1")

    said = [[getattr(message, "parts", None) for message in request.messages] for request in provider.requests]
    assert said[0] == [("What is [it]?",)]
    assert said[1][0] == ("What is [it]?",), "later turns of the session see it, too"
    assert later.status == run_pb2.RUN_STATUS_COMPLETED


async def deferring(serve: Serve, host_of: StartHost, seconds: int) -> tuple[Served, FunctionTools, PolicyHost]:
    """A run that its policy defers for so long at first, and allows then."""

    def later(question: policy_pb.DecideRequest) -> Any:
        if question.effect_id == "p1.1.1":
            return says("DEFER", code="later", defer_for=duration_pb2.Duration(seconds=seconds))(question)
        return says("ALLOW")(question)

    served, tools = await served_with(serve, asking())
    host = await host_of(later)
    await register(served, host)
    await served.start()
    call = served.stub.Subscribe(subscription())
    async for response in call:
        if any(frame.event.HasField("policy_answered") for frame in response.frames):
            break
    call.cancel()
    return served, tools, host


async def test_what_is_deferred_goes_on_by_itself_when_its_time_has_come(serve: Serve, host_of: StartHost) -> None:
    served, tools, host = await deferring(serve, host_of, 1)

    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [question.effect_id for question in host.asked] == ["p1.1.1", "p1.1.2"]
    assert len(tools.ledger) == 1
    [resumed] = await events(served, "policy_resumed")
    assert resumed.resumed_by == ""


async def test_what_is_deferred_is_resumed_once_by_whoever_started_it(serve: Serve, host_of: StartHost) -> None:
    served, tools, _ = await deferring(serve, host_of, 3600)
    [waits] = (await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"))).run.waiting_on
    assert (waits.kind, waits.effect_id, waits.subject) == (run_pb2.WAIT_KIND_POLICY, "p1.1.1", NAME)

    request = pb.ResumeRequest(run_id="run-1", effect_id="p1.1.1", request_id="resume-1", reason="it is over")
    first = await served.stub.Resume(request, timeout=CALL_SECONDS)
    run = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run
    again = await served.stub.Resume(request, timeout=CALL_SECONDS)

    assert (first.resumed, again.resumed) == (True, False)
    assert (run.status, len(tools.ledger)) == (run_pb2.RUN_STATUS_COMPLETED, 1)
    [resumed] = await events(served, "policy_resumed")
    assert (resumed.resumed_by, resumed.reason, resumed.request_id) == ("local", "it is over", "resume-1")


async def test_what_is_deferred_is_resumed_by_whoever_started_it_or_an_admin_and_by_nobody_else(
    serve: Serve, host_of: StartHost, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    ann, ben, ada = (
        add_key(file, role, name=name) for role, name in (("caller", "ann"), ("caller", "ben"), ("admin", "ada"))
    )
    package = asking(b.asks(WRITE, WRITE), b.says("{results}"))
    tools = FunctionTools(dict.fromkeys(("look", "write"), b.look))
    served = await serve(b.real_time_bench(packages=(package,), tools=tools), authenticator=authenticator(file))
    later = {"defer_for": duration_pb2.Duration(seconds=3600)}
    first = lambda question: question.effect_id.endswith(".1")  # noqa: E731
    host = await host_of(
        lambda question: says("DEFER", **later)(question) if first(question) else says("ALLOW")(question)
    )
    await register(served, host, metadata=bearer(ada))
    start = pb.StartRunRequest(run=run_request())
    await served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(ann))

    async def snapshot() -> run_pb2.RunSnapshot:
        return (await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"), metadata=bearer(ben))).run

    async def both_are_deferred() -> bool:
        return [waits.effect_id for waits in (await snapshot()).waiting_on] == ["p1.1.1", "p1.2.1"]

    answers = 0
    call = served.stub.Subscribe(subscription(), metadata=bearer(ben))
    async for response in call:
        answers += sum(frame.event.HasField("policy_answered") for frame in response.frames)
        if answers == 2:
            break
    call.cancel()
    assert await both_are_deferred()

    def resume(question: str, key: str) -> Any:
        request = pb.ResumeRequest(run_id="run-1", effect_id=question, request_id=f"resume-{question}")
        return served.stub.Resume(request, timeout=CALL_SECONDS, metadata=bearer(key))

    refusal = await refused(resume("p1.1.1", ben))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert (refusal.info.metadata["role"], "ann" in refusal.text) == ("admin", True)
    assert await both_are_deferred(), "nothing has happened"
    assert (await resume("p1.1.1", ada)).resumed and (await resume("p1.2.1", ann)).resumed

    request = pb.WaitRequest(run_id="run-1")
    run = (await served.stub.Wait(request, timeout=CALL_SECONDS, metadata=bearer(ann))).run
    assert (run.status, len(tools.ledger)) == (run_pb2.RUN_STATUS_COMPLETED, 2)
    page = await served.stub.ListEvents(pb.ListEventsRequest(scope=scope()), metadata=bearer(ann))
    resumed = [frame.event for frame in page.frames if frame.event.HasField("policy_resumed")]
    assert [(event.effect_id, event.policy_resumed.resumed_by) for event in resumed] == [
        ("p1.1.1", "ada"),
        ("p1.2.1", "ann"),
    ]


@pytest.mark.parametrize(
    ("fields", "field"), [({"effect_id": "c1.1"}, "effect_id"), ({"effect_id": ""}, "effect_id"), ({}, "request_id")]
)
async def test_a_resume_that_is_none_is_refused_by_its_field(serve: Serve, fields: Any, field: str) -> None:
    served, _ = await served_with(serve, asking(b.says("hello")))
    await served.ended()

    request = pb.ResumeRequest(**{"run_id": "run-1", "effect_id": "p1.1.1", **fields})
    if fields:
        request.request_id = "resume-1"
    refusal = await refused(served.stub.Resume(request))

    assert refusal.info.metadata["field"] == field


async def test_a_defer_without_a_time_or_beyond_a_week_is_no_answer(serve: Serve, host_of: StartHost) -> None:
    for seconds in (0, 7 * 24 * 3600 + 1):
        served, tools = await served_with(serve, asking())
        await register(served, await host_of(says("DEFER", defer_for=duration_pb2.Duration(seconds=seconds))))

        await served.ended()

        [denied] = await events(served, "tool_denied")
        assert (denied.code, tools.ledger) == ("policy.answer_invalid", [])
