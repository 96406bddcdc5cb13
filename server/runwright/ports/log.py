"""Where the runtime says what an operator should know."""

from __future__ import annotations

from typing import Protocol


class OperatorLog(Protocol):
    """One line a fact. Never content, never a secret."""

    def info(self, event: str, **fields: object) -> None:
        """Something an operator may want to know."""

    def warning(self, event: str, **fields: object) -> None:
        """Something that works, and may not for long."""

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Something an operator must look at; the traceback goes to the log and nowhere else."""
