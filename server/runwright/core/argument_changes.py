"""How the arguments of a call differ from those of another: a bounded list of values, each at its JSON pointer.

A walk of our own: a JSON Patch moves and copies values, says nothing of what it removes, and has neither a bound nor a
time. Numbers are compared as their canonical text: what is equal here is equal as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import TypeAlias

from msgspec import Raw, Struct
from msgspec.json import Encoder

MAX_CHANGES = 64
MAX_TEXT_BYTES = 512  # of a pointer, and of a value
MAX_ARGUMENTS_BYTES = 256 * 1024  # of either side; no call has more
_DEEPEST = 64  # levels that are looked into, as many as arguments have; below, a value is another one as a whole
_CONTEXT = 40  # characters that stand before the first one that differs, of texts that are cut

Path: TypeAlias = tuple[str, ...]
_ENCODER = Encoder()


class ArgumentChangeKind(Enum):
    """How a value differs. The numbers are those of `runwright.v1.ArgumentChangeKind`."""

    ADDED = 1
    REMOVED = 2
    CHANGED = 3


class ArgumentChange(Struct, frozen=True, kw_only=True):
    """One value that differs. `before` and `after` are JSON, empty for one that is not there.

    `skipped`: how many characters at the beginning, the same in both texts, are left out of both.
    """

    pointer: str
    kind: ArgumentChangeKind
    before: str
    after: str
    pointer_cut: bool = False
    before_cut: bool = False
    after_cut: bool = False
    skipped: int = 0
    highlighted: bool = False


class ArgumentChanges(Struct, frozen=True):
    """What differs; with `has_more` there is more than that."""

    changes: tuple[ArgumentChange, ...]
    has_more: bool


class _Absent(Enum):
    """In the place of a value that is not there: null is one."""

    ABSENT = 0


_ABSENT = _Absent.ABSENT


class _Difference(Struct, frozen=True):
    path: Path
    old: object
    new: object


def argument_changes(before: bytes, after: bytes, highlight: Sequence[str]) -> ArgumentChanges | None:
    """What differs between two arguments in their canonical form: first at the pointers of `highlight`, in their order.

    The rest follows by its place: names by code point, items by number. None: they are not the arguments of a call,
    which have 256 KiB and 64 levels at most. In time linear in their size, for each level.
    """
    if max(len(before), len(after)) > MAX_ARGUMENTS_BYTES:
        return None
    try:
        old, new = _parsed(before), _parsed(after)
        first = [_path(pointer) for pointer in highlight]
        found = list(islice(_all_differences(old, new, first), MAX_CHANGES + 1))
        changes = tuple(_change(each, first) for each in found[:MAX_CHANGES])
    except (ValueError, RecursionError):
        return None
    return ArgumentChanges(changes, len(found) > MAX_CHANGES)


def _parsed(data: bytes) -> object:
    # Raw is equal to no text, no truth value, and to numbers of the same digits alone.
    return json.loads(data, parse_int=_number, parse_float=_number)


def _number(text: str) -> Raw:
    return Raw(text.encode())


def _all_differences(old: object, new: object, first: Sequence[Path]) -> Iterator[_Difference]:
    highlighted: list[_Difference] = []
    for path in first:
        for each in _differences(path, _at(old, path), _at(new, path)):
            if each not in highlighted:
                # No more of them count than there is room for.
                highlighted += [each] if len(highlighted) <= MAX_CHANGES else []
                yield each
    yield from (each for each in _differences((), old, new) if each not in highlighted)


def _differences(path: Path, old: object, new: object) -> Iterator[_Difference]:
    if old == new:
        return
    is_looked_into = len(path) < _DEEPEST
    if is_looked_into and isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differences((*path, name), old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif is_looked_into and isinstance(old, list) and isinstance(new, list):
        yield from _items(path, old, new)
    else:
        yield _Difference(path, old, new)


def _items(path: Path, old: list[object], new: list[object]) -> Iterator[_Difference]:
    """Of two arrays: what they begin and end with alike is left out, the rest compared item by item."""
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    most = shorter - start
    end = next((at for at in range(most) if old[-1 - at] != new[-1 - at]), most)
    for at in range(start, max(len(old), len(new)) - end):
        one = old[at] if at < len(old) - end else _ABSENT
        other = new[at] if at < len(new) - end else _ABSENT
        yield from _differences((*path, str(at)), one, other)


def _path(pointer: str) -> Path:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _at(value: object, path: Path) -> object:
    """What stands at a path, or ABSENT."""
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _ABSENT
    return value


def _change(found: _Difference, first: Sequence[Path]) -> ArgumentChange:
    old, new, skipped = found.old, found.new, 0
    kind = ArgumentChangeKind.CHANGED
    if old is _ABSENT:
        kind = ArgumentChangeKind.ADDED
    elif new is _ABSENT:
        kind = ArgumentChangeKind.REMOVED
    elif isinstance(old, str) and isinstance(new, str) and (_json(old)[1] or _json(new)[1]):
        skipped = max(0, _alike(old, new) - _CONTEXT)
        old, new = old[skipped:], new[skipped:]
    pointer, pointer_cut = _cut("".join(f"/{_escaped(name)}" for name in found.path).encode())
    before, before_cut = _json(old)
    after, after_cut = _json(new)
    return ArgumentChange(
        pointer=pointer,
        kind=kind,
        before=before,
        after=after,
        pointer_cut=pointer_cut,
        before_cut=before_cut,
        after_cut=after_cut,
        skipped=skipped,
        highlighted=any(found.path[: len(path)] == path for path in first),
    )


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)


def _json(value: object) -> tuple[str, bool]:
    return ("", False) if value is _ABSENT else _cut(_ENCODER.encode(value))


def _cut(text: bytes) -> tuple[str, bool]:
    """The beginning of a text, no character cut in two, and whether there was more."""
    return text[:MAX_TEXT_BYTES].decode("utf-8", "ignore"), len(text) > MAX_TEXT_BYTES
