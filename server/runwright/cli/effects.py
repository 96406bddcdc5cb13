"""`runwright effects`: calls of unknown outcome, and how they are resolved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from runwright import files
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.inspect_run import RunArgument
from runwright.cli.output import Format, FormatOption, ListFormat, ListFormatOption, print_json, print_yaml
from runwright.core.content import JSON, TEXT
from runwright.core.resolution import MAX_RESULT_BYTES

app = typer.Typer(
    name="effects",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Calls whose outcome is unknown: ls, resolve.",
)
_IN_REPAIR = pb.RunFilter(statuses=[run_pb2.RUN_STATUS_REPAIR_NEEDED])


class Said(StrEnum):
    """What somebody says of a call."""

    HAPPENED = "happened"
    TRY_AGAIN = "try-again"
    FAILED = "failed"
    END_RUN = "end-run"


_RESOLUTIONS = {
    Said.HAPPENED: run_pb2.RESOLUTION_HAPPENED,
    Said.TRY_AGAIN: run_pb2.RESOLUTION_TRY_AGAIN,
    Said.FAILED: run_pb2.RESOLUTION_FAILED,
    Said.END_RUN: run_pb2.RESOLUTION_END_RUN,
}


@app.command("ls")
def ls(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="Of at most so many runs.")] = 50,
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists the calls whose outcome is unknown, of the newest runs first.

    With -o json and -o yaml it prints their runs as one ListRunsResponse, with
    -o name `RUN EFFECT ATTEMPT` for each call.

    \b
    Example:
      runwright effects ls
    """
    listed = pb.ListRunsResponse()
    for page in Client.of(context).runs(_IN_REPAIR, limit):
        listed.runs.extend(page.runs)
        listed.next_page_token = page.next_page_token
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for run in listed.runs:
                for effect in unknown_effects(run):
                    print(sanitize.line(f"{run.run_id} {effect.effect_id} {effect.attempt}"))
        case ListFormat.TABLE:
            for run in listed.runs:
                for effect in unknown_effects(run):
                    print("\n".join(lines(run, effect)))


@app.command("resolve")
def resolve(
    context: typer.Context,
    run_id: RunArgument,
    effect_id: Annotated[str, typer.Argument(metavar="EFFECT", help="The call, such as c1.1.")],
    said: Annotated[Said, typer.Option("--as", help="What became of it, or what is to become of the run.")],
    attempt: Annotated[int, typer.Option(min=1, metavar="N", help="The attempt that is meant; `effects ls` shows it.")],
    tell: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the model is told: TEXT, or what is in @FILE.")
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Says what became of a call whose outcome is unknown, so that its run goes on.

    --as happened: it happened, and --tell is its result, JSON if it is any and
    else text. --as try-again: it did not happen, and is made again. --as failed: it
    did not happen; the model is told so. --as end-run: the run ends as failed. Only
    one decision is taken for an attempt; it is on record with who made it. The same
    words once more change nothing. It takes the role repairer.

    \b
    Example:
      runwright effects resolve first c1.1 --attempt 1 --as happened --tell '"sent"'
      runwright effects resolve first c1.1 --attempt 1 --as try-again --reason "ticket 7"
    """
    request = pb.ResolveEffectRequest(
        run_id=run_id, effect_id=effect_id, attempt=attempt, resolution=_RESOLUTIONS[said], reason=reason
    )
    _put_told(request, said, None if tell is None else _read(tell))
    # Made of all the words: whoever is not answered sends the same again.
    request.request_id = f"cli-{sha256(request.SerializeToString(deterministic=True)).hexdigest()[:32]}"
    response = Client.of(context).resolve(request)
    if output is Format.JSON:
        print_json(response)
        return
    decision = response.resolution
    word = names.resolution(decision.resolution)
    when = "" if response.resolved else f", since {names.clock(decision.time)}"
    who = f"{decision.effect_id}, attempt {decision.attempt}, is resolved as {word} by {decision.resolved_by}{when}"
    print(sanitize.line(who))
    print(sanitize.line(f"run {run_id}: {names.status(response.run.status)}"))


def unknown_effects(run: run_pb2.RunSnapshot) -> Iterator[run_pb2.OpenEffect]:
    """The calls of a run whose outcome is unknown."""
    return (effect for effect in run.open_effects if effect.state == run_pb2.EFFECT_STATE_UNKNOWN)


def lines(run: run_pb2.RunSnapshot, effect: run_pb2.OpenEffect) -> list[str]:
    """A call for people: whose it is, since when nobody knows, and whom to ask by which key."""
    wait = next((wait for wait in run.waiting_on if wait.effect_id == effect.effect_id), run_pb2.WaitingOn())
    since = f", unknown since {names.clock(wait.since)}" if wait.HasField("since") else ""
    by = names.executor_identity(effect.executor_identity) or f"executor {wait.subject}"
    return [
        sanitize.line(f"{run.run_id} {effect.effect_id} {effect.tool}, attempt {effect.attempt}{since}"),
        f"  {sanitize.line(f'{by}, idempotency key {effect.idempotency_key}')}",
    ]


def _read(tell: str) -> bytes:
    if not tell.startswith("@"):
        return tell.encode()
    try:
        return files.read_file(Path(tell[1:]), MAX_RESULT_BYTES)
    except files.UnreadableFileError as error:
        raise typer.BadParameter(f"{error.message}. {error.remedy}", param_hint="--tell") from None


def _put_told(request: pb.ResolveEffectRequest, said: Said, told: bytes | None) -> None:
    match said:
        case Said.HAPPENED:
            if told is None:
                raise typer.BadParameter("say with --tell what the call has come to; '' if nothing", param_hint="--as")
            request.result.data, request.result.media_type = told, _media_type(told)
        case Said.FAILED:
            request.message = (told or b"").decode("utf-8", "replace")
        case _ if told is not None:
            raise typer.BadParameter("the model is told nothing then", param_hint="--tell")


def _media_type(told: bytes) -> str:
    try:
        json.loads(told)
    except (ValueError, RecursionError):
        return TEXT
    return JSON
