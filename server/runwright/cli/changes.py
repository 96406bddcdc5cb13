"""Runs as they change: what `ls --watch` and `get --watch` print."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.client import Client
from runwright.cli.errors import Problem
from runwright.cli.follow import delay, follow

# Only these can change where a run stands; the server leaves out the rest.
_KINDS = (
    event_pb2.EVENT_KIND_RUN_STARTED,
    event_pb2.EVENT_KIND_MODEL_ATTEMPT_STARTED,
    event_pb2.EVENT_KIND_TOOL_STARTED,
    event_pb2.EVENT_KIND_RETRY_SCHEDULED,
    event_pb2.EVENT_KIND_TOOL_RECOVERY_REQUIRED,
    event_pb2.EVENT_KIND_EFFECT_RESOLVED,
    event_pb2.EVENT_KIND_RECONCILE_ENDED,
    event_pb2.EVENT_KIND_APPROVAL_REQUESTED,
    event_pb2.EVENT_KIND_RUN_CANCEL_REQUESTED,
    event_pb2.EVENT_KIND_RUN_COMPLETED,
    event_pb2.EVENT_KIND_RUN_FAILED,
    event_pb2.EVENT_KIND_RUN_CANCELLED,
)


def runs_and_changes(
    client: Client, wanted: pb.RunFilter, limit: int, *, wait: Callable[[float], None] = time.sleep
) -> Iterator[run_pb2.RunSnapshot | None]:
    """The newest `limit` runs that are wanted, then None, then a run whenever its status is another.

    Goes on for ever, over lost connections. The stream is opened before the
    list is read, so that nothing slips between.
    """
    stream = pb.SubscribeRequest(filter=pb.EventFilter(kinds=_KINDS), live_only=True)
    stream.scope.all.SetInParent()
    stream.filter.agent_ids.extend([wanted.agent_id] if wanted.agent_id else [])
    stream.filter.session_ids.extend([wanted.session_id] if wanted.session_id else [])
    frames = follow(lambda after: client.subscribe_to(stream, after), "", notice=_notice)
    next(frames)
    known: dict[str, int] = {}
    for page in client.runs(wanted, limit):
        for run in page.runs:
            known[run.run_id] = run.status
            yield run
    yield None
    for frame in frames:
        if frame.WhichOneof("item") != "event":
            continue
        now = _snapshot_now(client, frame.event.run_id, wait).run
        if known.get(now.run_id) == now.status:
            continue
        known[now.run_id] = now.status
        if not wanted.statuses or now.status in wanted.statuses:
            yield now


def snapshots(
    client: Client, run_id: str, *, wait: Callable[[float], None] = time.sleep
) -> Iterator[pb.SnapshotResponse]:
    """A run as it stands, and again whenever it has moved on, until it has ended."""
    response = client.snapshot(run_id)
    yield response
    stream = pb.SubscribeRequest(scope=pb.StreamScope(run_id=run_id))
    for frame in follow(lambda after: client.subscribe_to(stream, after), response.run.last_cursor, notice=_notice):
        # Several events may come at once: the snapshot of the first tells of them all.
        if frame.WhichOneof("item") == "event" and frame.event.seq > response.run.last_seq:
            response = _snapshot_now(client, run_id, wait)
            yield response


def _snapshot_now(client: Client, run_id: str, wait: Callable[[float], None]) -> pb.SnapshotResponse:
    # Asked until it is answered: the event that is passed by may be the run's last.
    failures = 0
    while True:
        try:
            return client.snapshot(run_id)
        except Problem as problem:
            if not problem.passing:
                raise
        wait(delay(failures))
        failures += 1


def _notice(text: str) -> None:
    print(text, file=sys.stderr)
