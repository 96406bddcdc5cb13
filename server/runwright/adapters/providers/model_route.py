"""Where real models of one kind are reached."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

ModelKind: TypeAlias = Literal["openai", "anthropic", "ollama"]


class ModelRoute(Struct, frozen=True, kw_only=True):
    """Where a kind of model is reached, and with which key: what a package must not know."""

    kind: ModelKind
    adapter: str  # the name packages use
    base_url: str | None = None  # None: the vendor's own
    key: str | None = None
    key_variable: str | None = None  # where the key came from, for people
    timeout_seconds: float = 120.0  # of one whole request

    def __repr__(self) -> str:  # never the key
        return f"ModelRoute({self.kind}, {self.adapter}, {self.base_url})"
