"""What a condition may be, and how much work it can make at most: found from its text, never by evaluating it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct
from pydantic import JsonValue

MAX_NESTED_MACROS = 2
_TOKEN = re.compile(
    r"""(?P<raw>[bB]?[rR][bB]?(?:\"{3}.*?\"{3}|\'{3}.*?\'{3}|"[^"\n]*"|'[^'\n]*'))
    |(?P<text>[bB]?(?:"{3}(?:\\.|.)*?"{3}|'{3}(?:\\.|.)*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<comment>//)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9]+)
    |(?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)
_MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
_WEAKER = frozenset({"?", ":", "&", "|", "=", "<", ">", "!", "in"})  # than `+`: what begins or is such an operator
# A pattern whose automaton is small whatever it is matched with: short, no counted repetition, no class with a name.
_LONGEST_PATTERN = 66
_PLAIN_PATTERN = re.compile(r"""["'](?:[^"'\\{(]|\((?!\?))*["']""")
_MATCHES_UNITS = 300


class ConditionCost(Struct, frozen=True):
    """What makes a condition dear. `tokens` of its text, macros one inside the other, and in all."""

    tokens: int
    nested_macros: int
    macros: int
    has_comment: bool
    adds: bool  # texts may grow with every `+`
    patterns: int
    has_dear_pattern: bool
    bound_names: frozenset[str]  # by macros

    def units(self, values: int, size: int) -> int | None:
        """About how many microseconds it may take over variables of so many values and bytes; None: no bound is known.

        An element of a list that a macro goes through may come from the variables or stand in the condition.
        """
        if self.has_dear_pattern or self.macros > MAX_NESTED_MACROS:
            return None
        once = self.tokens * self.tokens if self.adds else self.tokens
        elements = values + self.tokens
        return (once + self.patterns * _MATCHES_UNITS) * int(elements**self.macros) * (1 + size // 1024)


def _is_plain(pattern: str) -> bool:
    return len(pattern) <= _LONGEST_PATTERN and _PLAIN_PATTERN.fullmatch(pattern) is not None


def tokens_of(condition: str) -> list[tuple[str, str]]:
    """The tokens of a condition, each with its kind: raw, text, comment, name, number or other."""
    return [(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(condition)]


def count_values(value: JsonValue | Mapping[str, JsonValue]) -> int:
    """How many values there are, the containers counted."""
    count, level = 0, [dict(value) if isinstance(value, Mapping) else value]
    while level:
        part = level.pop()
        count += 1
        if isinstance(part, dict):
            level += part.values()
        elif isinstance(part, list):
            level += part
    return count


def divided_at_plus(condition: str) -> list[str]:
    """The operands of the outermost `+` of a condition that is CEL; all of it where another operator binds weaker."""
    depth, begin, parts = 0, 0, list[str]()
    for match in _TOKEN.finditer(condition):
        token = match.group()
        if token in ("(", "[", "{"):
            depth += 1
        elif token in (")", "]", "}"):
            depth -= 1
        elif depth == 0 and token in _WEAKER:
            return [condition]
        elif depth == 0 and token == "+":
            parts.append(condition[begin : match.start()])
            begin = match.end()
    return [*parts, condition[begin:]]


def fields_of(condition: str) -> list[tuple[str, str]]:
    """Each `NAME.FIELD` of a condition where NAME is the field of nothing and FIELD is no method that is called."""
    tokens = [("other", ""), *tokens_of(condition), ("other", "")]
    return [
        (name[1], field[1])
        for before, name, dot, field, after in zip(tokens, tokens[1:], tokens[2:], tokens[3:], tokens[4:], strict=False)
        if before[1] != "." and (name[0], dot[1], field[0]) == ("name", ".", "name") and after[1] != "("
    ]


@lru_cache(maxsize=4096)
def cost_of(condition: str) -> ConditionCost:
    """How dear a condition may be."""
    tokens = tokens_of(condition)
    open_macros: list[bool] = []
    bound: set[str] = set()
    nested = macros = patterns = 0
    is_dear = False
    for index, (_, token) in enumerate(tokens):
        if token == "(":
            name = tokens[index - 1][1] if index else ""
            is_method = index > 1 and tokens[index - 2][1] == "."
            if name == "matches":
                patterns += 1
                argument = tokens[index + 1 : index + 3]
                is_plain = len(argument) == 2 and argument[1][1] == ")" and _is_plain(argument[0][1])
                is_dear = is_dear or not is_plain
            open_macros.append(is_method and name in _MACROS)
            macros += open_macros[-1]
            if open_macros[-1] and index + 1 < len(tokens):
                bound.add(tokens[index + 1][1])
            nested = max(nested, sum(open_macros))
        elif token == ")" and open_macros:
            open_macros.pop()
    return ConditionCost(
        tokens=len(tokens),
        nested_macros=nested,
        macros=macros,
        has_comment=any(kind == "comment" for kind, _ in tokens),
        adds=any(token == "+" for _, token in tokens),
        patterns=patterns,
        has_dear_pattern=is_dear,
        bound_names=frozenset(bound),
    )
