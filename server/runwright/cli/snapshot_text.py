"""A snapshot as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runwright._gen.runwright.v1 import run_pb2
from runwright.cli import names, sanitize
from runwright.cli.outcome import shown
from runwright.wire.snapshots import inline_bytes


def snapshot_lines(run: run_pb2.RunSnapshot) -> list[str]:
    """Everything a snapshot says, one fact a line; the answer last, as it was written."""
    lines = [f"{name:<9} {sanitize.line(value)}" for name, value in _facts(run) if value]
    if run.HasField("result"):
        lines += ["answer", _answer(run)]
    return lines


def _facts(run: run_pb2.RunSnapshot) -> Iterator[tuple[str, str]]:
    stop = f" ({names.stop_reason(run.stop_reason)})" if run.stop_reason else ""
    cancelling = ", a cancel was accepted" if run.cancellation_requested and not run.HasField("ended_at") else ""
    yield "run", run.run_id
    yield "status", f"{names.status(run.status)}{stop}{cancelling}"
    yield "session", run.session_id
    model = f", model {run.model} ({run.provider})" if run.model else ""
    yield "agent", f"{run.agent_id}, package {run.package_id}{model}"
    yield "package", run.package_fingerprint
    yield "times", _times(run)
    if run.HasField("removed_at"):
        yield "removed", f"{names.clock(run.removed_at)}, with answer, error, labels and usage"
        return
    yield "usage", f"{names.usage(run.usage)} (input + output)"
    limits = run.budget
    yield (
        "budget",
        f"{names.counted(limits.rounds, 'round')}, {names.counted(limits.tool_calls, 'tool call')}, "
        f"{limits.parallel_calls} at once",
    )
    yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(run.labels.items()))
    for wait in run.waiting_on:
        kind = names.wait_kind(wait.kind)
        yield "waits", f"{wait.effect_id} {kind} since {names.clock(wait.since)}; unblocked by {wait.unblocked_by}"
    for effect in run.open_effects:
        what = effect.tool or "model request"
        yield "open", f"{effect.effect_id} {what}, attempt {effect.attempt}, {names.effect_state(effect.state)}"
        yield "  key", effect.idempotency_key
        if effect.HasField("executor_identity"):
            yield "  executor", names.executor_identity(effect.executor_identity)
    if run.HasField("error"):
        yield "error", names.failure(run.error)
    yield "cursor", f"{run.last_cursor} (event #{run.last_seq})"


def _answer(run: run_pb2.RunSnapshot) -> str:
    if run.result.omitted:
        return f"({run.result.ref.size} bytes, too many to show: runwright get {run.run_id} --result FILE writes them)"
    return shown(inline_bytes(run.result))


def _times(run: run_pb2.RunSnapshot) -> str:
    last = run.ended_at if run.HasField("ended_at") else run.updated_at
    word = "ended" if run.HasField("ended_at") else "last event"
    took = names.elapsed(names.seconds(last) - names.seconds(run.started_at))
    return f"started {names.clock(run.started_at)}, {word} {names.clock(last)} ({took})"
