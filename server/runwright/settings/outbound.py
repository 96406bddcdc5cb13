"""Proxies and certificates for requests to real models: variables that the vendors' libraries read by themselves.

One that cannot work would fail every request; it is found before the first.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from runwright.core.errors import AgentError
from runwright.core.loopback import is_loopback
from runwright.settings.providers import provider_routes
from runwright.settings.values import Finding

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_PROXY_FORM = "http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
_WITHOUT_PROXY = "Give it that form, or unset it to ask models directly; NO_PROXY does not help against a wrong one."
_LOCAL = "http://127.0.0.1"
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # how OpenSSL names the certificates of a directory


def outbound_findings(providers: object, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What of the environment cannot work for the setting `providers`; what is wrong with that is not said here.

    A proxy's address is never repeated: it may hold a password.
    """
    try:
        routes = provider_routes(providers, 1.0).values()
    except AgentError:
        return
    addresses = [each.base_url or (_LOCAL if each.kind == "ollama" else "https://") for each in routes]
    if any(not is_loopback(urlsplit(address).hostname or "") for address in addresses):
        for name in PROXIES:
            if expected := _proxy_problem(environment.get(name, "")):
                yield Finding(name, "", expected, _WITHOUT_PROXY)
    if any(address.startswith("https:") for address in addresses):
        yield from _certificates(environment)


def _proxy_problem(value: str) -> str:
    """What the value must be; empty when it can be used, or is none."""
    if not value:
        return ""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket too many
        return _PROXY_FORM
    if parts.scheme not in ("http", "https", "socks5", "socks5h") or not has_place:
        return _PROXY_FORM
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        return "an http:// proxy, or a socks5:// one where it can be spoken: pip install socksio"
    return ""


def _certificates(environment: Mapping[str, str]) -> Iterator[Finding]:
    file, directory = environment.get("SSL_CERT_FILE", ""), environment.get("SSL_CERT_DIR", "")
    if file:
        if problem := _file_problem(file):
            expected = f"a file of PEM certificates that this user may read; {file} {problem}"
            yield Finding(
                "SSL_CERT_FILE", "", expected, "Name a bundle of authorities, or unset it to use the system's."
            )
    elif directory and not any(map(_holds_certificates, directory.split(os.pathsep))):
        expected = f"a directory of certificates under OpenSSL's names; {directory} holds none"
        yield Finding("SSL_CERT_DIR", "", expected, "Run `openssl rehash` on it, or unset it for the system's own.")
    keys = environment.get("SSLKEYLOGFILE", "")
    if keys and not os.access(keys if Path(keys).exists() else Path(keys).parent, os.W_OK):
        expected = f"a file that this user may write; {keys} is none"
        yield Finding("SSLKEYLOGFILE", "", expected, "Unset it, unless somebody has to read TLS along.")


def _file_problem(file: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return "holds none"
    except OSError as error:
        return f"cannot be read: {(error.strerror or 'unknown').lower()}"
    return ""


def _holds_certificates(directory: str) -> bool:
    try:
        return any(_HASHED.fullmatch(each.name) for each in Path(directory).iterdir())
    except OSError:
        return False
