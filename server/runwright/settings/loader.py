"""Loads settings: flag before environment before file before default. The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from runwright.settings.fields import FIELDS, Field
from runwright.settings.model import Settings
from runwright.settings.values import DEFAULT, Finding, Value

CONFIG_VARIABLE = "RUNWRIGHT_CONFIG"


class Loaded(Struct, frozen=True):
    """Every setting with its origin, and what is wrong with them. `config` is the file that was read."""

    values: Mapping[str, Value]
    findings: Sequence[Finding]
    config: Path | None = None

    def value(self, name: str) -> object:
        """One setting's value; None when it is required and was not given."""
        found = self.values.get(name)
        return found.value if found else None

    def settings(self) -> Settings:
        """The settings. Raises INVALID_REQUEST with the first finding, and how many more there are."""
        if self.findings:
            error = self.findings[0].error()
            if len(self.findings) > 1:
                error.message += f" ({len(self.findings) - 1} more: `runwright config check` lists all.)"
            raise error
        return _made(self.values)


def load(
    flags: Mapping[str, bool | Sequence[str]], config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Loaded:
    """Reads every source. `flags` are what was given on the command line, by field name; nothing is raised."""
    variables = os.environ if environment is None else environment
    file = config or (Path(variables[CONFIG_VARIABLE]) if variables.get(CONFIG_VARIABLE) else None)
    values = {field.name: Value(field, field.default) for field in FIELDS if not field.required}
    findings: list[Finding] = []
    if file is not None:
        from runwright.settings.config_file import read_config  # noqa: PLC0415 - TOML is for those who have a file

        found, findings = read_config(file)
        values |= found
    for field in FIELDS:
        text = variables.get(field.variable, "")
        if field.name in flags:
            _take(values, findings, field, field.flag, flags[field.name])
        elif text:
            _take(values, findings, field, field.variable, field.kind.split(text))
    # A wrong value in the file is wrong even if a flag covers it; what is missing is missing only then.
    wrong = {finding.key for finding in findings}
    findings += [_missing(field) for field in FIELDS if field.name not in values and field.name not in wrong]
    if not findings:
        findings = [_unfit(values[name], expected) for name, expected in _made(values).problems()]
    in_order = {field.name: values[field.name] for field in FIELDS if field.name in values}
    return Loaded(in_order, findings, file)


def settle_libraries() -> None:
    """Tells libraries what they read from the environment once, when they are loaded, unless somebody said otherwise.

    gRPC writes no lines of its own between those of the log. pydantic does not
    search every installed distribution for plugins, a twentieth of a cold start.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _made(values: Mapping[str, Value]) -> Settings:
    arguments = {name: value.value for name, value in values.items()}
    return Settings(**arguments)  # type: ignore[arg-type]  # each kind reads the type of its field


def _take(
    values: dict[str, Value], findings: list[Finding], field: Field, place: str, given: bool | Sequence[str]
) -> None:
    try:
        value = given if isinstance(given, bool) else field.kind.from_words(list(given))
    except ValueError:
        findings.append(Finding(place, field.name, field.kind.expected, ""))
    else:
        values[field.name] = Value(field, value, place)


def _missing(field: Field) -> Finding:
    remedy = f"Give {field.flag}, set {field.variable}, or write {field.name} into the configuration file."
    return Finding(field.flag, field.name, f"given: {field.kind.expected}", remedy, is_missing=True)


def _unfit(value: Value, expected: str) -> Finding:
    place = value.field.flag if value.origin == DEFAULT else value.origin
    return Finding(place, value.field.name, expected, "", is_missing=not value.value)
