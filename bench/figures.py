"""A figure: one ratio or counter, what it must reach, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True)
class Goal:
    """What is measured and what it must reach. `gate` None: shown only, nothing is asked of it."""

    id: str
    what: str
    unit: str  # "%", "×" or "" for a counter
    gate: float | None = None
    goal: float | None = None
    more_is_better: bool = False

    def reaches(self, value: float, bound: float) -> bool:
        """True when the value is on the right side of the bound."""
        return value >= bound if self.more_is_better else value <= bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: a value per round, and both sides of the ratio in words."""

    goal: Goal
    values: Sequence[float]
    detail: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """`goal`, `gate` or `SHORT`; `-` where nothing is asked."""
        of = self.goal
        if of.gate is None or of.goal is None:
            return "-"
        if of.reaches(self.value, of.goal):
            return "goal"
        return "gate" if of.reaches(self.value, of.gate) else "SHORT"

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        of = self.goal
        spread = f"{_number(min(self.values))} – {_number(max(self.values))}" if len(self.values) > 1 else ""
        requested = f"{_number(of.gate)} / {_number(of.goal)}" if of.gate is not None and of.goal is not None else ""
        return of.id, of.what, f"{_number(self.value)} {of.unit}".strip(), spread, requested, self.verdict, self.detail


HEAD = ("", "what", "value", "spread", "gate / goal", "", "measured")


def table(figures: Sequence[Figure]) -> str:
    """All figures, as Markdown that is readable as it stands."""
    rows = [HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def ratios(ours: Sequence[float], ceilings: Sequence[float]) -> list[float]:
    """Ours ÷ ceiling, round by round."""
    return [our / ceiling for our, ceiling in zip(ours, ceilings, strict=True)]


def percent(values: Sequence[float]) -> list[float]:
    """Ratios in hundredths."""
    return [100 * value for value in values]


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that at least that share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
