"""One reader's place in the texts that are coming: what to send it, and in which order beside durable events.

The rule is one of positions. An attempt's text is open only while the run's
last durable event is the one that began the attempt: the driver ends the text
before it appends anything else. So a piece may be sent once the reader has
passed the attempt's beginning, and what is left of an ended text goes before
the next event of its run.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from runwright.core.ids import RunKey
from runwright.core.selection import Selection
from runwright.core.state import RunState
from runwright.ports.journal import StoredEvent
from runwright.runtime.runs.live_text import PIECE_BYTES, LiveText, LiveTexts, TextDelta, TextGap
from runwright.runtime.waiting import Notification, Notifier

BATCH_BYTES = 64 * 1024
Ephemeral: TypeAlias = TextDelta | TextGap


class _Place(Struct):
    """How far a text was sent."""

    text: LiveText
    offset: int = 0


class DeltaReader:
    """Follows the texts of a stream at the reader's own pace. It queues places, never pieces: a slow one gets longer
    pieces."""

    def __init__(self, texts: LiveTexts, selection: Selection) -> None:
        self._notifier = Notifier()
        self._texts = texts
        self._selection = selection
        self._changed: dict[LiveText, None] = {}  # in the order in which they are looked at
        self._places: dict[RunKey, _Place] = {}
        self._numbered = (0, 0)  # the position the last item was sent at, and its number there

    def __enter__(self) -> DeltaReader:
        self._texts.follow(self, self._selection.run)
        return self

    def __exit__(self, *_: object) -> None:
        self._texts.leave(self, self._selection.run)

    def signal(self) -> Notification:
        """Is done at the next change. Take it before `take`, so that nothing slips between."""
        return self._notifier.next()

    def wants(self, state: RunState) -> bool:
        """True for a run of the stream."""
        return self._selection.covers_run(state.key, state.session_id, state.agent_id)

    def tell(self, text: LiveText) -> None:
        """Notes a change. A text that ended before any of it was sent is forgotten: its event says all."""
        place = self._places.get(text.state.key)
        if text.ended and (place is None or place.text is not text):
            self._changed.pop(text, None)
            return
        self._changed[text] = None
        self._notifier.notify()

    def take(self, position: int) -> list[Ephemeral]:
        """What may be sent to a reader that has been sent everything up to `position`, about a batch of it."""
        found: list[Ephemeral] = []
        room = BATCH_BYTES
        for text in list(self._changed):
            if room <= 0:
                break
            if text.opened_at > position:
                continue  # the reader does not know yet that the attempt began
            del self._changed[text]
            if text.ended:
                found += self._rest(text.state.key)
                continue
            place = self._places.get(text.state.key)
            if place is None or place.text is not text:
                place = self._places[text.state.key] = _Place(text)
            delta = _delta(place)
            room -= place.offset - delta.offset
            found.append(delta)
            if place.offset < text.shown:
                self._changed[text] = None
        return found

    def before(self, event: StoredEvent) -> list[Ephemeral]:
        """What must be sent before the event: what is left of a text that it ends."""
        place = self._places.get(event.run)
        if place is None or event.position <= place.text.opened_at:
            return []
        return self._rest(event.run)

    def number(self, position: int) -> int:
        """The number of the next item that is sent at `position`."""
        at, number = self._numbered
        self._numbered = (position, number + 1 if at == position else 1)
        return self._numbered[1]

    def _rest(self, run: RunKey) -> list[Ephemeral]:
        place = self._places.pop(run)
        text = place.text
        self._changed.pop(text, None)
        if not text.is_whole or place.offset == text.size:
            return []
        if text.size - place.offset > PIECE_BYTES:
            return [TextGap(text.state, text.effect, place.offset, text.size)]
        return [_delta(place)]


def _delta(place: _Place) -> TextDelta:
    """The next piece; moves the place on."""
    text, offset = place.text, place.offset
    piece = text.read(offset)
    place.offset += len(piece.encode())
    return TextDelta(text.state, text.effect, text.shown_at, offset, piece)
