"""A snapshot, line by line."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright.cli.snapshot_text import snapshot_lines

from tests.cli.story import RUN, START, failure, ref


def snapshot(status: run_pb2.RunStatus.ValueType, **fields: object) -> run_pb2.RunSnapshot:
    return run_pb2.RunSnapshot(
        run_id=RUN,
        agent_id="analyst",
        status=status,
        package_id="workspace",
        provider="demo",
        model="demo-1",
        usage=run_pb2.Usage(rounds=2, tool_calls=1, input_tokens=24, output_tokens=16),
        last_cursor="cursor-12",
        last_seq=12,
        started_at=Timestamp(seconds=START),
        updated_at=Timestamp(seconds=START + 3),
        **fields,  # type: ignore[arg-type]
    )


def test_a_completed_run_ends_with_its_answer() -> None:
    answer = content_pb2.InlineContent(ref=ref("x"), data=b"It is\nhere.\x1b[0m\n")
    run = snapshot(
        run_pb2.RUN_STATUS_COMPLETED,
        stop_reason=run_pb2.STOP_REASON_END_TURN,
        ended_at=Timestamp(seconds=START + 3),
        result=answer,
        labels={"team": "a", "a": "b\x07"},
    )

    assert snapshot_lines(run) == [
        "run       run-1",
        "status    COMPLETED (END_TURN)",
        "agent     analyst, package workspace, model demo-1 (demo)",
        "times     started 2023-11-14 22:13:20Z, ended 2023-11-14 22:13:23Z (3.0s)",
        "usage     2 rounds, 1 tool call, 24+16 tokens (input + output)",
        "budget    0 rounds, 0 tool calls, 0 at once",
        "labels    a=b, team=a",
        "cursor    cursor-12 (event #12)",
        "answer",
        "It is\nhere.[0m",
    ]


def test_a_run_that_goes_on_says_what_is_open_and_what_it_waits_for() -> None:
    run = snapshot(run_pb2.RUN_STATUS_WAITING, cancellation_requested=True)
    run.waiting_on.add(
        kind=run_pb2.WAIT_KIND_EXECUTOR,
        effect_id="c1.1",
        subject="desk",
        since=Timestamp(seconds=START),
        unblocked_by="executor desk answering",
    )
    run.open_effects.add(effect_id="m2", attempt=1, state=run_pb2.EFFECT_STATE_RUNNING)

    lines = snapshot_lines(run)

    assert "status    WAITING, a cancel was accepted" in lines
    assert "waits     c1.1 EXECUTOR since 2023-11-14 22:13:20Z; unblocked by executor desk answering" in lines
    assert "open      m2 model request, attempt 1, RUNNING" in lines
    assert any("last event 2023-11-14 22:13:23Z" in line for line in lines)


def test_a_failed_run_names_its_failure_and_an_answer_too_large_its_size() -> None:
    omitted = content_pb2.InlineContent(ref=content_pb2.ContentRef(digest="sha256:ab", size=70_000), omitted=True)

    lines = snapshot_lines(snapshot(run_pb2.RUN_STATUS_FAILED, error=failure(), result=omitted))

    assert "error     BUDGET_EXHAUSTED: The budget is used up. Raise it." in lines
    assert lines[-1] == "(70000 bytes, too many to show: runwright get run-1 --result FILE writes them)"


def test_of_a_removed_run_there_is_little_left() -> None:
    run = snapshot(
        run_pb2.RUN_STATUS_COMPLETED,
        stop_reason=run_pb2.STOP_REASON_END_TURN,
        ended_at=Timestamp(seconds=START + 3),
        removed_at=Timestamp(seconds=START + 86_400),
    )
    for gone in ("usage", "model", "provider"):
        run.ClearField(gone)

    assert snapshot_lines(run) == [
        "run       run-1",
        "status    COMPLETED (END_TURN)",
        "agent     analyst, package workspace",
        "times     started 2023-11-14 22:13:20Z, ended 2023-11-14 22:13:23Z (3.0s)",
        "removed   2023-11-15 22:13:20Z, with answer, error, labels and usage",
    ]
