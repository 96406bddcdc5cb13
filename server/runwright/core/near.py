"""Near misses: which known word somebody meant who wrote another. Every "did you mean" comes from here."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

LONGEST_WORD = 128  # characters; longer ones are cut before they are compared
MOST_KNOWN = 500  # words; comparing takes some microseconds for each


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like `word`, whatever its case; empty when none is near."""
    import difflib  # noqa: PLC0415 - only who makes a mistake waits for it

    by_folded = {candidate.casefold(): candidate for candidate in islice(known, MOST_KNOWN)}
    folded = word[:LONGEST_WORD].casefold()
    found = difflib.get_close_matches(folded, by_folded, n=1)
    return by_folded[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question to put before a remedy, with a space behind it; empty when no known word is near."""
    meant = nearest(word, known)
    return f"Did you mean {meant}? " if meant and meant != word else ""
