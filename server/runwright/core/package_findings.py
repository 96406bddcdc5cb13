"""What is wrong with a package, as a value: where, which rule, and what to write instead."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

WHOLE = "document"  # the path of what is wrong with a text as a whole


class FindingRule(Enum):
    """Which rule is broken; the values are what callers may rely on."""

    SYNTAX = "syntax"  # no YAML or JSON as far as it is read here
    SIZE = "size"
    UNKNOWN_FIELD = "unknown_field"
    LATER_FIELD = "later_field"
    REQUIRED = "required"
    TYPE = "type"
    RANGE = "range"
    LENGTH = "length"
    PATTERN = "pattern"
    CHOICE = "choice"
    UNIQUE = "unique"
    NUMBER = "number"
    SCHEMA = "schema"
    VALUE = "value"


class PackageFinding(Struct, frozen=True, kw_only=True):
    """One fault of one package.

    `path` are the steps from the top joined by dots, `document` for the whole. `line` and `column` count from 1; 0
    where the package did not come from a text. `expected` is the rule in words, without a full stop. `meant` is the
    known word that is nearest to an unknown one, or empty.
    """

    path: str
    rule: FindingRule
    expected: str
    remedy: str
    line: int = 0
    column: int = 0
    meant: str = ""

    @property
    def place(self) -> str:
        """Line and column in words; empty when they are not known."""
        return f"line {self.line}, column {self.column}" if self.line else ""
