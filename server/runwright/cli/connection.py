"""How the command line reaches a server: address, key, TLS."""

from __future__ import annotations

import codecs
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc
import typer
from msgspec import Struct

from runwright.adapters.private_files import exposure
from runwright.cli import clean
from runwright.cli.commands import DEFAULT_SERVER
from runwright.core.loopback import is_loopback


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
            raise typer.BadParameter("needs --tls-key, its private key", param_hint="--tls-cert")
        if self.certificate_key is not None and self.certificate is None:
            raise typer.BadParameter("needs --tls-cert, the certificate that it belongs to", param_hint="--tls-key")
        if self.certificate is not None and self.ca is None:
            raise typer.BadParameter("needs --tls-ca: without it the connection is not TLS", param_hint="--tls-cert")
        if self.ca is not None:
            _check_authority(self.ca)
        if self.certificate is not None and self.certificate_key is not None:
            _check_pair(self.certificate, self.certificate_key)

    @property
    def shows_its_key(self) -> bool:
        """True when the key can be read on its way: it goes to another host, and without TLS."""
        host = self.server.rpartition(":")[0]
        return bool(self.key) and self.ca is None and not is_loopback(host)

    def channel(self, options: Sequence[tuple[str, int]]) -> grpc.Channel:
        """A channel; the connection is made with the first call. Raises BadParameter as `check` does."""
        self.check()
        if self.shows_its_key:
            told = f"warning: the key goes to {self.server} in plaintext, where others can read it: give --tls-ca"
            typer.echo(clean.line(told), err=True)
        if self.certificate_key is not None and (what := exposure(self.certificate_key)):
            typer.echo(clean.line(f"warning: {what}: chmod 600 {self.certificate_key}"), err=True)
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
        raise typer.BadParameter(f"{path} must be a PEM file with certificates", param_hint="--tls-ca") from None


def _check_pair(certificate: Path, key: Path) -> None:
    for path, option in ((certificate, "--tls-cert"), (key, "--tls-key")):
        _pem(path, option)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")  # never asks
    except (OSError, ValueError):  # SSLError is an OSError
        told = f"{certificate} must be a PEM certificate whose private key, unencrypted, is --tls-key {key}"
        raise typer.BadParameter(told, param_hint="--tls-cert") from None


def _pem(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=option) from None
