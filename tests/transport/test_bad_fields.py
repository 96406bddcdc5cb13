"""A field that breaks its rule is refused naming the field and the rule; nothing is guessed and nothing begun."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.images import MAX_IMAGE_BYTES, MAX_IMAGES_BYTES
from runwright.transport.connections import MAX_MESSAGE_BYTES

from tests.builders import PIXEL
from tests.transport.serving import CALL_SECONDS, SERVICE, Served, raw_call, refused, run_request, scope, subscription


def text(words: str) -> content_pb2.InputPart:
    return content_pb2.InputPart(text=words)


def image(data: bytes, media_type: str = "image/png") -> content_pb2.InputPart:
    return content_pb2.InputPart(data=content_pb2.InputData(media_type=media_type, data=data))


def selector(**named: str) -> run_pb2.PackageSelector:
    return run_pb2.PackageSelector(**named)


ID_RULE = "1 to 128 characters"


def start(**fields: Any) -> pb.StartRunRequest:
    return pb.StartRunRequest(run=run_request(**fields))


def events(**fields: Any) -> pb.ListEventsRequest:
    return pb.ListEventsRequest(scope=scope(), **fields)


def events_of(**scope: str) -> pb.SubscribeRequest:
    return pb.SubscribeRequest(scope=pb.StreamScope(**scope))


def filtered(**fields: Any) -> pb.SubscribeRequest:
    return pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()), filter=pb.EventFilter(**fields))


def runs(**fields: Any) -> pb.ListRunsRequest:
    return pb.ListRunsRequest(filter=pb.RunFilter(**fields))


# what is wrong → method, request, the field's name, a part of the rule
BAD: dict[str, tuple[str, Any, str, str]] = {
    "no run": ("StartRun", pb.StartRunRequest(), "run", "set"),
    "no input": ("StartRun", start(input=[]), "input", "1 to 64 parts"),
    "65 parts": ("StartRun", start(input=[text("hi")] * 65), "input", "1 to 64 parts"),
    "an empty part": ("StartRun", start(input=[text("hi"), text("")]), "input[1].text", "not blank"),
    "a blank part": ("StartRun", start(input=[text("hi"), text(" \n\u2003")]), "input[1].text", "not blank"),
    "a part of no kind": ("StartRun", start(input=[text("hi"), content_pb2.InputPart()]), "input[1]", "known kind"),
    "an image of no known kind": (
        "StartRun",
        start(input=[image(b"<svg/>", "image/svg+xml")]),
        "input[0].data.media_type",
        "image/png",
    ),
    "an image that is another": (
        "StartRun",
        start(input=[text("hi"), image(b"GIF89a...", "image/png")]),
        "input[1].data.media_type",
        "first bytes",
    ),
    "an image without bytes": ("StartRun", start(input=[image(b"", "image/png")]), "input[0].data.data", "not empty"),
    "too large an image": (
        "StartRun",
        start(input=[image(PIXEL + bytes(MAX_IMAGE_BYTES))]),
        "input[0].data.data",
        f"at most {MAX_IMAGE_BYTES} bytes",
    ),
    "too many large images": (
        "StartRun",
        start(input=[image(PIXEL + bytes(6 * 1024 * 1024))] * 4),
        "input",
        f"at most {MAX_IMAGES_BYTES} bytes of images",
    ),
    "too large a request of a method without images": (
        "Snapshot",
        pb.SnapshotRequest(run_id="x" * MAX_MESSAGE_BYTES),
        "request",
        f"at most {MAX_MESSAGE_BYTES} bytes",
    ),
    "too much input": ("StartRun", start(input=[text("x" * 65_537)]), "input", "65536 bytes"),
    "too much together": (
        "StartRun",
        start(input=[text("ä" * 600)] * 64),
        "input",
        "65536 bytes",
    ),
    "a run id with a space": ("StartRun", start(run_id="run 1"), "run_id", ID_RULE),
    "a run id with a line break": ("StartRun", start(run_id="run-1\n"), "run_id", ID_RULE),
    "a run id like a path": ("StartRun", start(run_id="../run"), "run_id", ID_RULE),
    "an endless run id": ("StartRun", start(run_id="x" * 129), "run_id", ID_RULE),
    "a bad session id": ("StartRun", start(session_id="ä"), "session_id", ID_RULE),
    "a bad turn id": ("StartRun", start(turn_id="-"), "turn_id", ID_RULE),
    "a bad agent id": ("StartRun", start(agent_id="a/b"), "agent_id", ID_RULE),
    "a bad package id": ("StartRun", start(package=selector(package_id="a b")), "package", ID_RULE),
    "an empty selector": ("StartRun", start(package=selector()), "run.package", "not empty"),
    "an empty fingerprint": (
        "StartRun",
        start(package=selector(fingerprint="")),
        "run.package",
        "empty",
    ),
    "another fingerprint": ("StartRun", start(package=selector(fingerprint="x")), "package.fingerprint", "sha256:"),
    "17 labels": ("StartRun", start(labels={f"l{n}": "" for n in range(17)}), "labels", "at most 16"),
    "a bad label": ("StartRun", start(labels={"a b": ""}), "labels", ID_RULE),
    "an endless label": ("StartRun", start(labels={"team": "x" * 257}), "labels[team]", "256 bytes"),
    "a busy rule nobody knows": ("StartRun", start(session_id="s", on_busy=99), "on_busy", "ON_BUSY_REJECT"),
    "a busy rule without a session": ("StartRun", start(on_busy=run_pb2.ON_BUSY_REJECT), "on_busy", "session_id"),
    "a cancel of nothing": ("Cancel", pb.CancelRequest(), "run_id", ID_RULE),
    "an endless reason": ("Cancel", pb.CancelRequest(run_id="run-1", reason="ä" * 257), "reason", "512 bytes"),
    "a negative grace": ("Cancel", pb.CancelRequest(run_id="run-1", grace=Duration(seconds=-1)), "grace", "0 to 600"),
    "a broken grace": ("Cancel", pb.CancelRequest(run_id="run-1", grace=Duration(nanos=10**9)), "grace", "0 to 600"),
    "a snapshot of nothing": ("Snapshot", pb.SnapshotRequest(), "run_id", ID_RULE),
    "a wait for nothing": ("Wait", pb.WaitRequest(), "run_id", ID_RULE),
    "a negative wait": ("Wait", pb.WaitRequest(run_id="run-1", timeout=Duration(nanos=-1)), "timeout", "0 to 300"),
    "no scope": ("ListEvents", pb.ListEventsRequest(), "scope", "run_id"),
    "an empty scope": ("ListEvents", pb.ListEventsRequest(scope=pb.StreamScope()), "scope", "run_id"),
    "a negative page": ("ListEvents", events(page_size=-1), "page_size", "0 to 1000"),
    "an endless page": ("ListEvents", events(page_size=1001), "page_size", "0 to 1000"),
    "a view nobody knows": ("ListEvents", events(view=99), "view", "EVENT_VIEW_FULL"),
    "a negative view": ("ListEvents", events(view=-1), "view", "EVENT_VIEW_FULL"),
    "no scope of a stream": ("Subscribe", pb.SubscribeRequest(), "scope", "run_id"),
    "a stream's unknown view": ("Subscribe", subscription(view=99), "view", "EVENT_VIEW_FULL"),
    "an empty session": ("Subscribe", events_of(session_id=""), "scope.session_id", ID_RULE),
    "a bad session": ("Subscribe", events_of(session_id="a b"), "scope.session_id", ID_RULE),
    "a bad agent": ("Subscribe", events_of(agent_id="a/b"), "scope.agent_id", ID_RULE),
    "a kind nobody knows": ("Subscribe", filtered(kinds=[1, 99]), "filter.kinds[1]", "EVENT_KIND_RUN_STARTED"),
    "no kind at all": ("Subscribe", filtered(kinds=[0]), "filter.kinds[0]", "EVENT_KIND_RUN_STARTED"),
    "101 kinds": ("Subscribe", filtered(kinds=[1] * 101), "filter.kinds", "at most 100"),
    "101 runs": ("Subscribe", filtered(run_ids=["a"] * 101), "filter.run_ids", "at most 100"),
    "101 agents": ("Subscribe", filtered(agent_ids=["a"] * 101), "filter.agent_ids", "at most 100"),
    "101 sessions": ("Subscribe", filtered(session_ids=["a"] * 101), "filter.session_ids", "at most 100"),
    "a bad run in a filter": ("Subscribe", filtered(run_ids=["a", ""]), "filter.run_ids[1]", ID_RULE),
    "a bad agent in a filter": ("Subscribe", filtered(agent_ids=["-"]), "filter.agent_ids[0]", ID_RULE),
    "a bad session in a filter": ("Subscribe", filtered(session_ids=["ä"]), "filter.session_ids[0]", ID_RULE),
    "a list's unknown kind": ("ListEvents", events(filter=pb.EventFilter(kinds=[-1])), "filter.kinds[0]", "EVENT_KIND"),
    "a status nobody knows": ("ListRuns", runs(statuses=[2, 1]), "filter.statuses[1]", "RUN_STATUS_RUNNING"),
    "no status at all": ("ListRuns", runs(statuses=[0]), "filter.statuses[0]", "RUN_STATUS_RUNNING"),
    "101 statuses": ("ListRuns", runs(statuses=[2] * 101), "filter.statuses", "at most 100"),
    "a bad agent of runs": ("ListRuns", runs(agent_id="a b"), "filter.agent_id", ID_RULE),
    "a bad session of runs": ("ListRuns", runs(session_id="a b"), "filter.session_id", ID_RULE),
    "a bad label of runs": ("ListRuns", runs(labels={"a b": ""}), "filter.labels", ID_RULE),
    "17 labels of runs": ("ListRuns", runs(labels={f"l{n}": "" for n in range(17)}), "filter.labels", "at most 16"),
    "an endless label of runs": ("ListRuns", runs(labels={"a": "x" * 257}), "filter.labels[a]", "256 bytes"),
    "an endless page of runs": ("ListRuns", pb.ListRunsRequest(page_size=1001), "page_size", "0 to 1000"),
    "live only after a cursor": ("Subscribe", subscription(live_only=True, after_cursor="x"), "live_only", "false"),
}


@pytest.mark.parametrize("name", BAD)
async def test_the_field_and_its_rule_are_named(served: Served, name: str) -> None:
    method, request, field, rule = BAD[name]
    await served.ended("run-1")
    runs_before = served.bench.journal.head

    refusal = await refused(getattr(served.stub, method)(request, timeout=CALL_SECONDS))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.info.reason == "INVALID_REQUEST"
    assert field in refusal.info.metadata["field"]
    assert rule in refusal.info.metadata["expected"]
    [violation] = refusal.detail(error_details_pb2.BadRequest()).field_violations
    assert (violation.field, violation.description) == (
        refusal.info.metadata["field"],
        refusal.info.metadata["expected"],
    )
    assert served.bench.journal.head == runs_before


async def test_a_reason_is_a_claim_about_the_request_alone(served: Served) -> None:
    """Also of a run that does not exist: shape is checked before anything is looked up."""
    refusal = await refused(served.stub.ListEvents(events(view=99), timeout=CALL_SECONDS))

    assert refusal.info.metadata["field"] == "view"


async def test_fields_nobody_knows_are_left_alone(served: Served) -> None:
    request = pb.StartRunRequest(run=run_request("run-2")).SerializeToString() + b"\xfa\x7f\x03abc"

    answer = pb.StartRunResponse.FromString(await raw_call(served.channel(), SERVICE + "StartRun", request))

    assert answer.created


@pytest.mark.parametrize("size", [1_000, 8_000, 100_000])
async def test_what_a_caller_sends_never_makes_the_error_too_large_to_send(served: Served, size: int) -> None:
    request = start(package=selector(fingerprint="x" * size))

    refusal = await refused(served.stub.StartRun(request, timeout=CALL_SECONDS))

    assert refusal.info.reason in ("PACKAGE_NOT_FOUND", "INVALID_REQUEST")


async def test_a_wait_and_a_grace_above_their_limit_are_cut(served: Served) -> None:
    await served.ended()

    waited = await served.stub.Wait(
        pb.WaitRequest(run_id="run-1", timeout=Duration(seconds=10**9)), timeout=CALL_SECONDS
    )
    cancelled = await served.stub.Cancel(
        pb.CancelRequest(run_id="run-1", grace=Duration(seconds=10**9, nanos=5)), timeout=CALL_SECONDS
    )

    assert waited.done
    assert cancelled.run == waited.run
