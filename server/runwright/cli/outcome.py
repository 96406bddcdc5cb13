"""How a run ended, or why it cannot go on: the answer on one side, what to know about it on the other."""

from __future__ import annotations

from collections.abc import Callable

from runwright._gen.runwright.v1 import run_pb2
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.commands import Options, command
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


def report(run: run_pb2.RunSnapshot, client: Client, answer: Print | None, note: Print) -> None:
    """Prints how the run ended, or why it stands. Only the answer itself goes to `answer`, however large it is."""
    options = client.options
    if run.HasField("removed_at"):
        note(f"run {run.run_id} {names.status(run.status)}; {removed(run)}")
        return
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
            note(f"  to do: {command(options, 'explain', run.run_id)}")
    for effect in run.open_effects:
        if effect.state == run_pb2.EFFECT_STATE_UNKNOWN:
            note(f"  unknown: {_effect(effect)}")
    if run.status == run_pb2.RUN_STATUS_REPAIR_NEEDED:
        _remedy(run, options, note)
    if run.HasField("result") and answer is not None:
        answer(shown(answer_bytes(run, client)))


def answer_bytes(run: run_pb2.RunSnapshot, client: Client) -> bytes:
    """The whole answer of a run that has one; a large one is asked for, since snapshots do not hold it."""
    if run.result.omitted:
        return b"".join(client.content(run.run_id, run.result.ref.digest))
    return inline_bytes(run.result)


def shown(answer: bytes) -> str:
    """An answer as it is printed, cleaned."""
    return sanitize.block(sanitize.decoded(answer)).rstrip("\n")


def removed(run: run_pb2.RunSnapshot) -> str:
    """That a run was removed, when, and what went with it."""
    return f"it was removed at {names.clock(run.removed_at)}, with its answer, error, labels and usage"


def _effect(effect: run_pb2.OpenEffect) -> str:
    text = f"{effect.effect_id} {effect.tool}, attempt {effect.attempt}, idempotency key {effect.idempotency_key}"
    return sanitize.line(text)


def _remedy(run: run_pb2.RunSnapshot, options: Options, note: Print) -> None:
    executors = sorted({wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_REPAIR})
    whom = f"executor {', '.join(executors)}" if any(executors) else "the executor"
    note(f"  to do: ask the owner of {sanitize.line(whom)} whether the call was performed; its idempotency key tells")
    note(f"  then end the run: {command(options, 'cancel', run.run_id)}")
