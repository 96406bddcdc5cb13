"""Loads settings: flag before environment before file before default. The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from runwright.core.near import nearest
from runwright.settings.fields import FIELDS, Field
from runwright.settings.model import Settings, Unfit
from runwright.settings.values import DEFAULT, Finding, Value

CONFIG_VARIABLE = "RUNWRIGHT_CONFIG"
_PREFIX = "RUNWRIGHT_"
# Those of the commands that call a server; TLS_CERT and TLS_KEY are settings as well.
_OTHER_VARIABLES = (
    CONFIG_VARIABLE,
    "RUNWRIGHT_SERVER",
    "RUNWRIGHT_KEY",
    "RUNWRIGHT_TLS_CA",
    "RUNWRIGHT_CALLBACK_CREDENTIAL",
)


class Loaded(Struct, frozen=True):
    """Every setting with its origin, and what is wrong with them. `config` is the file that was read.

    `warnings` are what a server can be started with all the same. `again` reads every source once more; it blocks.
    """

    values: Mapping[str, Value]
    findings: Sequence[Finding]
    again: Callable[[], Loaded]
    config: Path | None = None
    warnings: Sequence[Finding] = ()

    def value(self, name: str) -> object:
        """One setting's value; None when it is required and was not given."""
        found = self.values.get(name)
        return found.value if found else None

    def settings(self) -> Settings:
        """The settings. Raises INVALID_REQUEST with the first finding, and how many more there are."""
        if self.findings:
            error = self.findings[0].error()
            if len(self.findings) > 1:
                error.remedy += f" ({len(self.findings) - 1} more: `runwright config check` lists all.)"
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
    findings += _among(values, findings)
    if "providers" in values and values["providers"].value:
        findings += _outbound(values["providers"].value, variables)
    in_order = {field.name: values[field.name] for field in FIELDS if field.name in values}
    misspelled = [_misspelled(name, meant) for name, meant in _near_variables(variables)]
    return Loaded(in_order, findings, partial(load, flags, config, environment), file, misspelled)


def settle_libraries() -> None:
    """Tells libraries what they read from the environment once, when they are loaded, unless somebody said otherwise.

    gRPC writes no lines of its own between those of the log. pydantic does not
    search every installed distribution for plugins, a twentieth of a cold start.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _among(values: Mapping[str, Value], findings: Sequence[Finding]) -> Iterator[Finding]:
    """What is missing, and what goes badly together."""
    # A wrong value in the file is wrong even if a flag covers it; what is missing is missing only then.
    wrong = {finding.key for finding in findings}
    if "" in wrong:
        return  # the file cannot be read at all, and may have what seems to be missing
    missing = [field for field in FIELDS if field.name not in values and field.name not in wrong]
    yield from map(_missing, missing)
    # What is wrong in itself is not said to go badly with the rest as well.
    wrong |= {field.name for field in missing}
    for unfit in _whole(values).problems():
        if not wrong & {unfit.name, *unfit.beside}:
            yield _unfit(values[unfit.name], unfit)


def _near_variables(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that nothing reads and that look like one of ours, with the one that was meant."""
    known = [name.removeprefix(_PREFIX) for name in (*(field.variable for field in FIELDS), *_OTHER_VARIABLES)]
    for name in variables:
        bare = name.removeprefix(_PREFIX)
        if bare != name and bare not in known and (meant := nearest(bare, known)):
            yield name, _PREFIX + meant


def _misspelled(name: str, meant: str) -> Finding:
    return Finding(name, "", "a variable that is read", f"Did you mean {meant}?")


def _whole(values: Mapping[str, Value]) -> Settings:
    """The settings; what is missing, which is said elsewhere, as some value."""
    return _made({**{field.name: Value(field, field.default) for field in FIELDS}, **values})


def _made(values: Mapping[str, Value]) -> Settings:
    arguments = {name: value.value for name, value in values.items()}
    return Settings(**arguments)  # type: ignore[arg-type]  # each kind reads the type of its field


def _outbound(providers: object, variables: Mapping[str, str]) -> list[Finding]:
    from runwright.settings.outbound import outbound_findings  # noqa: PLC0415 - TLS is for those who ask real models

    return list(outbound_findings(providers, variables))


def _take(
    values: dict[str, Value], findings: list[Finding], field: Field, place: str, flag_value: bool | Sequence[str]
) -> None:
    try:
        value = flag_value if isinstance(flag_value, bool) else field.kind.from_words(list(flag_value))
    except ValueError:
        findings.append(Finding(place, field.name, field.kind.expected, f"Write it as in `{field.example(place)}`."))
    else:
        values[field.name] = Value(field, value, place)


def _missing(field: Field) -> Finding:
    remedy = f"Give {field.flag}, set {field.variable}, or write {field.name} into the configuration file."
    return Finding(field.flag, field.name, f"given: {field.kind.expected}", remedy, is_missing=True)


def _unfit(value: Value, unfit: Unfit) -> Finding:
    place = value.field.flag if value.origin == DEFAULT else value.origin
    return Finding(place, value.field.name, unfit.expected, unfit.remedy, is_missing=not value.value)
