"""How a run ended, or why it cannot go on: the answer on one side, what to know about it on the other."""

from __future__ import annotations

from collections.abc import Callable

from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright.cli import clean, names
from runwright.cli.commands import command
from runwright.cli.errors import ExitCode
from runwright.wire.snapshots import inline_bytes

Print = Callable[[str], None]

_EXIT_CODES = {
    run_pb2.RUN_STATUS_FAILED: ExitCode.FAILED,
    run_pb2.RUN_STATUS_CANCELLED: ExitCode.CANCELLED,
    run_pb2.RUN_STATUS_REPAIR_NEEDED: ExitCode.REPAIR_NEEDED,
    run_pb2.RUN_STATUS_HELD: ExitCode.REPAIR_NEEDED,
}


def exit_code(run: run_pb2.RunSnapshot) -> ExitCode:
    """The exit code that stands for the run's status."""
    return _EXIT_CODES.get(run.status, ExitCode.COMPLETED)


def report(run: run_pb2.RunSnapshot, server: str, answer: Print, note: Print) -> None:
    """Prints how the run ended, or why it stands. Only the answer itself goes to `answer`."""
    match run.status:
        case run_pb2.RUN_STATUS_COMPLETED:
            note(f"run {run.run_id} completed: {names.usage(run.usage)}")
        case run_pb2.RUN_STATUS_FAILED:
            note(f"run {run.run_id} failed: {names.failure(run.error)}")
        case run_pb2.RUN_STATUS_CANCELLED:
            note(f"run {run.run_id} was cancelled: {names.failure(run.error)}")
        case run_pb2.RUN_STATUS_REPAIR_NEEDED:
            note(f"run {run.run_id} needs repair: it is not known what became of a call, so nothing goes on")
        case run_pb2.RUN_STATUS_HELD:
            note(f"run {run.run_id} is held: {names.failure(run.error)}")
            note(f"  to do: {command(server, 'explain', run.run_id)}")
    for effect in run.open_effects:
        if effect.state == run_pb2.EFFECT_STATE_UNKNOWN:
            note(f"  unknown: {_effect(effect)}")
    if run.status == run_pb2.RUN_STATUS_REPAIR_NEEDED:
        _remedy(run, server, note)
    if run.HasField("result"):
        answer(answer_text(run.result))


def answer_text(result: content_pb2.InlineContent) -> str:
    """The answer, cleaned; or where it is when it is too large to be sent along."""
    if result.omitted:
        return f"(the answer has {result.ref.size} bytes, too many to show; {result.ref.digest})"
    return clean.block(clean.decoded(inline_bytes(result))).rstrip("\n")


def _effect(effect: run_pb2.OpenEffect) -> str:
    text = f"{effect.effect_id} {effect.tool}, attempt {effect.attempt}, idempotency key {effect.idempotency_key}"
    return clean.line(text)


def _remedy(run: run_pb2.RunSnapshot, server: str, note: Print) -> None:
    executors = sorted({wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_REPAIR})
    whom = f"executor {', '.join(executors)}" if any(executors) else "the executor"
    note(f"  to do: ask the owner of {clean.line(whom)} whether the call was performed; its idempotency key tells")
    note(f"  then end the run: {command(server, 'cancel', run.run_id)}")
