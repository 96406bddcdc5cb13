"""As much of HTTP/2 as it takes to count its DATA frames."""

from __future__ import annotations

_HEADER = 9  # bytes of a frame's header
_DATA = 0


class FrameCounter:
    """Finds the ends of DATA frames in a stream of HTTP/2."""

    def __init__(self) -> None:
        self.seen = 0
        self._header = b""
        self._left = 0
        self._is_data = False

    def end_of(self, number: int, data: bytes) -> int | None:
        """How many of these bytes go up to the end of DATA frame `number`; None when it does not end here."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            else:
                step = min(_HEADER - len(self._header), len(data) - at)
                self._header += data[at : at + step]
                at += step
                if len(self._header) < _HEADER:
                    return None
                self._left = int.from_bytes(self._header[:3], "big")
                # Empty ones do not count: libraries differ in how they end a stream.
                self._is_data = self._header[3] == _DATA and self._left > 0
                self._header = b""
            if not self._left and self._is_data:
                self._is_data = False
                self.seen += 1
                if self.seen == number:
                    return at
        return None
