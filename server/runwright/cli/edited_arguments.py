"""The arguments that a call is to be approved with: given on the command line, or written in the editor."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runwright import files
from runwright._gen.runwright.v1 import approval_pb2
from runwright.cli.errors import ExitCode, Problem
from runwright.core.approval_requests import MAX_EDIT_BYTES
from runwright.wire.snapshots import inline_bytes

NOT_DECIDED = "NOT_DECIDED"  # the reason of every Problem here


def given(words: str) -> bytes:
    """JSON as it stands on the command line, or what is in `@FILE`. Raises Problem for a file that cannot be read."""
    if not words.startswith("@"):
        return words.encode()
    try:
        return files.read_file(Path(words[1:]), MAX_EDIT_BYTES)
    except files.UnreadableFileError as error:
        raise _nothing_decided(f"{error.message}.", error.remedy) from None


def pending(approval: approval_pb2.Approval) -> str:
    """The arguments that are pending, as people edit JSON. Raises Problem where the server left them out."""
    content = approval.arguments_content
    if content.omitted:
        message = f"The arguments of {approval.approval_id} are {content.ref.size} bytes, too many to be edited here."
        raise _nothing_decided(message, "Give those that the call is to be made with: --args @FILE.")
    data = inline_bytes(content).decode()
    # Canonical JSON escapes control characters; those that turn or hide what is read are escaped here.
    return json.dumps(json.loads(data), indent=2, ensure_ascii=not data.isprintable()) + "\n"


def written(text: str) -> str:
    """The text as somebody leaves it in their editor: $VISUAL, $EDITOR. Raises Problem when it is left as it was."""
    try:
        edited = click.edit(text, extension=".json")
    except click.ClickException as error:
        message = f"The editor failed: {error.format_message()}"
        raise _nothing_decided(message, "Set EDITOR to one that is there, or use --args.") from None
    if edited is None or edited == text:
        raise _nothing_decided("Nothing was edited.", "Approve it as it is with `runwright approvals approve`.")
    return edited


def _nothing_decided(message: str, remedy: str) -> Problem:
    return Problem(NOT_DECIDED, message, f"Nothing was decided. {remedy}", exit_code=ExitCode.USAGE)
