"""Requests: proto → core. The shape is checked here, the rules in the core."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import invalid_request
from runwright.core.images import Image
from runwright.core.request import OnBusy, RunRequest
from runwright.wire.values import to_budget

MAX_PAGE_SIZE = 1000
_ON_BUSY = frozenset(run_pb2.OnBusy.values())


def run_request(message: pb.StartRunRequest) -> RunRequest:
    """The run request. Raises INVALID_REQUEST for a missing or empty part, naming it."""
    if not message.HasField("run"):
        raise invalid_request("run", "set", "Put a RunRequest into it; only its input is required.")
    run = message.run
    selector = run.package.WhichOneof("selector") if run.HasField("package") else ""
    if selector is None or (selector and not getattr(run.package, selector)):
        raise invalid_request(
            "run.package",
            "a package_id, tag or fingerprint that is not empty, or absent",
            "Leave it out for the default package, or name one that GetServerInfo shows.",
        )
    if run.on_busy not in _ON_BUSY:
        raise invalid_request(
            "on_busy", "one of " + ", ".join(run_pb2.OnBusy.keys()), "Leave it out to start whatever else goes on."
        )
    return RunRequest(
        run_id=run.run_id,
        session_id=run.session_id,
        turn_id=run.turn_id,
        agent_id=run.agent_id,
        package_id=run.package.package_id,
        package_fingerprint=run.package.fingerprint,
        package_tag=run.package.tag,
        input=tuple(_part(index, part) for index, part in enumerate(run.input)),
        budget=to_budget(run.budget),
        labels=dict(run.labels),
        on_busy=OnBusy(run.on_busy or OnBusy.ALLOW.value),
    )


def _part(index: int, part: content_pb2.InputPart) -> str | Image:
    match part.WhichOneof("part"):
        case "text":
            return part.text
        case "data":
            return Image(part.data.media_type, part.data.data)
        case _:
            raise invalid_request(
                f"input[{index}]", "a part of a known kind (text, data)", "Set one of them, or leave the part out."
            )


def duration_us(field: str, message: Duration, *, most_seconds: int) -> int:
    """A duration in microseconds. Raises INVALID_REQUEST for a negative or malformed one; cuts a long one."""
    well_formed = 0 <= message.nanos < 1_000_000_000
    if message.seconds < 0 or not well_formed:
        raise invalid_request(
            field,
            f"a duration of 0 to {most_seconds} s",
            "Leave it out for the default, or set seconds and nanos >= 0.",
        )
    return min(message.seconds, most_seconds) * 1_000_000 + (
        message.nanos // 1000 if message.seconds < most_seconds else 0
    )


def wants_contents(view: pb.EventView.ValueType) -> bool:
    """True for the FULL view. Raises INVALID_REQUEST for a number nobody knows."""
    if view not in pb.EventView.values():
        raise invalid_request(
            "view", "one of " + ", ".join(pb.EventView.keys()), "Leave it out to get events without their contents."
        )
    return view == pb.EVENT_VIEW_FULL


def page_size(requested: int) -> int:
    """How many elements a page may hold. Raises INVALID_REQUEST outside of 0 to MAX_PAGE_SIZE."""
    if not 0 <= requested <= MAX_PAGE_SIZE:
        raise invalid_request(
            "page_size", f"0 to {MAX_PAGE_SIZE}", "Ask for less and go on with next_page_token; 0 stands for 100."
        )
    return requested or 100
