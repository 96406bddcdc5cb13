"""How real models are reached: what must never be in a package."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from msgspec import Struct

from runwright.core.errors import AgentError, invalid_request
from runwright.core.loopback import is_loopback
from runwright.core.near import did_you_mean
from runwright.settings.kinds import ROUTES

DEFAULT_PROVIDER_TIMEOUT_SECONDS = 120.0
ProviderKind: TypeAlias = Literal["openai", "anthropic", "ollama"]
_NAME = re.compile(r"(openai|anthropic|ollama)(-[a-z0-9][a-z0-9-]{0,31})?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """How real models of one kind are reached: what must never be in a package. The key itself is not here."""

    kind: ProviderKind
    base_url: str | None = None  # None: the vendor's own
    key_variable: str | None = None  # name of the environment variable that holds the key
    timeout_seconds: float = DEFAULT_PROVIDER_TIMEOUT_SECONDS  # of one whole request

    def key(self) -> str | None:
        """The key, read from the environment now. Raises INVALID_REQUEST if it is not there."""
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            whose = urlsplit(self.base_url).hostname if self.base_url else self.kind
            raise invalid_request(
                "--provider",
                f"given with an environment variable that holds a key; {self.key_variable} does not",
                f"export {self.key_variable}=… with the key of {whose} before the server is started.",
            )
        return key


def parse_providers(values: list[str], timeout_seconds: float) -> dict[str, ProviderSettings]:
    """`NAME=KEYENV[@URL]` options as a mapping by name. Raises INVALID_REQUEST for another form."""
    try:
        return provider_routes(ROUTES.from_words(values), timeout_seconds)
    except ValueError:
        raise _malformed("") from None


def provider_routes(routes: object, timeout_seconds: float) -> dict[str, ProviderSettings]:
    """Routes `KEYENV[@URL]`, or `URL`, by the adapter's name: a kind, or a kind and a name of its own, `openai-eu`.

    Raises INVALID_REQUEST for another form. The value is never repeated: somebody may have put the key itself there.
    """
    providers: dict[str, ProviderSettings] = {}
    for name, rest in routes.items() if isinstance(routes, Mapping) else ():
        kind = _kind(name)
        if rest.startswith(("http://", "https://")):
            variable, at, url = "", "@", rest
        else:
            variable, at, url = rest.partition("@")
            key_is_named = bool(_VARIABLE.fullmatch(variable)) or (kind == "ollama" and not variable)
            kind = kind if key_is_named else None
        if kind is None or (at and not url):
            raise _malformed(name)
        if url and not _may_be_called(url, with_key=bool(variable)):
            raise invalid_request(
                "--provider",
                "given an https:// URL without user, query and fragment; http:// goes to loopback, or without a key",
                "Write it as in openai=OPENAI_API_KEY@https://models.example/v1, the key in the variable alone.",
            )
        providers[name] = ProviderSettings(
            kind=kind, base_url=url or None, key_variable=variable or None, timeout_seconds=timeout_seconds
        )
    return providers


def _kind(name: str) -> ProviderKind | None:
    found = _NAME.fullmatch(name)
    match found.group(1) if found else None:
        case "openai" | "anthropic" | "ollama" as kind:
            return kind
        case _:
            return None


def _may_be_called(url: str, *, with_key: bool) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in url or parts.query or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (not with_key or is_loopback(host)))


def _malformed(name: str) -> AgentError:
    remedy = (
        did_you_mean(name, get_args(ProviderKind))
        + "Write it as in openai=OPENAI_API_KEY, the name of the variable that holds the key."
    )
    return invalid_request("--provider", ROUTES.expected, remedy)
