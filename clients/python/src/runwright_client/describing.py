"""What a server of tools says of them: over the wire to whoever writes a package, and when it registers itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ._gen.runwright.callback import v1 as pb
from ._gen.runwright.v1 import EffectClass
from .authored import EFFECTS
from .fingerprints import canonical_json, schema_digest
from .tools import Tool

_EFFECTS = {
    "": EffectClass.UNSPECIFIED,
    "read": EffectClass.READ,
    "write": EffectClass.WRITE,
    "process": EffectClass.PROCESS,
    "network": EffectClass.NETWORK,
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """A tool as its host knows it; `parameters` and `idempotent` are None, `effect` empty, where it does not say."""

    name: str
    description: str = ""
    effect: str = ""
    idempotent: bool | None = None
    parameters: Mapping[str, Any] | None = None
    reconcilable: bool = False

    def __post_init__(self) -> None:
        if self.effect and self.effect not in EFFECTS:
            raise ValueError(f"tool {self.name}: effect={self.effect!r} is none of {', '.join(EFFECTS)}")
        if self.parameters is not None:
            schema_digest(self.parameters)  # refuses what has none

    @classmethod
    def of(cls, tool: Tool[..., Any]) -> Declaration:
        """What a typed function says of itself."""
        return cls(
            tool.name, tool.description, tool.effect, tool.idempotent, tool.schema(), tool.reconciler is not None
        )

    def entry(self, executor: str) -> dict[str, Any]:
        """What a package says of it, in its list `tools`."""
        effect = self.effect or "write"
        return {
            "name": self.name,
            "description": self.description,
            "executor": executor,
            "effect": effect,
            "idempotent": effect == "read" if self.idempotent is None else self.idempotent,
            "parameters": self.parameters,
            **({"reconcilable": True} if self.reconcilable else {}),
        }

    def described(self) -> pb.ToolDescription:
        """The same over the wire."""
        told = pb.ToolDescription(
            name=self.name, description=self.description, effect=_EFFECTS[self.effect], idempotent=self.idempotent
        )
        if self.idempotent is None and self.effect:
            told.idempotent = self.effect == "read"
        if self.parameters is not None:
            told.parameters_schema_json = canonical_json(self.parameters)
            told.schema_digest = schema_digest(self.parameters)
        return told


def digests(declared: Iterable[Declaration]) -> list[pb.ToolDigest]:
    """The schema digest of every tool that has a schema, by name."""
    return [
        pb.ToolDigest(tool=one.name, schema_digest=schema_digest(one.parameters))
        for one in sorted(declared, key=lambda one: one.name)
        if one.parameters is not None
    ]
