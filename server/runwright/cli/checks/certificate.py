"""Certificates: whether those of the server can be read, and for how long they are still good."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runwright.cli.checks.check import Check, fail, ok, warn
from runwright.files import UnreadableFileError, read_file
from runwright.transport.tls import MAX_PEM_BYTES

SOON = timedelta(days=30)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERAL_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


def check_certificate(path: Path, now: datetime, taken: str = "by itself") -> Iterator[Check]:
    """Every certificate of a PEM file; of a chain the server is as good as the first that ends.

    `taken`: when a running server takes a new file.
    """
    try:
        text = read_file(path, MAX_PEM_BYTES).decode(errors="replace")
        found = [valid_until(ssl.PEM_cert_to_DER_cert(pem)) for pem in _PEM.findall(text)]
    except UnreadableFileError as error:
        yield fail("certificate", error.message, error.remedy)
        return
    except ValueError:
        found = []
    if not found:
        yield fail(
            "certificate",
            f"{path} holds no certificate that can be read",
            "Give the file that has -----BEGIN CERTIFICATE----- in it.",
        )
        return
    until = min(found)
    left = until - now
    text = f"{path} is valid until {until:%Y-%m-%d %H:%M}Z"
    renew = f"Renew it; a running server takes the new file {taken}."
    if left <= timedelta(0):
        yield fail("certificate", f"{path} has expired on {until:%Y-%m-%d %H:%M}Z", renew)
    elif left < SOON:
        yield warn("certificate", f"{text}, {left.days} days from now", renew)
    else:
        yield ok("certificate", text)


def valid_until(der: bytes) -> datetime:
    """The end of a certificate's validity (RFC 5280, 4.1). Raises ValueError for other bytes.

    Read by hand, because Python's own module tells it of a verified peer only:
    Certificate → tbsCertificate → [version], serial, algorithm, issuer, validity.
    """
    _, certificate, _ = _element(der, _SEQUENCE)
    _, body, _ = _element(certificate, _SEQUENCE)
    if body[:1] == bytes([_VERSION]):
        _, _, body = _element(body)
    for _ in range(3):
        _, _, body = _element(body)
    _, validity, _ = _element(body, _SEQUENCE)
    _, _, rest = _element(validity)
    kind, text, _ = _element(rest)
    if kind not in (_UTC_TIME, _GENERAL_TIME):
        raise ValueError("no time")
    form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)


def _element(data: bytes, expected: int | None = None) -> tuple[int, bytes, bytes]:
    """The first DER element: its tag, its content, and what follows it."""
    if len(data) < 2 or (expected is not None and data[0] != expected):
        raise ValueError("not the element that is expected")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut off")
    return data[0], data[start : start + length], data[start + length :]
