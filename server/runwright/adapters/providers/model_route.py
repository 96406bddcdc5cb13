"""Where real models of one kind are reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

ModelKind: TypeAlias = Literal["openai", "anthropic", "ollama"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """Where a kind of model is reached, and with which key: what a package must not know."""

    kind: ModelKind
    adapter: str  # the name packages use
    base_url: str | None = None  # None: the vendor's own
    key: str | None = field(default=None, repr=False)
    key_variable: str | None = None  # where the key came from, for people
    timeout_seconds: float = 120.0  # of one whole request
