"""`runwright explain`: why a run does not move, or why it ended."""

from __future__ import annotations

import time
from collections.abc import Sequence

import typer

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import run_pb2
from runwright.cli.client import Client
from runwright.cli.errors import Problem
from runwright.cli.explain_text import Found, explain_lines
from runwright.cli.inspect_run import RunArgument

# What a server answers that is older, or does not let this key see registrations.
_NOT_SHOWN = ("UNIMPLEMENTED", "ROLE_MISSING")


def explain(context: typer.Context, run_id: RunArgument) -> None:
    """Says on one screen why a run does not move, or why it ended.

    \b
    Example:
      runwright run --no-watch --id first "What is in this directory?"
      runwright explain first
    """
    client = Client.of(context)
    run = client.snapshot(run_id).run
    waited = {wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_EXECUTOR}
    callbacks = {executor: _callbacks(client, executor) for executor in sorted(waited)}
    found = Found(run, list(client.troubles(run_id)), callbacks, time.time())
    print("\n".join(explain_lines(found, client.server)))


def _callbacks(client: Client, executor: str) -> Sequence[callback_pb.Callback] | None:
    try:
        return client.callbacks(executor).callbacks
    except Problem as problem:
        if problem.reason not in _NOT_SHOWN:
            raise
        return None
