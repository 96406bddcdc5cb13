"""YAML 1.2 as far as it says what JSON can: the core schema's scalars, no aliases, no repeated keys, no tags.

PyYAML reads YAML 1.1, where `1:30` is a number of base 60, `010` is eight, `no` is
false and `2020-01-01` a date; only its grammar is used here. JSON is read alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import yaml
from msgspec import Struct, field

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR = (f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str"))
# From the core schema, YAML 1.2.2, 10.3.2.
_SCALARS = {
    _NULL: re.compile(r"(?:~|null|Null|NULL|)\Z"),
    _BOOL: re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    _INT: re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    _FLOAT: re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
_ALIAS = "alias"  # the tag of what stands for one in the tree
_BASES = {"0o": 8, "0x": 16}
MAX_DIGITS = 400  # a number of more is none that JSON can hold
MAX_DEPTH = 100
MAX_NODES = 50_000
_READABLE = "YAML or JSON, without repeated keys and without aliases"
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # of one character, as JSON escapes it
_Mark = yaml.Mark


class DocumentError(Exception):
    """A text that is no such document: the rule it breaks, and where, counted from 1; 0 when it is not known."""

    def __init__(self, rule: str, line: int = 0, column: int = 0) -> None:
        super().__init__(rule)
        self.rule = rule
        self.line = line
        self.column = column

    @classmethod
    def at(cls, rule: str, mark: _Mark | None) -> DocumentError:
        """With a place as the parser has it."""
        return cls(rule, mark.line + 1, mark.column + 1) if mark else cls(rule)


class Fault(NamedTuple):
    """A part of a document that says what JSON cannot: the rule it breaks, its path and its place, from 1."""

    rule: str
    path: Sequence[str | int]
    line: int
    column: int


class Document(Struct, frozen=True):
    """The value of a document, where its parts stand in the text, and everything in it that JSON cannot say.

    A part with a fault is left out of the value, or stands there as null.
    """

    value: object
    root: yaml.Node | None
    faults: Sequence[Fault] = ()
    parts: dict[int, dict[str, yaml.Node]] = field(default_factory=dict)  # of mappings asked for, by the node's id

    def place(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column, from 1, of the part at a path, or of the innermost part around it that is there."""
        node = self.root
        mark = node.start_mark if node is not None else None
        for step in path:
            node = self._part(node, step)
            if node is None:
                break
            mark = node.start_mark
        return (mark.line + 1, mark.column + 1) if mark else (1, 1)

    def _part(self, node: yaml.Node | None, step: str | int) -> yaml.Node | None:
        match node:
            case yaml.MappingNode():
                if id(node) not in self.parts:  # a mapping with many faults is asked for each of them
                    self.parts[id(node)] = {key.value: inner for key, inner in reversed(node.value)}
                return self.parts[id(node)].get(str(step))
            case yaml.SequenceNode() if isinstance(step, int) and step < len(node.value):
                part: yaml.Node = node.value[step]
                return part
            case _:
                return None


def read_document(text: str) -> Document:
    """The one document in a text, with its faults. Raises DocumentError for what cannot be read at all."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise DocumentError.at(_parsers_words(error), error.problem_mark or error.context_mark) from None
    except yaml.reader.ReaderError as error:
        rule = f"YAML or JSON without the character U+{_number(error.character):04X}"
        before = text[: error.position]
        raise DocumentError(rule, before.count("\n") + 1, error.position - before.rfind("\n")) from None
    except (yaml.YAMLError, RecursionError):
        raise DocumentError(_READABLE) from None
    reading = _Values()
    return Document(reading.value(root, ()) if root is not None else None, root, reading.faults)


def _parsers_words(error: yaml.MarkedYAMLError) -> str:
    """What the parser says, in one line; what it was busy with, and where that begins."""
    problem, context = error.problem or _READABLE, error.context or ""
    if context and error.context_mark:
        context += f" that begins in line {error.context_mark.line + 1}"
    words = f"{context}, {problem}" if problem.startswith("but ") else f"{problem} {context}".strip()
    return f"YAML or JSON that can be parsed: {words}"


def _whole(halves: re.Match[str]) -> str:
    return halves.group().encode("utf-16", "surrogatepass").decode("utf-16")


def _number(character: str | int) -> int:
    return character if isinstance(character, int) else ord(character[:1] or "\0")


class _Loader(yaml.SafeLoader):
    """Grammar and node tree only. The tree is bounded while it grows."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._nodes += 1
        if self.check_event(yaml.AliasEvent):
            alias = self.get_event()  # type: ignore[no-untyped-call]
            return yaml.ScalarNode(_ALIAS, "", alias.start_mark, alias.end_mark)
        if self._depth >= MAX_DEPTH:
            raise DocumentError.at(f"nested at most {MAX_DEPTH} deep", mark)
        if self._nodes > MAX_NODES:
            raise DocumentError.at(f"at most {MAX_NODES} values", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        """The tag of a node without one."""
        if kind is not yaml.ScalarNode:
            return f"{_TAG}{'map' if kind is yaml.MappingNode else 'seq'}"
        if implicit[0]:
            return next((tag for tag, form in _SCALARS.items() if form.match(value)), _STR)
        return _STR


class _Values:
    """Makes values of nodes, and goes on behind a fault: all of a text are told at once."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, path: tuple[str | int, ...]) -> object:
        """The value of a node; None for one with a fault of its own."""
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode(tag="alias"):
                return self._fault("YAML or JSON without aliases: they grow when they are written out", path, node)
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                return self._fault("YAML or JSON without tags", path, node)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, object]:
        made: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                if not self.faults or self.faults[-1][2:] != _place(key_node):  # it has one of its own already
                    self._fault("YAML or JSON whose keys are texts", path, key_node)
            elif key in made:
                self._fault("YAML or JSON without repeated keys", (*path, key), key_node)
            else:
                made[key] = self.value(value_node, (*path, key))
        return made

    def _scalar(self, node: yaml.ScalarNode, path: tuple[str | int, ...]) -> object:
        text, tag = node.value, node.tag
        if tag == _STR:
            return _HALVES.sub(_whole, text)
        if tag not in _SCALARS or not _SCALARS[tag].match(text):
            return self._fault("YAML or JSON without tags", path, node)
        if tag == _NULL:
            return None
        if tag == _BOOL:
            return text.lower() == "true"
        if len(text) > MAX_DIGITS:
            return self._fault(f"numbers of at most {MAX_DIGITS} digits", path, node)
        if tag == _INT:
            return int(text[2:], _BASES[text[:2]]) if text[:2] in _BASES else int(text)
        return float(text.replace(".", "") if text[-1].isalpha() else text)  # .inf, .nan

    def _fault(self, rule: str, path: tuple[str | int, ...], node: yaml.Node) -> object:
        self.faults.append(Fault(rule, path, *_place(node)))
        return None


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
