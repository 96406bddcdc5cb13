"""Images as input: which kinds there are, and how their first bytes tell them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

# A photograph as a telephone makes it has 2 to 8 MB. All of a request as base64 stay below the 32 MB that the
# stricter one of the vendors takes.
MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_IMAGES_BYTES = 20 * 1024 * 1024

_SIGNS: Mapping[str, tuple[tuple[int, bytes], ...]] = {
    "image/png": ((0, b"\x89PNG\r\n\x1a\n"),),
    "image/jpeg": ((0, b"\xff\xd8\xff"),),
    "image/gif": ((0, b"GIF8"), (5, b"a")),
    "image/webp": ((0, b"RIFF"), (8, b"WEBP")),
}
IMAGE_TYPES = tuple(_SIGNS)


class Image(Struct, frozen=True):
    """An image as a part of what somebody says. `digest` is that of the data, if somebody has worked it out."""

    media_type: str
    data: bytes
    digest: str = ""

    def __repr__(self) -> str:
        return f"Image({self.media_type}, {len(self.data)} bytes)"


def image_type(data: bytes) -> str | None:
    """The media type that the first bytes tell; None for what is no image of a known kind."""
    for media_type, signs in _SIGNS.items():
        if all(data[at : at + len(sign)] == sign for at, sign in signs):
            return media_type
    return None
