"""Remote policies at POST_TOOL and in shadow mode, over real sockets: what the host gets, and what the model sees."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from google.protobuf import duration_pb2
from runwright._gen.runwright.callback.v1 import policy_service_pb2 as policy_pb
from runwright._gen.runwright.v1 import event_pb2, policy_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.content import digest
from runwright.core.package import RuntimePackage
from runwright.ports.remote_policies import MAX_ASKED_RESULT_BYTES
from runwright.testing import FunctionTools

from tests import builders as b
from tests.transport.conftest import Serve
from tests.transport.policy_hosts import NAME, Answer, PolicyHost, register, says
from tests.transport.serving import CALL_SECONDS, Served
from tests.transport.test_remote_policies import StartHost, events, host_of, subscription

__all__ = ["host_of"]
SECRET = {"token": "sk-12345"}


def looking(*policies: dict[str, Any], script: tuple[Any, ...] = (), **fields: Any) -> RuntimePackage:
    """A package with a tool that looks, of whose results a remote policy is asked."""
    remote = {"remote": NAME, "stages": ["post_tool"], **fields}
    script = script or (b.asks("look"), b.says("{results}"))
    chain = [{"builtin": "allow-declared"}, remote, *policies]
    return b.package(*script, tools=(b.tool(untrusted=True),), policy="builtin:read-only", policies=chain)


async def served_with(
    serve: Serve, package: RuntimePackage, host: PolicyHost, answer: object = SECRET
) -> tuple[Served, FunctionTools]:
    """A server of the package whose tool answers this, with the host of its policy."""

    def look(_: Any) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    tools = FunctionTools({"look": look})
    served = await serve(b.real_time_bench(packages=(package,), tools=tools))
    await register(served, host)
    return served, tools


async def test_a_policy_is_asked_with_the_result_and_what_it_allows_is_released(
    serve: Serve, host_of: StartHost
) -> None:
    host = await host_of(says("ALLOW", code="fine"))
    served, _ = await served_with(serve, looking(), host)

    run = await served.ended()

    assert "sk-12345" in run.result.text
    [question] = host.asked
    assert json.loads(question.result.data) == SECRET
    assert (question.result.ok, question.result.media_type) == (True, "application/json")
    assert question.result.size == len(question.result.data)
    assert question.subject_digest == digest(question.result.data)
    assert (question.stage, question.call.tool) == (policy_pb2.POLICY_STAGE_POST_TOOL, "look")
    assert question.call.arguments_json == b"{}"
    [released] = await events(served, "tool_result_released")
    assert released.release == event_pb2.RESULT_RELEASE_RELEASED
    assert [each.code for each in await events(served, "policy_decided")] == ["tool.declared", "fine"]


async def test_of_a_large_result_its_beginning_is_sent_and_the_digest_is_of_the_whole(
    serve: Serve, host_of: StartHost
) -> None:
    host = await host_of(says("ALLOW"))
    served, _ = await served_with(serve, looking(), host, "x" * (MAX_ASKED_RESULT_BYTES + 10))

    await served.ended()

    [question], [completed] = host.asked, await events(served, "tool_completed")
    assert len(question.result.data) == MAX_ASKED_RESULT_BYTES
    assert question.result.size == completed.result.size == MAX_ASKED_RESULT_BYTES + 12
    assert question.subject_digest == completed.result.digest


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (says("DENY", code="secret", message="It has a key in it."), "secret"),
        (says("ASK"), "policy.answer_invalid"),
        (says("ALLOW", subject_digest="sha256:other"), "policy.answer_invalid"),
        (says("MODIFY"), "policy.answer_invalid"),
        (says("MODIFY", text=" "), "policy.answer_invalid"),
        (says("MODIFY", text="x" * (256 * 1024 + 1)), "policy.answer_invalid"),
        (says("MODIFY", arguments_json=b"{}"), "policy.answer_invalid"),
    ],
)
async def test_what_it_does_not_allow_is_withheld_from_the_model_and_stays_for_readers(
    serve: Serve, host_of: StartHost, answer: Answer, code: str
) -> None:
    served, _ = await served_with(serve, looking(), await host_of(answer))

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert "sk-12345" not in run.result.text
    assert f"withheld by policy policies.1 ({code})" in run.result.text
    [released] = await events(served, "tool_result_released")
    assert (released.release, released.code) == (event_pb2.RESULT_RELEASE_WITHHELD, code)
    full = await served.frames(view=pb.EVENT_VIEW_FULL)
    assert "sk-12345" in "".join(content.text for frame in full for content in frame.contents)


def without_token(question: policy_pb.DecideRequest) -> Any:
    """Puts something else in the place of whatever has a token in it."""
    if b"sk-" in question.result.data:
        return says("MODIFY", code="masked", text='{"token": "***"}')(question)
    return says("ALLOW")(question)


async def test_the_model_sees_what_is_put_in_the_place_of_a_result_and_readers_see_both(
    serve: Serve, host_of: StartHost
) -> None:
    host = await host_of(without_token)
    rule = {"stage": "post_tool", "when": 'result.json.token != "***"', "then": "deny", "code": "not_masked"}
    served, _ = await served_with(serve, looking(), host)
    ruled, _ = await served_with(serve, looking({"rules": [{**rule, "when": 'result.json.token == "***"'}]}), host)

    run, denied = await served.ended(), await ruled.ended()

    assert "sk-12345" not in run.result.text and '{"token": "***"}' in run.result.text
    assert [question.result.data for question in host.asked[:2]] == [b'{"token": "sk-12345"}', b'{"token": "***"}']
    [completed] = await events(served, "tool_completed")
    [replaced] = await events(served, "subject_replaced")
    [released] = await events(served, "tool_result_released")
    assert replaced.replaced_digest == completed.result.digest == digest(b'{"token": "sk-12345"}')
    assert released.release == event_pb2.RESULT_RELEASE_REPLACED
    assert released.replacement == replaced.replacement
    assert (released.replacement.digest, released.failed) == (digest(b'{"token": "***"}'), False)
    assert released.replacement.media_type == "application/json", "rules read it as JSON, too"
    text = "".join(c.text for frame in await served.frames(view=pb.EVENT_VIEW_FULL) for c in frame.contents)
    assert "sk-12345" in text and "***" in text
    assert "sk-12345" not in denied.result.text
    assert "withheld by policy policies.2 (not_masked)" in denied.result.text, "rules decide on what is there now"


async def test_what_is_put_in_the_place_of_a_failure_is_told_as_one(serve: Serve, host_of: StartHost) -> None:
    def kinder(question: policy_pb.DecideRequest) -> Any:
        return says("ALLOW" if question.result.data == b"It did not work." else "MODIFY", text="It did not work.")(
            question
        )

    host = await host_of(kinder)
    served, _ = await served_with(serve, looking(), host, RuntimeError("the password is wrong: hunter2"))

    run = await served.ended()

    assert "It did not work." in run.result.text and "hunter2" not in run.result.text
    assert not host.asked[0].result.ok
    [released] = await events(served, "tool_result_released")
    assert released.failed


async def test_a_deferred_result_is_resumed_and_a_cancel_ends_the_wait_for_one(
    serve: Serve, host_of: StartHost
) -> None:
    def later(question: policy_pb.DecideRequest) -> Any:
        first = question.effect_id == "p1.1.1"
        defer = {"defer_for": duration_pb2.Duration(seconds=3600)} if first else {}
        return says("DEFER" if first else "ALLOW", **defer)(question)

    served, _ = await served_with(serve, looking(), await host_of(later))
    for run_id in ("run-1", "run-2"):
        await served.start(run_id)
        call = served.stub.Subscribe(subscription(run_id))
        async for response in call:
            if any(frame.event.HasField("policy_answered") for frame in response.frames):
                break
        call.cancel()
    snapshot = (await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"))).run
    assert [(waits.effect_id, waits.subject) for waits in snapshot.waiting_on] == [("p1.1.1", NAME)]
    assert snapshot.status == run_pb2.RUN_STATUS_WAITING

    request = pb.ResumeRequest(run_id="run-1", effect_id="p1.1.1", request_id="resume-1")
    assert (await served.stub.Resume(request, timeout=CALL_SECONDS)).resumed
    await served.stub.Cancel(pb.CancelRequest(run_id="run-2"), timeout=CALL_SECONDS)

    ended = [
        (await served.stub.Wait(pb.WaitRequest(run_id=each), timeout=CALL_SECONDS)).run for each in ("run-1", "run-2")
    ]
    assert [run.status for run in ended] == [run_pb2.RUN_STATUS_COMPLETED, run_pb2.RUN_STATUS_CANCELLED]
    assert "sk-12345" in ended[0].result.text
    assert await events(served, "tool_result_released", "run-2") == []


async def test_a_policy_in_shadow_mode_holds_a_call_no_longer_than_one_attempt_and_changes_nothing(
    serve: Serve, host_of: StartHost
) -> None:
    async def never(_: Any) -> policy_pb.DecideResponse:
        await asyncio.Event().wait()
        raise AssertionError

    host = await host_of(says("INTERRUPT", code="stop"))
    stages = {"stages": ["run_start", "input", "pre_tool", "post_tool", "output"], "mode": "shadow"}
    served, tools = await served_with(serve, looking(timeout_ms=5000, **stages), host)
    spoken = await served.ended("run-1")
    host.answer = never
    slow, _ = await served_with(serve, looking(timeout_ms=50, **stages), host)
    silent = await slow.ended("run-1")
    alone = await serve(b.real_time_bench(packages=(looking(**stages),), tools=tools))
    away = await alone.ended("run-1")

    assert {run.status for run in (spoken, silent, away)} == {run_pb2.RUN_STATUS_COMPLETED}
    assert all("sk-12345" in run.result.text for run in (spoken, silent, away))
    for asked, code in ((served, "stop"), (slow, "policy.timed_out"), (alone, "policy.unavailable")):
        decided = await events(asked, "policy_decided")
        assert len(decided) == 5
        assert {each.verdict for each in decided} == {policy_pb2.POLICY_VERDICT_ALLOW}
        assert [[(said.policy_ref, said.code) for said in each.shadow] for each in decided] == [
            [("policies.1", code)]
        ] * 5
        assert await events(asked, "retry_scheduled") == []
