"""How the command line reaches a server: address, key, TLS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
import typer
from msgspec import Struct

from runwright.cli.commands import DEFAULT_SERVER


class Connection(Struct, frozen=True):
    """The global options. With a `ca` the connection is TLS; a key is sent as bearer token."""

    server: str = DEFAULT_SERVER
    key: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None

    def channel(self, options: Sequence[tuple[str, int]]) -> grpc.Channel:
        """A channel; the connection is made with the first call."""
        if self.ca is None:
            return grpc.insecure_channel(self.server, options=options)
        credentials = grpc.ssl_channel_credentials(
            _pem(self.ca, "--tls-ca"),
            _pem(self.certificate_key, "--tls-key"),
            _pem(self.certificate, "--tls-cert"),
        )
        return grpc.secure_channel(self.server, credentials, options=options)


def _pem(path: Path | None, option: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=option) from None
