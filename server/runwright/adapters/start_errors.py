"""Why a server cannot start: what is not installed, what cannot be bound, and a directory that cannot be written."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from runwright.core.errors import AgentError, invalid_request

FIRST_FREE_PORT = 1024  # below, Linux lets only root bind


def extra_missing(option: str, extra: str, missing: Sequence[str]) -> AgentError:
    """What an option needs is not installed; `missing` are the modules."""
    message = f"{option} needs libraries that are not installed: {', '.join(missing)}."
    expected = f"given where the extra {extra} is installed"
    return invalid_request(
        option, expected, f"Install them, in the checkout: python -m pip install '.[{extra}]'.", message=message
    )


def unbound(option: str, address: str) -> AgentError:
    """An address could not be bound. Tries once more to learn why, which blocks for as long as a name is looked up."""
    host, _, port = address.rpartition(":")
    try:
        _bind(host.strip("[]"), int(port))
    except socket.gaierror:
        cause, remedy = f"{host} is no name that is known here", f"Use {option} 127.0.0.1:{port}, or correct the name."
    except OSError as error:
        cause, remedy = _why(error, option, host, port)
    else:
        cause = f"{address} was in use and is free again"
        remedy = "Start the server once more; another one may have been ending."
    return invalid_request(option, "an address that can be bound", remedy, message=f"{option} {address}: {cause}.")


def unusable_data(data: Path, cause: str) -> AgentError:
    """The data directory cannot be made or written."""
    message = f"The data directory {data} cannot be used: {cause}."
    expected = "a directory that this user may write, on a disk with file locks"
    remedy = f"Name another with --data, or have user {os.geteuid()} own that one."
    return invalid_request("--data", expected, remedy, message=message)


def _bind(host: str, port: int) -> None:
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server had open may linger
            tried.bind(address)
            tried.listen(1)


def _why(error: OSError, option: str, host: str, port: str) -> tuple[str, str]:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} is in use by another program",
                f"End it (`ss -ltnp 'sport = :{port}'` names it), or choose another port: {option} {host}:0 takes a "
                "free one.",
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{host} is no address of this machine",
                f"Use {option} 127.0.0.1:{port}, or one that `ip addr` shows.",
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"user {os.geteuid()} may not bind port {port}",
                f"Choose a port from {FIRST_FREE_PORT}, such as {option} {host}:7760.",
            )
        case _:
            return f"the system refuses it: {error.strerror}", f"Choose another address: {option} HOST:PORT."
