"""What a tool's result is kept as, whoever told it."""

from __future__ import annotations

from runwright.core.content import JSON, OPAQUE, Content
from runwright.core.resolution import MAX_RESULT_BYTES

MAX_MEDIA_TYPE = 127


def too_large(size: int) -> Content:
    """What the model is told of a result that was made and is larger than one may be; 0: nobody knows how large."""
    of = f" of {size} bytes" if size else ""  # nobody knows the size of what was compressed and not unpacked
    return Content.text(f"The call was made; its result{of} is above {MAX_RESULT_BYTES}.")


def tool_content(data: bytes, media_type: str) -> Content:
    """The content of a tool's result, whoever told it: an executor, or somebody who found out."""
    return Content.of(data, _media_type(media_type))


def _media_type(said: str) -> str:
    """An executor's word for its result, if it can be one; it ends up in events and terminals."""
    if not said:
        return JSON
    fits = len(said) <= MAX_MEDIA_TYPE and said.isascii() and said.isprintable() and said != OPAQUE
    return said if fits else "application/octet-stream"
