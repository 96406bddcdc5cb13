"""What is wrong where no Runwright server answered: one sentence, and what to do about it."""

from __future__ import annotations

import os
import re
import socket
import ssl
from dataclasses import dataclass

from grpclib.exceptions import GRPCError

from .errors import RunwrightError, of_status

_HTTP1 = b"HTTP/"
_TLS_ALERT = b"\x15\x03"  # how a server of TLS answers what is none
_IS_IT_ONE = "check that the address is that of a Runwright server."


@dataclass(slots=True)
class Peer:
    """Whom a connection was made to, and how it went: `greeting` is the beginning of what the peer sent, if any."""

    address: str
    has_tls: bool = False
    has_certificate: bool = False
    greeting: bytes = b""

    @property
    def is_foreign(self) -> bool:
        """True when what it sent is certainly no HTTP/2."""
        return self.greeting.startswith((_HTTP1, _TLS_ALERT))


def typed(error: BaseException, peer: Peer) -> RunwrightError:
    """The error that a user sees for one that the transport raised."""
    match error:
        case RunwrightError():
            return error
        case GRPCError():
            text = of_status(error)
            return text if text.remedy else _explained(text, peer)
        case ssl.SSLCertVerificationError():
            return _untrusted(error, peer)
        case ssl.SSLError() if "ALERT" in (error.reason or ""):
            return _away(_closed(peer), _about_closing(peer), is_passing=True)
        case ssl.SSLError():
            told_remedy = "Leave tls out, or start the server with a certificate."
            return _away(f"What answers at {peer.address} does not speak TLS.", told_remedy)
        case TimeoutError():
            return _explained(RunwrightError("", reason="DEADLINE_EXCEEDED", code="DEADLINE_EXCEEDED"), peer)
        case ValueError() | NotImplementedError():
            message = f"The answer of {peer.address} could not be read ({type(error).__name__})."
            return RunwrightError(message, reason="INTERNAL", code="INTERNAL", remedy="Look at the server's log.")
        case _:  # lost connections: resets, GOAWAY, refusals, and what the transport makes of them half-way
            return _lost(error, peer)


def _explained(bare: RunwrightError, peer: Peer) -> RunwrightError:
    """A status without the server's own words."""
    match bare.code:
        case "DEADLINE_EXCEEDED":
            message, remedy = f"{peer.address} did not answer in time.", "Try again, and look at the server's log."
        case "UNIMPLEMENTED":
            message = f"What answers at {peer.address} does not serve this call."
            remedy = "Check the address, and that client and server are of one version."
        case "UNAVAILABLE":
            return _away(f"{peer.address} is not available: {bare.message.rstrip('.')}.", "Try again.", is_passing=True)
        case _:
            message, remedy = bare.message, "Look at the server's log, and check the address."
    return RunwrightError(
        message, reason=bare.reason, code=bare.code, metadata=bare.metadata, retryable=bare.retryable, remedy=remedy
    )


def _untrusted(error: ssl.SSLCertVerificationError, peer: Peer) -> RunwrightError:
    why = error.verify_message.rstrip(".")
    if "ismatch" in why:  # of a name or an address
        remedy = "Connect by a name that the certificate has, or give that as Tls.server_name."
        return _away(f"The certificate of {peer.address} is for another name.", remedy)
    remedy = "Give the authority that signed it as Tls.ca."
    if "expired" in why or "not yet valid" in why:
        remedy = "Renew the server's certificate, and check the clocks."
    return _away(f"The certificate of {peer.address} is not trusted: {why}.", remedy)


def _lost(error: BaseException, peer: Peer) -> RunwrightError:
    if peer.greeting.startswith(_HTTP1):
        message = f"What answers at {peer.address} does not speak gRPC."
        return _away(message, "Check that the address is that of a Runwright server.", is_passing=True)
    if peer.greeting.startswith(_TLS_ALERT):
        return _away(_closed(peer), _about_closing(peer), is_passing=True)
    if peer.greeting:
        message = f"The connection to {peer.address} was lost."
        return _away(message, "Try again, and look at the server's log.", is_passing=True)
    cause = _cause(error)
    if cause is None:
        return _away(_closed(peer), _about_closing(peer), is_passing=True)
    message = f"No Runwright server answers at {peer.address} ({cause})."
    remedy = "Start one with `runwright serve`, or give the address of one that runs."
    return _away(message, remedy, is_passing=True)


def _closed(peer: Peer) -> str:
    return f"What answers at {peer.address} closes the connection before it has answered."


def _about_closing(peer: Peer) -> str:
    if not peer.has_tls:
        return f"If it is a server with TLS, give tls; else {_IS_IT_ONE}"
    if not peer.has_certificate:
        return f"If it asks for a certificate of clients, give Tls.cert and Tls.key; else {_IS_IT_ONE}"
    return f"Check that it takes the certificate that is given, and {_IS_IT_ONE}"


def _cause(error: BaseException) -> str | None:
    """Why no connection was made, in the system's words; None when one was made and lost."""
    if isinstance(error, socket.gaierror):
        return (error.strerror or "its name is not known").lower()
    if not isinstance(error, OSError) or isinstance(error, ConnectionResetError | BrokenPipeError):
        return None
    several = re.search(r"\[Errno (\d+)\]", str(error))  # of a name with several addresses
    number = error.errno or (int(several[1]) if several else 0)
    return os.strerror(number).lower() if number else str(error) or type(error).__name__


def _away(message: str, remedy: str, *, is_passing: bool = False) -> RunwrightError:
    return RunwrightError(message, reason="UNAVAILABLE", code="UNAVAILABLE", retryable=is_passing, remedy=remedy)
