"""A tree as lines for a terminal: ASCII, within the width, states as words; colour only repeats what they say."""

from __future__ import annotations

from msgspec import Struct
from rich.cells import set_cell_size
from rich.text import Text

from runwright.cli import names, sanitize
from runwright.cli.tree import Call, Round, RunTree, State, Step

_STYLES = {
    State.RUNNING: "cyan",
    State.WAITING: "yellow",
    State.DONE: "green",
    State.FAILED: "red",
    State.DENIED: "magenta",
    State.CANCELLING: "yellow",
    State.CANCELLED: "yellow",
    State.UNKNOWN: "bold red",
}
_STATE_WIDTH = 11
# The state, elapsed time (8) and attempt or tokens, right of the label.
_DETAILS_WIDTH = 36


class Row(Struct, frozen=True):
    """One line: what it is about, where that stands, and numbers. Only the label holds text of models and users."""

    label: str
    state: State | None = None
    details: str = ""


def rows(tree: RunTree, now: float) -> list[Row]:
    """The tree from top to bottom; `now` (seconds since 1970) is what running steps are timed with."""
    about = ", ".join(part for part in (tree.agent, tree.model) if part)
    title = f"run {tree.run_id}" + (f" ({about})" if about else "")
    title += f": {tree.note}" if tree.state is State.WAITING else ""
    lines = [Row(title) if tree.state is State.REQUESTED else _row(title, tree, now)]
    if tree.earlier:
        lines.append(Row(f"sees: {names.counted(tree.earlier, 'earlier turn')} of the session"))
    if tree.question:
        lines.append(Row(f"turn: {tree.question}"))
    for number in list(tree.rounds):
        lines += _round_rows(tree.rounds[number], now)
    return lines


def text(row: Row, width: int) -> Text:
    """A row for rich, cut to `width` cells. Never markup: labels hold text of models and users."""
    if row.state is None:
        return Text(sanitize.fit(sanitize.line(row.label), width))
    details = min(_DETAILS_WIDTH, width // 2)
    space = width - details - 1
    line = Text(set_cell_size(sanitize.fit(_indented(row.label), space), space) + " ")
    line.append(f"{row.state:<{_STATE_WIDTH}}", style=_STYLES.get(row.state, ""))
    line.append(sanitize.fit(row.details, max(0, details - _STATE_WIDTH)))
    line.truncate(width)
    return line


def delta_text(tree: RunTree) -> str:
    """The text of the model that is answering, fit for a terminal; empty when none is."""
    for number in reversed(list(tree.rounds)):
        step = tree.rounds[number]
        if step.state is State.RUNNING and step.delta_text.attempt == step.attempt:
            return sanitize.block(step.delta_text.tail).strip("\n")
    return ""


def _indented(label: str) -> str:
    """The cleaned label with its own indentation, which cleaning alone would take away."""
    bare = label.lstrip(" ")
    return " " * (len(label) - len(bare)) + sanitize.line(bare)


def _round_rows(step: Round, now: float) -> list[Row]:
    tokens = f"{step.tokens[0]}+{step.tokens[1]} tokens" if any(step.tokens) else ""
    label = f"|- round {step.number}: model" + (f": {step.note}" if step.note else "")
    return [_row(label, step, now, tokens), *(_call_row(call, now) for call in list(step.calls.values()))]


def _call_row(call: Call, now: float) -> Row:
    attempt = f"attempt {call.attempt}" if call.attempt else ""
    label = f"   |- {call.effect_id} {call.tool} {call.arguments}".rstrip()
    why = call.note if call.state not in (State.RUNNING, State.DONE) else ""
    return _row(f"{label}: {why}" if why else label, call, now, attempt)


def _row(label: str, step: Step, now: float, more: str = "") -> Row:
    return Row(label, step.state, f"{names.elapsed(step.elapsed(now)):<7} {more}".rstrip())
