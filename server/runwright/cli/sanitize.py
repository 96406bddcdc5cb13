"""Text of models, tools and users, made fit for a terminal: it must not move the cursor or reorder what is read."""

from __future__ import annotations

import re

# C0 with ESC, DEL and C1; then the marks that change the direction of writing, line separators, lone surrogates.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_IN_BLOCKS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Of what is printed, tabs stay, which completion scripts have, and surrogates, which the stream escapes.
_UNFIT_IN_OUTPUT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# No excerpt shows more; a result of a megabyte need not be read to its end for one line.
_EXCERPT = 2_000


def line(text: str, *, most: int | None = _EXCERPT) -> str:
    """One line without control characters, of so many characters at most; white space of any kind becomes one space."""
    return _UNFIT.sub("", " ".join(text[:most].split())).strip()


def block(text: str) -> str:
    """Lines without control characters; tabs become spaces."""
    return _UNFIT_IN_BLOCKS.sub("", text.replace("\t", "    "))


def output(text: str) -> str:
    """What is about to be printed, in lines, without control characters."""
    return _UNFIT_IN_OUTPUT.sub("", text)


def fit(text: str, width: int) -> str:
    """Cuts a line to `width` terminal cells, saying so with dots."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - the server writes no tables

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 3)).rstrip() + "..."[:width]


def decoded(data: bytes) -> str:
    """Bytes as text; what is not UTF-8 shows as replacement characters."""
    return data.decode("utf-8", "replace")
