"""What is seen of the inbox: as many lines as the terminal has rows, none wider than it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from msgspec import Struct
from prompt_toolkit.utils import get_cwidth

from runwright.cli import names
from runwright.cli.approval_table import turn, what
from runwright.cli.approval_text import SHOWN, difference_lines, question_lines
from runwright.cli.escapes import escaped, json_lines
from runwright.cli.grant_words import HOW
from runwright.cli.inbox.state import Approval, Inbox, Mode
from runwright.cli.previous_text import FEW
from runwright.cli.time_left import left
from runwright.wire.snapshots import inline_bytes

PLAIN, BOLD, REVERSE = "", "bold", "reverse"
HELP = """\
j k, arrows     the next one, the one before; Home and End
space, PgDn     more of what is shown; PgUp back
a               approve: the call is made, with exactly these arguments
e               approve with other arguments, which you write in your editor; then y
d               deny: the call is not made; the model is told so, with what you type
r               respond: the call is not made; what you type is its result
g               approve, and give a grant: such calls need nobody from now on
x               the call is not made, and its run ends as failed
b               several at once: the calls of the same tool, executor, agent and risk
m               in such a batch: leave the selected one out, or take it in again
Esc             back
?               this
q, Ctrl-C       leave; nothing is decided by that"""
_KEYS = (
    *("a approve", "e edit", "d deny", "r respond", "x end the run", "g grant"),
    *("b batch", "space more", "j k move"),
)
_BATCH_KEYS = ("a approve all marked", "d deny all marked", "m mark", "space more", "j k move", "b back")
_ALWAYS = "? help  q quit"


class Line(Struct, frozen=True):
    """One line of the screen."""

    text: str
    style: str = PLAIN


class Drawing(Struct, frozen=True):
    """The screen. `page` is how many rows the details have, `scroll` where they begin, `seen` what is wholly shown."""

    lines: list[Line]
    page: int
    scroll: int
    seen: frozenset[str]


def draw(inbox: Inbox, columns: int, rows: int, now: float) -> Drawing:
    """The inbox on a terminal of this size, at this time (seconds since 1970)."""
    listed = inbox.rows()
    height = max(1, min(len(listed), (rows - 4) // 3))
    page = max(1, rows - height - 3)
    lines, digests = _details(inbox, columns, now)
    scroll = max(0, min(inbox.scroll, len(lines) - page))
    is_whole = scroll + page >= len(lines)
    below = len(lines) - scroll - page
    screen = [
        Line(fit(_header(inbox), columns), REVERSE),
        *_rows(inbox, listed, height, columns, now),
        Line(f"---{f' {below} more lines below ' if below > 0 else ''}{'-' * columns}"[:columns]),
        *(Line(line) for line in lines[scroll : scroll + page]),
        *[Line("")] * max(0, page - len(lines)),
        Line(fit(_last(inbox, columns), columns), BOLD if inbox.message or inbox.intent else PLAIN),
    ]
    return Drawing([*screen[: max(0, rows - 1)], screen[-1]][:rows], page, scroll, digests if is_whole else frozenset())


def fit(text: str, columns: int) -> str:
    """The text, cut to so many cells."""
    if get_cwidth(text) <= columns:
        return text
    return wrapped(text, max(1, columns - 1))[0] + "~" if columns > 1 else text[:1]


def wrapped(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many cells; nothing of it is left out. A character of two cells needs two."""
    if text.isascii():
        return [text[start : start + columns] for start in range(0, len(text), columns)] or [""]
    lines: list[str] = []
    line: list[str] = []
    used = 0
    for one in text:
        width = get_cwidth(one)
        if used + width > columns and line:
            lines.append("".join(line))
            line, used = [], 0
        line.append(one)
        used += width
    return [*lines, "".join(line)]


def _header(inbox: Inbox) -> str:
    count = names.counted(len(inbox.pending), "call") if inbox.pending else "no call"
    batch = "" if inbox.marked is None else f", {len(inbox.looked_at())} marked"
    connection = f" -- {escaped(inbox.connection)}" if inbox.connection else ""
    return f"{count} pending{batch}{connection}"


def _rows(inbox: Inbox, listed: Sequence[Approval], height: int, columns: int, now: float) -> Iterator[Line]:
    if not listed:
        yield Line(fit("Nothing waits for you.", columns))
        return
    place = next((at for at, one in enumerate(listed) if one.approval_id == inbox.selected), 0)
    first = max(0, min(place - height // 2, len(listed) - height))
    visible = listed[first : first + height]
    cells = [_cells(one, now) for one in visible]
    widths = [max(map(get_cwidth, column)) for column in zip(*cells, strict=True)]
    for one, row in zip(visible, cells, strict=True):
        is_selected = one.approval_id == inbox.selected
        mark = "" if inbox.marked is None else ("[x] " if one.approval_id in inbox.marked else "[ ] ")
        aligned = "  ".join(cell + " " * (width - get_cwidth(cell)) for cell, width in zip(row, widths, strict=True))
        text = f"{'>' if is_selected else ' '} {mark}{aligned}".rstrip()
        yield Line(fit(text, columns), BOLD if is_selected else PLAIN)


def _cells(one: Approval, now: float) -> list[str]:
    cells = (what(one), one.risk or "-", turn(one), one.approval_id, one.agent_id, one.summary)
    return [f"{left(one, now):>6}", *(escaped(cell) for cell in cells)]


def _details(inbox: Inbox, columns: int, now: float) -> tuple[list[str], frozenset[str]]:
    """The lines of what is looked at, and the digests whose arguments are among them."""
    if inbox.mode is Mode.HELP:
        return [piece for line in HELP.splitlines() for piece in wrapped(line, columns)], frozenset()
    lines = [piece for line in inbox.report for piece in wrapped(escaped(line), columns)]
    shown = inbox.looked_at()
    if shown:
        facts = question_lines(shown[0], now)
        lines += [piece for line in facts for piece in wrapped(line, columns)]
    for one in shown:
        lines += [piece for line in difference_lines(one, FEW) for piece in wrapped(line, columns)]
        name = SHOWN.get(one.kind, "arguments")
        lines.append(fit(f"{name} of {escaped(one.approval_id)}" if len(shown) > 1 else name, columns))
        lines += _arguments(one, columns)
    return lines, frozenset(one.digest for one in shown if one.HasField("arguments_content"))


def _arguments(one: Approval, columns: int) -> Sequence[str]:
    if not one.HasField("arguments_content"):
        return [fit("  (they are asked for)", columns)]
    content = one.arguments_content
    if content.omitted:
        return wrapped(f"  ({content.ref.size} bytes, too many to show here)", columns)
    return _laid_out(inline_bytes(content), columns)


@lru_cache(maxsize=128)
def _laid_out(arguments: bytes, columns: int) -> Sequence[str]:
    text = arguments.decode("utf-8", "replace")
    return [piece for line in json_lines(text) for piece in wrapped(f"  {line}", columns)]


def _last(inbox: Inbox, columns: int) -> str:
    if inbox.mode is Mode.CONFIRM and inbox.intent is not None:
        return f"{escaped(inbox.intent.words)}? y: yes, any other key: no"
    if inbox.mode is Mode.TYPING and inbox.intent is not None:
        if inbox.intent.grants:
            return f"{escaped(inbox.intent.words)}: {HOW}; Enter decides, Esc does not"
        return f"{escaped(inbox.intent.words)}: type the text, Enter decides, Esc does not"
    if inbox.message:
        return escaped(inbox.message)
    return _keys(_KEYS if inbox.marked is None else _BATCH_KEYS, columns)


def _keys(keys: Sequence[str], columns: int) -> str:
    """As many of the keys as fit, and always the one that shows the others, and the one to leave by."""
    shown = ""
    for key in keys:
        if len(shown) + len(key) + 2 + len(_ALWAYS) > columns:
            break
        shown += f"{key}  "
    return shown + _ALWAYS
