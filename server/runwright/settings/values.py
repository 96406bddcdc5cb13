"""A loaded value with its origin, and what is wrong with one."""

from __future__ import annotations

from msgspec import Struct

from runwright.core.errors import AgentError, invalid_request
from runwright.settings.fields import Field, plain, shown

DEFAULT = "default"


class Value(Struct, frozen=True):
    """One setting as it will be used, and where it came from: a flag, a variable, a file or the default."""

    field: Field
    value: object
    origin: str = DEFAULT

    @property
    def text(self) -> str:
        """The value in one line, or that it is secret."""
        if self.field.secret:
            return "(secret)" if self.value is not None else "-"
        return shown(self.value) or (f"({self.field.absent})" if self.field.absent else "-")

    @property
    def plain(self) -> object:
        """The value as JSON has it, or that it is secret."""
        return "(secret)" if self.field.secret and self.value is not None else plain(self.value)


class Finding(Struct, frozen=True):
    """A setting that cannot be used: where it was given, what was expected, what to do.

    `is_missing`: it was not given at all, which only a server minds.
    """

    place: str
    key: str
    expected: str
    remedy: str
    is_missing: bool = False

    @property
    def message(self) -> str:
        """One sentence."""
        names_itself = not self.key or self.place.startswith(("--", "RUNWRIGHT_"))
        return f"{self.place if names_itself else f'{self.place}, {self.key}:'} must be {self.expected}."

    def error(self) -> AgentError:
        """The exception that says it."""
        return invalid_request(self.place, self.expected, self.remedy, message=self.message)
