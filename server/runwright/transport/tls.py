"""TLS for the server: PEM files, read again when they change, so that a renewed certificate needs no restart."""

from __future__ import annotations

import codecs
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
from msgspec import Struct

from runwright.core.errors import AgentError, invalid_request
from runwright.files import UnreadableFileError, read_file

MAX_PEM_BYTES = 1024 * 1024
_CONVERT = "Give the file that has -----BEGIN in it; `openssl x509 -in FILE -out FILE.pem` makes one of another form."
_PAIR = "Name the two files that were made together; `openssl pkey -in KEY` asks for the password of an encrypted key."

Stamps = tuple[tuple[int, int], ...]


class TlsFiles(Struct, frozen=True):
    """The server's certificate chain and key; with `client_ca`, clients must show a certificate of it."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self, failed: Callable[[AgentError], None] = lambda _: None) -> grpc.ServerCredentials:
        """Credentials that follow the files; see Certificates."""
        return Certificates(self, failed).credentials

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """What gRPC serves with. Raises INVALID_REQUEST naming a file that cannot be used."""
        chain, key = read_pair(self.certificate, self.key, "tls")
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=self._authority())

    def _authority(self) -> bytes | None:
        if self.client_ca is None:
            return None
        found = _read(self.client_ca, "--tls-client-ca")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=found.decode("ascii"))
        except (OSError, ValueError):  # SSLError is an OSError
            raise _unusable("--tls-client-ca", self.client_ca, "a PEM file with certificates", _CONVERT) from None
        return found

    def stamps(self) -> Stamps:
        """What changes when a file does; empty when one cannot be found."""
        files = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        try:
            return tuple((found.stat().st_mtime_ns, found.stat().st_size) for found in files)
        except OSError:
            return ()


class Certificates:
    """The credentials of a server, which follow the files. One that cannot be used keeps the one before in force."""

    def __init__(self, files: TlsFiles, failed: Callable[[AgentError], None] = lambda _: None) -> None:
        """Raises INVALID_REQUEST. `failed` is called, on any thread, for changed files that cannot be used."""
        self._files = files
        self._failed = failed
        self._seen = files.stamps()
        self._newer: grpc.ServerCertificateConfiguration | None = None  # what the next handshake is to take
        self.credentials = grpc.dynamic_ssl_server_credentials(
            files.configuration(),
            self._requested,  # type: ignore[arg-type]  # None means: nothing newer
            require_client_authentication=files.client_ca is not None,
        )

    def reload(self) -> None:
        """Reads the files whether or not they seem to have changed; the next handshake takes them."""
        stamps = self._files.stamps()
        try:
            self._newer = self._files.configuration()
        except AgentError as error:
            self._failed(error)
            return
        self._seen = stamps

    def _requested(self) -> grpc.ServerCertificateConfiguration | None:
        """What is newer; gRPC asks at every handshake."""
        if self._files.stamps() != self._seen:
            self.reload()
        newer, self._newer = self._newer, None
        return newer


def read_pair(certificate: Path, key: Path, of: str) -> tuple[bytes, bytes]:
    """A certificate chain and its key, PEM, which belong together. Raises INVALID_REQUEST naming what cannot be used.

    `of` is what the two options that named the files begin with: `tls` of `--tls-cert` and `--tls-key`.
    """
    pair = (_read(certificate, f"--{of}-cert"), _read(key, f"--{of}-key"))
    # gRPC only says that a port cannot be bound, or that nobody answers.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # never asks at a terminal
    except (OSError, ValueError):  # SSLError is an OSError
        expected = f"a certificate chain whose private key, unencrypted, is --{of}-key {key}"
        raise _unusable(f"--{of}-cert", certificate, expected, _PAIR) from None
    return pair


def _read(path: Path, option: str) -> bytes:
    try:
        data = read_file(path, MAX_PEM_BYTES)
    except UnreadableFileError as error:
        raise invalid_request(
            option, "a file that can be read", error.remedy, message=f"{option} {error.message}."
        ) from None
    if b"-----BEGIN" not in data:
        raise _unusable(option, path, "a PEM file", _CONVERT)
    if option != "--tls-client-ca" and data.startswith(codecs.BOM_UTF8):  # which OpenSSL reads from the file itself
        raise _unusable(
            option, path, "a PEM file without a byte order mark before its first line", "Save it as plain ASCII."
        )
    return data.removeprefix(codecs.BOM_UTF8)


def _unusable(option: str, path: Path, expected: str, remedy: str) -> AgentError:
    return invalid_request(option, expected, remedy, message=f"{option} {path} must be {expected}.")
