"""How the command line reaches a server: address, key, TLS."""

from __future__ import annotations

import codecs
import inspect
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from msgspec import Struct, structs

from runwright.adapters.private_files import exposure
from runwright.cli import sanitize
from runwright.cli.commands import DEFAULT_SERVER, Options
from runwright.core.loopback import is_loopback
from runwright.files import UnreadableFileError, read_file

MAX_PORT = 65_535
_BOTH = "Give both files, or neither."
MAX_PEM_BYTES = 1024 * 1024


class Connection(Struct, frozen=True):
    """The global options. With a `ca` the connection is TLS; a key is sent as bearer token."""

    server: str = DEFAULT_SERVER
    key: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None

    def check(self) -> None:
        """Raises BadParameter for TLS options that say nothing without one another, or whose files are none."""
        if self.certificate is not None and self.certificate_key is None:
            raise typer.BadParameter(f"needs --tls-key, its private key. {_BOTH}", param_hint="--tls-cert")
        if self.certificate_key is not None and self.certificate is None:
            message = f"needs --tls-cert, the certificate that it belongs to. {_BOTH}"
            raise typer.BadParameter(message, param_hint="--tls-key")
        if self.certificate is not None and self.ca is None:
            message = "needs --tls-ca: without it the connection is not TLS. Give the server's authority (PEM) too."
            raise typer.BadParameter(message, param_hint="--tls-cert")
        if self.ca is not None:
            _check_authority(self.ca)
        if self.certificate is not None and self.certificate_key is not None:
            _check_pair(self.certificate, self.certificate_key)

    @property
    def options(self) -> Options:
        """The options of a command for the same server. The key is left out: it belongs into the environment."""
        options = {
            "--server": self.server if self.server != DEFAULT_SERVER else None,
            "--tls-ca": self.ca,
            "--tls-cert": self.certificate,
            "--tls-key": self.certificate_key,
        }
        return tuple(word for name, value in options.items() if value is not None for word in (name, str(value)))

    @property
    def shows_its_key(self) -> bool:
        """True when the key can be read on its way: it goes to another host, and without TLS."""
        host = self.server.rpartition(":")[0]
        return bool(self.key) and self.ca is None and not is_loopback(host)

    def channel(self, options: Sequence[tuple[str, int]]) -> grpc.Channel:
        """A channel; the connection is made with the first call. Raises BadParameter as `check` does."""
        self.check()
        if self.shows_its_key:
            message = f"warning: the key goes to {self.server} in plaintext, where others can read it: give --tls-ca"
            typer.echo(sanitize.line(message), err=True)
        if self.certificate_key is not None and (what := exposure(self.certificate_key)):
            typer.echo(sanitize.line(f"warning: {what}: chmod 600 {self.certificate_key}"), err=True)
        if self.ca is None:
            return grpc.insecure_channel(self.server, options=options)
        key = _pem(self.certificate_key, "--tls-key") if self.certificate_key else None
        certificate = _pem(self.certificate, "--tls-cert") if self.certificate else None
        credentials = grpc.ssl_channel_credentials(_pem(self.ca, "--tls-ca"), key, certificate)
        return grpc.secure_channel(self.server, credentials, options=options)


def _check_authority(path: Path) -> None:
    """gRPC says nothing but that nobody answers; and for half of a pair it aborts the process."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=_pem(path, "--tls-ca").decode("ascii"))
    except (ssl.SSLError, ValueError):
        message = f"{path} must be a PEM file with certificates. Text with -----BEGIN CERTIFICATE----- is one."
        raise typer.BadParameter(message, param_hint="--tls-ca") from None


def _check_pair(certificate: Path, key: Path) -> None:
    for path, option in ((certificate, "--tls-cert"), (key, "--tls-key")):
        _pem(path, option)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")  # never asks
    except (OSError, ValueError):  # SSLError is an OSError
        message = (
            f"{certificate} must be a PEM certificate whose private key, unencrypted, is --tls-key {key}. "
            "Name the two files that were made together."
        )
        raise typer.BadParameter(message, param_hint="--tls-cert") from None


def _pem(path: Path, option: str) -> bytes:
    return option_file(path, option, MAX_PEM_BYTES).removeprefix(codecs.BOM_UTF8)


def option_file(path: Path, option: str, most_bytes: int) -> bytes:
    """The file that an option names. Raises BadParameter that says what is the matter with it and what to do."""
    try:
        return read_file(path, most_bytes)
    except UnreadableFileError as error:
        raise typer.BadParameter(f"{error.message}. {error.remedy}", param_hint=option) from None


def connection(options: Mapping[str, Any], before: Connection) -> Connection:
    """The connection that options name, in place of what `before` has. Raises BadParameter for a malformed one."""
    changes = {name: value for name, value in options.items() if value is not None}
    if (server := changes.get("server")) is not None:
        _check_server(server)
    if (key := changes.get("key")) is not None:
        key = changes["key"] = key.strip("\ufeff \t\r\n")  # a variable read from a file has what stands around it
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise typer.BadParameter("must be a key as `keys add` printed it", param_hint="--key or RUNWRIGHT_KEY")
    return structs.replace(before, **changes)


def _check_server(server: str) -> None:
    host, colon, port = server.rpartition(":")
    if "://" in server:
        scheme = server.partition("://")[0]
        message = f"{server!r} is not of the form HOST:PORT. Leave {scheme}:// out; --tls-ca asks for TLS."
    elif not colon:
        message = f"{server!r} is not of the form HOST:PORT. Add the port, as in {server or 'localhost'}:7760."
    elif not (host and port.isdigit() and int(port) <= MAX_PORT):
        message = f"{server!r} is not of the form HOST:PORT. The port is a number up to {MAX_PORT}."
    else:
        return
    raise typer.BadParameter(message, param_hint="--server or RUNWRIGHT_SERVER")


OPTIONS = {
    "server": Annotated[str | None, typer.Option("--server", hidden=True)],
    "key": Annotated[str | None, typer.Option("--key", hidden=True)],
    "ca": Annotated[Path | None, typer.Option("--tls-ca", hidden=True)],
    "certificate": Annotated[Path | None, typer.Option("--tls-cert", hidden=True)],
    "certificate_key": Annotated[Path | None, typer.Option("--tls-key", hidden=True)],
}
_PREFIX = "connection_"


def has_connection(parameters: Collection[str]) -> bool:
    """True for the parameters of a command that `takes_connection` made."""
    return _PREFIX + "server" in parameters


def takes_connection(command: Callable[..., None]) -> Callable[..., None]:
    """A command that calls a server, which takes the options of the connection behind its name as well as before it."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())

    def called(context: typer.Context, **values: Any) -> None:
        options = {name: values.pop(_PREFIX + name) for name in OPTIONS}
        context.obj = connection(options, context.ensure_object(Connection))
        command(context, **values)

    more = [
        inspect.Parameter(_PREFIX + name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in OPTIONS.items()
    ]
    keyword = [own[0], *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own[1:]), *more]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
    called.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]  # where inspect looks first
    return called
