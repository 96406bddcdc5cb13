"""The flags of a server's settings, made from their table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from runwright.settings import FIELDS, Field, Loaded, load

_CONFIG = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Configuration file (TOML). [env: RUNWRIGHT_CONFIG]"),
]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is what was loaded, called with `--config` and a flag for every setting."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    names = {field.name for field in FIELDS}

    def called(**options: Any) -> None:
        flags = {name: _words(value) for name, value in options.items() if name in names and value is not None}
        rest = {name: value for name, value in options.items() if name not in names and name != "config"}
        loaded: Loaded = load(flags, options["config"])
        command(loaded, **rest)

    parameters = [_parameter("config", _CONFIG), *(_parameter(field.name, _flag(field)) for field in FIELDS), *own]
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
    called.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]  # where inspect looks first
    return called


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag(field: Field) -> Any:
    more = " Repeat for more." if field.kind.many else ""
    text = f"{field.says}{more} [{field.default_text if field.required else 'default: ' + field.default_text}]"
    if field.kind.is_switch:
        return Annotated[bool | None, typer.Option(f"{field.flag}/--no-{field.flag[2:]}", help=text)]
    option = typer.Option(field.flag, metavar=field.kind.unit.upper(), help=text)
    return Annotated[list[str] | None, option] if field.kind.many else Annotated[str | None, option]


def _words(value: Any) -> bool | list[str]:
    return value if isinstance(value, bool | list) else [value]
