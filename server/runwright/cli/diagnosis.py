"""What answers at an address where no Runwright server does: looked at when a call has failed, to say what is wrong."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import NamedTuple

from runwright.cli.connection import Connection
from runwright.cli.errors import Problem

LOOK_SECONDS = 2.0  # for each of at most three connections
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # and an empty SETTINGS frame: RFC 9113, 3.4
_GET = b"GET / HTTP/1.0\r\n\r\n"
_SETTINGS = 4
_OTHER_ADDRESS = "Give the address that `runwright serve` printed, with --server HOST:PORT or RUNWRIGHT_SERVER."
_START_ONE = "Start one with `runwright serve`, or give the address that it printed with --server HOST:PORT."


class _ShookHands(OSError):
    """The TLS handshake was made, and the connection ended then."""


class Diagnosis(NamedTuple):
    """A sentence that says what is the matter, and what to do."""

    message: str
    remedy: str


def look(connection: Connection) -> Diagnosis | None:
    """Connects once more, by hand, and says why no call gets through. Takes some seconds at most.

    None when nothing is found that would keep a call from it.
    """
    host, _, port = connection.server.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), LOOK_SECONDS):
            pass
    except socket.gaierror:
        return Diagnosis(f"No host is called {host}.", "Correct the name in --server, or give an IP address.")
    except TimeoutError:
        remedy = "Check that the host is up and that no firewall is between; the address is that of --server."
        return Diagnosis(f"{connection.server} does not answer at all.", remedy)
    except OSError as error:
        return _refused(connection, error)
    return _over_tls(connection) if connection.ca is not None else _in_plaintext(connection)


def another_service(connection: Connection) -> Diagnosis:
    """Something answers in gRPC and does not have the method: an older server, or no Runwright server at all."""
    from runwright.cli.client import Client  # noqa: PLC0415 - which imports what failed calls are said with

    try:
        version = Client(connection).info().version
    except Problem:
        pass
    else:
        message = f"The server at {connection.server} is Runwright {version}, which does not serve this call."
        return Diagnosis(message, "Start a newer server there, or call it with a client of its version.")
    message = f"What answers at {connection.server} speaks gRPC, but it is no Runwright server."
    return Diagnosis(message, _OTHER_ADDRESS)


def _refused(connection: Connection, error: OSError) -> Diagnosis:
    server = connection.server
    if error.errno == errno.ECONNREFUSED:
        message = f"No Runwright server answers at {server}: nothing listens there."
        return Diagnosis(message, _START_ONE)
    return Diagnosis(f"{server} cannot be reached: {error.strerror or error}.", _OTHER_ADDRESS)


def _in_plaintext(connection: Connection) -> Diagnosis | None:
    server = connection.server
    begun = _answer(connection)
    if _is_http2(begun):
        return None
    if begun.startswith(b"HTTP/1.") or _answer(connection, _GET).startswith(b"HTTP/"):
        return Diagnosis(f"What answers at {server} is a web server (HTTP/1.1), no Runwright server.", _OTHER_ADDRESS)
    if isinstance(_handshake(connection, _anybody()), _ShookHands | None):
        message = f"{server} speaks TLS, and this call was made in plaintext."
        return Diagnosis(message, "Give --tls-ca FILE, the authority (PEM) that the server's certificate is of.")
    what = "says nothing, or hangs up" if not begun else "speaks another protocol"
    return Diagnosis(f"What listens at {server} is no Runwright server: it {what}.", _OTHER_ADDRESS)


def _over_tls(connection: Connection) -> Diagnosis | None:
    server = connection.server
    if _is_http2(_answer(connection)):
        message = f"{server} speaks no TLS, and --tls-ca asks for it."
        return Diagnosis(
            message, "Leave --tls-ca (RUNWRIGHT_TLS_CA) out, or start the server with --tls-cert and --tls-key."
        )
    context = ssl.create_default_context(cafile=str(connection.ca))
    if connection.certificate is not None:
        context.load_cert_chain(connection.certificate, connection.certificate_key)
    context.set_alpn_protocols(["h2"])
    failed = _handshake(connection, context)
    match failed:
        case None:
            return None
        case ssl.SSLCertVerificationError(verify_code=62 | 64):  # X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH
            message = f"The certificate of {server} is for other names: {_names(connection)}."
            return Diagnosis(
                message, "Name the server by one of them in --server, or have a certificate made for that name."
            )
        case ssl.SSLCertVerificationError(verify_message=why):
            message = f"The certificate of {server} is not trusted by --tls-ca {connection.ca}: {why}."
            return Diagnosis(
                message, "Give the authority that signed it; `openssl x509 -in FILE -noout -issuer` names that."
            )
        case _ShookHands() | ssl.SSLError(reason="TLSV13_ALERT_CERTIFICATE_REQUIRED"):
            remedy = "Give one that its authority (--tls-client-ca) signed: --tls-cert FILE --tls-key FILE."
            return Diagnosis(f"{server} takes calls only from those who show a certificate it trusts.", remedy)
        case _:
            return Diagnosis(f"What listens at {server} speaks no TLS and is no Runwright server.", _OTHER_ADDRESS)


def _answer(connection: Connection, said: bytes = _PREFACE) -> bytes:
    """What comes back to `said` in plaintext, the beginning of HTTP/2; empty when nothing does."""
    host, _, port = connection.server.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), LOOK_SECONDS) as opened:
            opened.settimeout(LOOK_SECONDS)
            opened.sendall(said)
            return opened.recv(64)
    except OSError:
        return b""


def _is_http2(begun: bytes) -> bool:
    return len(begun) >= 9 and begun[3] == _SETTINGS


def _handshake(connection: Connection, context: ssl.SSLContext) -> OSError | None:
    """What a TLS handshake, and the first read after it, fail with; None when nothing does."""
    host, _, port = connection.server.rpartition(":")
    host = host.strip("[]")
    try:
        with (
            socket.create_connection((host, int(port)), LOOK_SECONDS) as opened,
            context.wrap_socket(opened, server_hostname=host) as wrapped,
        ):
            wrapped.sendall(_PREFACE)
            # TLS 1.3 says only now that a certificate of ours is missing; gRPC's servers end the connection then.
            return None if wrapped.recv(64) else _ShookHands()
    except OSError as error:  # SSLError and TimeoutError are some
        return error


def _anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _names(connection: Connection) -> str:
    """What the server's certificate, which is trusted, says it is for."""
    host, _, port = connection.server.rpartition(":")
    context = ssl.create_default_context(cafile=str(connection.ca))
    context.check_hostname = False
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), LOOK_SECONDS) as opened,
            context.wrap_socket(opened) as wrapped,
        ):
            found = wrapped.getpeercert() or {}
    except OSError:
        return "it could not be read once more"
    names = [str(entry[1]) for entry in found.get("subjectAltName", ())]
    return ", ".join(names) or "it names none (it has no subjectAltName)"
