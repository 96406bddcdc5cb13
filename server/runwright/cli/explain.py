"""`runwright explain`: why a run does not move, or why it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

import typer

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright.cli.client import Client
from runwright.cli.errors import Problem
from runwright.cli.explain_text import Found, approved_by, explain_lines, explanation
from runwright.cli.inspect_run import RunArgument
from runwright.cli.output import Format, FormatOption

# What a server answers that is older, or does not let this key see registrations.
_NOT_SHOWN = ("UNIMPLEMENTED", "ROLE_MISSING")


def explain(context: typer.Context, run_id: RunArgument, output: FormatOption = Format.TEXT) -> None:
    """Says on one screen why a run does not move, or why it ended, and what to do.

    With -o json it prints an object: the sentence in `why`, what to do in `to_do`,
    and every fact with its name.

    \b
    Example:
      runwright run --no-watch --id first "What is in this directory?"
      runwright explain first
    """
    client = Client.of(context)
    run = client.snapshot(run_id).run
    waited = {wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_EXECUTOR}
    callbacks = {executor: _callbacks(client, executor) for executor in sorted(waited)}
    asked = {wait.subject for wait in run.waiting_on if wait.kind == run_pb2.WAIT_KIND_POLICY}
    hosts = {policy: _callbacks(client, policy, callback_pb.CALLBACK_KIND_POLICY) for policy in sorted(asked)}
    frames = [frame for frame in client.troubles(run_id) if not _is_settled(frame.event)]
    contents = {content.ref.digest: content for frame in frames for content in frame.contents}
    found = Found(
        run,
        [frame.event for frame in frames],
        callbacks,
        time.time(),
        contents,
        _registered(client, callbacks),
        hosts,
        approved_by([frame.event for frame in client.permissions(run_id)] if any(callbacks.values()) else ()),
    )
    if output is Format.JSON:
        print(json.dumps(explanation(found, client.options), indent=2))
    else:
        print("\n".join(explain_lines(found, client.options)))


def _is_settled(event: event_pb2.Event) -> bool:
    """True for an ask about a lost call that was answered: nothing is wrong with that."""
    answered = (event_pb2.RECONCILE_ANSWER_PERFORMED, event_pb2.RECONCILE_ANSWER_NOT_PERFORMED)
    return event.HasField("reconcile_ended") and event.reconcile_ended.answer in answered


def _registered(client: Client, callbacks: Mapping[str, Sequence[callback_pb.Callback] | None]) -> frozenset[str]:
    """Under which names executors are registered, if none is under one that is waited for."""
    if not any(found is not None and not found for found in callbacks.values()):
        return frozenset()
    kinds = (callback_pb.CALLBACK_KIND_UNSPECIFIED, callback_pb.CALLBACK_KIND_TOOL_EXECUTOR)
    return frozenset(one.spec.executor for one in client.callbacks().callbacks if one.spec.kind in kinds)


def _callbacks(
    client: Client, name: str, kind: callback_pb.CallbackKind.ValueType = callback_pb.CALLBACK_KIND_UNSPECIFIED
) -> Sequence[callback_pb.Callback] | None:
    try:
        return client.callbacks(name, kind).callbacks
    except Problem as problem:
        if problem.reason not in _NOT_SHOWN:
            raise
        return None
