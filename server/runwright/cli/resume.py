"""`runwright resume`: what a policy has deferred goes on."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.inspect_run import RunArgument
from runwright.cli.output import Format, FormatOption, print_json


def resume(
    context: typer.Context,
    run_id: RunArgument,
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="What is deferred, such as p3.2.1; `explain` shows it.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Has a run go on that a policy has deferred; the policy is asked again.

    For whoever started the run, and admins. With -o json it prints the
    ResumeResponse.

    \b
    Example:
      runwright resume first p3.2.1 --reason "the maintenance is over"
    """
    # What is sent again is the same request: a question is resumed once.
    request_id = f"resume-{sha256(f'{run_id}/{question}'.encode()).hexdigest()[:16]}"
    request = pb.ResumeRequest(run_id=run_id, effect_id=question, request_id=request_id, reason=reason)
    response = Client.of(context).resume(request)
    if output is Format.JSON:
        print_json(response)
        return
    what = "goes on" if response.resumed else "was not deferred by that question (any more)"
    print(sanitize.line(f"{run_id} {what}: {names.status(response.run.status)}"))
