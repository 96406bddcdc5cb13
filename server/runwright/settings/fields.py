"""The rows of the settings table, as the loader, the flags and the documentation read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from runwright.settings.kinds import Kind
from runwright.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: its names in file, environment and on the command line, and what it is."""

    name: str
    flag: str
    variable: str
    kind: Kind
    says: str
    default: object
    absent: str
    secret: bool
    required: bool

    @property
    def default_text(self) -> str:
        """The default in words."""
        if self.required:
            return "required"
        return self.absent or shown(self.default) or "none"

    def example(self, place: str) -> str:
        """A value of this setting as it is written at a place: behind its flag, in its variable or in a file."""
        if not place.startswith(("--", "RUNWRIGHT_")):
            return f"{self.name} = {self.kind.example}"
        words = self.kind.example.strip('[]{}"').replace(" = ", "=").replace('"', "").replace("[", "")
        if place == self.variable:
            return f"{place}={words}"
        return place if self.kind.is_switch else f"{place} {words}"


def _fields() -> tuple[Field, ...]:
    rows = []
    for one in fields(Settings):
        meta = one.metadata
        required = one.default is MISSING and one.default_factory is MISSING
        rows.append(
            Field(
                name=one.name,
                flag=meta["flag"] or f"--{one.name.replace('_', '-')}",
                variable=f"RUNWRIGHT_{one.name.upper()}",
                kind=meta["kind"],
                says=meta["says"],
                default=one.default_factory() if one.default_factory is not MISSING else one.default,
                absent=meta["absent"],
                secret=meta["secret"],
                required=required,
            )
        )
    return tuple(rows)


FIELDS = _fields()


def plain(value: object) -> object:
    """A value as JSON has it."""
    match value:
        case Path():
            return str(value)
        case tuple():
            return [plain(item) for item in value]
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case _:
            return value


def shown(value: object) -> str:
    """A value in one line; nothing for None and what is empty."""
    match plain(value):
        case None:
            return ""
        case bool() as switch:
            return str(switch).lower()
        case list() as items:
            return ", ".join(str(item) for item in items)
        case dict() as pairs:
            several = ((key, item if isinstance(item, list) else [item]) for key, item in pairs.items())
            return ", ".join(f"{key}={item}" for key, items in several for item in items)
        case str() as text:
            return text
        case number:
            return json.dumps(number)
