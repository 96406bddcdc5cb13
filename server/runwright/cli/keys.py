"""`runwright keys`: hands out keys, lists them, takes them back. Works on the file; no server is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runwright.adapters.clock import SystemClock
from runwright.adapters.keys import KeyEntry, KeysFile, changing_keys, new_key, read_keys, write_keys
from runwright.cli import sanitize
from runwright.cli.errors import ExitCode, Problem
from runwright.core.errors import AgentError
from runwright.core.near import did_you_mean
from runwright.core.principal import Role

DAY_US = 24 * 3600 * 1_000_000

keys = typer.Typer(name="keys", no_args_is_help=True, rich_markup_mode=None, help="Keys of callers: add, ls, revoke.")
FileOption = Annotated[Path, typer.Option("--file", help="The keys file, as given to `serve --keys`.")]


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; appears in the journal.")],
    file: FileOption,
    role: Annotated[list[Role], typer.Option(help="What the key may do; repeat for more.")],
    namespace: Annotated[str, typer.Option(help="Whose runs the key sees.")] = "default",
    subject: Annotated[
        str | None, typer.Option(help="Instead of a key: a client certificate's DNS or URI name, else common name.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires. [default: never]", min=1)] = None,
) -> None:
    """Adds a principal. A key is printed once, on standard output, and kept only as a hash.

    \b
    Example:
      runwright keys add billing --file keys.json --role caller
    """
    key_id, key, digest = new_key()
    try:
        entry = KeyEntry(
            id=key_id,
            name=name,
            namespace=namespace,
            roles=frozenset(role),
            sha256=digest if subject is None else None,
            subject=subject,
            expires_at=SystemClock().now() + days * DAY_US if days else None,
        )
    except ValueError:
        message = "NAME and --namespace must be ids: letters, digits and . _ : @ -; --subject 1 to 256 characters."
        raise _misused(message, "Write the name with - where it has anything else.") from None
    with changing_keys(file):
        known = _read(file) if file.exists() else KeysFile()
        _write(file, KeysFile(keys=(*known.keys, entry)))
    typer.echo(f"added {key_id}: {name}, namespace {namespace}, roles {_roles(entry)}", err=True)
    if subject is None:
        typer.echo(key)


@keys.command()
def ls(file: FileOption) -> None:
    """Lists the principals of a file; never a secret.

    \b
    Example:
      runwright keys ls --file keys.json
    """
    for entry in _read(file).keys:
        kind = f"certificate {entry.subject}" if entry.subject else "key"
        expired = entry.expires_at is not None and entry.expires_at <= SystemClock().now()
        ends = "expired" if expired else "expires" if entry.expires_at else "never expires"
        typer.echo(sanitize.line(f"{entry.id}  {entry.name}  {entry.namespace}  {_roles(entry)}  {kind}  {ends}"))


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id, as `ls` shows it.")], file: FileOption) -> None:
    """Takes a key back. A running server notices within a second and ends the key's streams and waits.

    \b
    Example:
      runwright keys revoke 1a2b3c4d --file keys.json
    """
    _read(file)  # a wrong path is named before anything is made or locked
    with changing_keys(file):
        known = _read(file)
        left = tuple(entry for entry in known.keys if entry.id != key_id)
        if len(left) == len(known.keys):
            remedy = did_you_mean(key_id, (entry.id for entry in known.keys))
            raise _misused(f"{file} has no key {key_id}.", f"{remedy}See `runwright keys ls --file {file}`.")
        _write(file, KeysFile(keys=left))
    typer.echo(f"revoked {key_id}", err=True)


def _roles(entry: KeyEntry) -> str:
    return ",".join(sorted(role.value for role in entry.roles))


def _write(file: Path, keys: KeysFile) -> None:
    try:
        write_keys(file, keys)
    except AgentError as error:
        raise Problem.refused(error) from None


def _misused(message: str, remedy: str) -> Problem:
    return Problem("USAGE", message, remedy, exit_code=ExitCode.USAGE)


def _read(file: Path) -> KeysFile:
    try:
        return read_keys(file)
    except AgentError as error:
        raise Problem.refused(error) from None
