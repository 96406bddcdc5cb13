"""Commands that are loaded when they are called, so that starting the server does not load the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


class LazyCommands(MutableMapping[str, Any]):  # of typer's commands, a type it does not export
    """Commands by name, in the order of the help, each made when it is first looked at.

    A place is `module:name`, of a function or of a group of commands.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._found: dict[str, Any] = dict(places)

    def __getitem__(self, name: str) -> Any:
        found = self._found[name]
        if isinstance(found, str):
            found = self._found[name] = _made(name, found)
        return found

    def __setitem__(self, name: str, command: Any) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def lazy_group(places: Mapping[str, str]) -> type[TyperGroup]:
    """A kind of group for `typer.Typer(cls=…)` that has these commands."""

    class LazyGroup(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.commands = LazyCommands(places)

    return LazyGroup


def _made(name: str, place: str) -> Any:
    target = resolve_name(place)
    around = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if isinstance(target, typer.Typer):
        around.add_typer(target, name=name)
    else:
        around.command(name)(target)
    return get_group(around).commands[name]
