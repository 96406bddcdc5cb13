"""Commands that are loaded when they are called, so that starting the server does not load the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from inspect import signature
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from runwright.cli.connection import has_connection, takes_connection


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
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = LazyCommands(places)

    return LazyGroup


def _calls_a_server(command: Callable[..., None]) -> bool:
    parameters = signature(command).parameters
    return "context" in parameters and not has_connection(parameters)


def _take_connection(group: typer.Typer) -> None:
    """Lets a group whose commands call a server take the options of the connection, and each of the commands."""
    found = [info for info in group.registered_commands if info.callback and _calls_a_server(info.callback)]
    for info in found:
        assert info.callback is not None
        info.callback = takes_connection(info.callback)
    if found and group.registered_callback is None:

        def nothing(context: typer.Context) -> None:
            pass

        group.callback()(takes_connection(nothing))


def _made(name: str, place: str) -> Any:
    target = resolve_name(place)
    around = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if isinstance(target, typer.Typer):
        _take_connection(target)
        around.add_typer(target, name=name)
    else:
        around.command(name)(takes_connection(target) if _calls_a_server(target) else target)
    return get_group(around).commands[name]
