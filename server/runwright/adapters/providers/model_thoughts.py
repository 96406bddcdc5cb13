"""Thoughts within the text: models without a field for them write `<think>…</think>` before their answer."""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class Thoughts:
    """Parts thoughts from the answer, in whatever pieces both come.

    Only a text that begins with the opening tag is parted: further on, a tag
    is something the model writes about. What follows the closing tag is the
    answer, without the blank lines between them.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"  # then "thinking" and "between" if there are thoughts, "answer" in the end

    def add(self, piece: str) -> tuple[str, str]:
        """Thought and answer that one more piece makes certain."""
        self._held += piece
        thought = ""
        if self._state == "before":
            begun = self._held.lstrip()
            if _OPEN.startswith(begun) and begun != _OPEN:
                return "", ""  # nothing, or the beginning of a tag
            self._state = "thinking" if begun.startswith(_OPEN) else "answer"
            self._held = begun.removeprefix(_OPEN) if self._state == "thinking" else self._held
        if self._state == "thinking":
            thought, tag, after = self._held.partition(_CLOSE)
            if not tag:
                sure = len(self._held) - _overlap(self._held)
                thought, self._held = self._held[:sure], self._held[sure:]
                return thought, ""
            self._state, self._held = "between", after
        if self._state == "between":
            self._held = self._held.lstrip()
            if not self._held:
                return thought, ""
            self._state = "answer"
        answer, self._held = self._held, ""
        return thought, answer

    def end(self) -> tuple[str, str]:
        """What is left: of a thought that never ended, or of a text that only looked like one."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "thinking" else ("", held)


def answer_of(said: str) -> str:
    """What follows a closing tag whose opening one was never sent, as some servers cut it off; else all of it."""
    before, tag, after = said.partition(_CLOSE)
    return after.lstrip() if tag and _OPEN not in before else said


def _overlap(said: str) -> int:
    """How many characters at the end may be the beginning of the closing tag."""
    return next((size for size in range(min(len(_CLOSE) - 1, len(said)), 0, -1) if _CLOSE.startswith(said[-size:])), 0)
