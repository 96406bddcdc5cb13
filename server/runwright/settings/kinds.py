"""The kinds of values that settings have: how each is read from text, from TOML, and where paths in it begin."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from runwright.core import allow_list
from runwright.core.allow_list import AllowList
from runwright.core.errors import AgentError, invalid_request
from runwright.core.ids import check_caller_id

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_MOST = 2**63  # no setting is larger; TOML holds numbers of any size


def _as_it_is(value: object, _: Path) -> object:
    return value


class Kind(Struct, frozen=True):
    """A kind of value. The readers raise ValueError for what is not `expected`.

    `words` are what a flag was given, once or more often; `split` makes words
    of an environment variable. `placed` puts relative paths below a directory.
    `example` is one value, as TOML writes it.
    """

    unit: str
    expected: str
    example: str
    from_words: Callable[[list[str]], object]
    from_toml: Callable[[object], object]
    split: Callable[[str], list[str]] = lambda text: [text]
    placed: Callable[[object, Path], object] = _as_it_is
    many: bool = False
    is_switch: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or value.split() != [value]:
        raise ValueError
    return value


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        raise ValueError
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _switch_of_words(words: list[str]) -> bool:
    try:
        return _SWITCH[words[-1].lower()]
    except KeyError:
        raise ValueError from None


def _paths(value: object) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(Path(_text(item)) for item in value)


def _placed_path(value: object, base: Path) -> object:
    return base / value if isinstance(value, Path) else value


def _placed_paths(value: object, base: Path) -> object:
    return tuple(_placed_path(item, base) for item in value) if isinstance(value, tuple) else value


def _address(value: object) -> str:
    host, _, port = _word(value).rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError
    return f"{host}:{port}"


def _collector(value: object) -> str:
    scheme, separator, address = _text(value).partition("://")
    if scheme not in ("http", "https") or not separator or "@" in address:
        raise ValueError
    return f"{scheme}://{_address(address)}"


def _executor(value: object) -> str:
    principal, at, address = _word(value).rpartition("@")
    return f"{_name(principal)}{at}{_address(address)}" if at else _address(address)


def _name(value: object) -> str:
    try:
        return check_caller_id("name", _word(value))
    except AgentError:
        raise ValueError from None


def _addresses(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError
    return {_word(name): _executor(address) for name, address in value.items()}


def _addresses_of_words(words: list[str]) -> Mapping[str, str]:
    pairs = [word.partition("=") for word in words]
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise ValueError
    return _addresses({name: address for name, _, address in pairs})


def _owners(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ValueError
    owners = {}
    for name, values in value.items():
        namespace, slash, executor = _word(name).rpartition("/")
        principals = tuple(values) if isinstance(values, list) else (values,)
        if not all(map(_name, (executor, *principals, *((namespace,) if slash else ())))) or not principals:
            raise ValueError
        owners[str(name)] = principals
    return owners


def _owners_of_words(words: list[str]) -> dict[str, tuple[str, ...]]:
    return _owners(_grouped(words))


def _namespaces(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ValueError
    named = {_name(package): tuple(names) if isinstance(names, list) else (names,) for package, names in value.items()}
    if not all(named.values()):
        raise ValueError
    return {package: tuple(map(_name, names)) for package, names in named.items()}


def _namespaces_of_words(words: list[str]) -> dict[str, tuple[str, ...]]:
    return _namespaces(_grouped(words))


def _grouped(words: list[str]) -> dict[str, list[str]]:
    """`NAME=VALUE` words, the values of each name together."""
    values: dict[str, list[str]] = {}
    for word in words:
        name, _, value = word.partition("=")
        values.setdefault(name, []).append(value)
    return values


def _routes(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(route, str) for route in value.values()):
        raise ValueError
    return {_word(name): str(route) for name, route in value.items()}


def _routes_of_words(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise ValueError
    return _routes({name: route for name, _, route in pairs})


def _allowed(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError
    entries = tuple(str(entry).strip() for entry in value if str(entry).strip() not in ("", "none"))
    AllowList.parse(entries)
    return entries


def bounded(low: float, high: float) -> Callable[[float], float]:
    """Gives a number back if it lies between the two, bounds included."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError
        return value

    return check


def seconds(low: float, high: float) -> Kind:
    """A duration, fractions allowed."""
    check = bounded(low, high)
    expected = f"a number of seconds from {low:g} to {high:g}"
    return Kind(
        "seconds",
        expected,
        f"{max(low, 1):g}",
        lambda words: check(_number(float(words[-1]))),
        lambda v: check(_number(v)),
    )


def whole(unit: str, low: int, high: int | None = None) -> Kind:
    """A whole number, at least `low`."""
    check = bounded(low, 2**63 - 1 if high is None else high)
    expected = f"a whole number of {unit}, " + (f"at least {low}" if high is None else f"from {low} to {high}")
    return Kind(
        unit, expected, str(max(low, 1)), lambda words: int(check(int(words[-1]))), lambda v: int(check(_whole(v)))
    )


def amount(unit: str, low: float, high: float) -> Kind:
    """A number, fractions allowed."""
    check = bounded(low, high)
    expected = f"a number of {unit} from {low:g} to {high:g}"
    return Kind(
        unit, expected, f"{max(low, 1):g}", lambda words: check(_number(float(words[-1]))), lambda v: check(_number(v))
    )


TEXT = Kind("text", "a text that is not empty", '"workspace"', lambda words: _text(words[-1]), _text)
PATH = Kind(
    "path", "a path", '"file"', lambda words: Path(_text(words[-1])), lambda v: Path(_text(v)), placed=_placed_path
)
PATHS = Kind(
    "paths", "a list of paths", '["file"]', _paths, _paths, lambda t: t.split(os.pathsep), _placed_paths, many=True
)
ADDRESS = Kind("host:port", "HOST:PORT", '"127.0.0.1:7760"', lambda words: _address(words[-1]), _address)
ADDRESSES = Kind(
    "name=[principal@]host:port",
    "NAME=[PRINCIPAL@]HOST:PORT, each name once",
    '{desk = "127.0.0.1:7761"}',
    _addresses_of_words,
    _addresses,
    _listed,
    many=True,
)
OWNERS = Kind(
    "[namespace/]name=principal",
    "[NAMESPACE/]NAME=PRINCIPAL, as often as there are principals",
    '{desk = ["billing"]}',
    _owners_of_words,
    _owners,
    _listed,
    many=True,
)
NAMESPACES = Kind(
    "package=namespace",
    "PACKAGE=NAMESPACE, as often as there are namespaces",
    '{desk = ["team-a"]}',
    _namespaces_of_words,
    _namespaces,
    _listed,
    many=True,
)
ROUTES = Kind(
    "kind=KEYENV[@URL]",
    "openai=KEYENV[@URL], anthropic=KEYENV[@URL], ollama=[KEYENV][@URL], or KIND=URL without a key, each once; "
    "KIND-NAME for another one of its kind",
    '{openai = "OPENAI_API_KEY"}',
    _routes_of_words,
    _routes,
    _listed,
    many=True,
)
ALLOWED = Kind(
    "network or host:port",
    f"a list, each entry {allow_list.EXPECTED}; or none",
    '["10.0.0.0/8"]',
    _allowed,
    _allowed,
    lambda t: t.split(","),
    many=True,
)
COLLECTOR = Kind(
    "http[s]://host:port",
    "http://HOST:PORT, or https://HOST:PORT for TLS",
    '"http://127.0.0.1:4317"',
    lambda words: _collector(words[-1]),
    _collector,
)
SWITCH = Kind("true or false", "true or false", "true", _switch_of_words, _switch, is_switch=True)


def parse_executors(values: list[str]) -> dict[str, str]:
    """`NAME=HOST:PORT` options as a mapping. Raises INVALID_REQUEST for another form."""
    try:
        return dict(_addresses_of_words(values))
    except ValueError:
        raise invalid_request("--executor", ADDRESSES.expected, "Write it as in desk=127.0.0.1:7761.") from None
