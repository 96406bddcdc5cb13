"""CallPlaces: the places at executors that one run holds, so that none is lost however an attempt ends."""

from __future__ import annotations

from collections.abc import Collection

from runwright.core import inputs as i
from runwright.core.ids import EffectId
from runwright.core.places_held import places_held
from runwright.ports.tools import Place


class CallPlaces:
    """The places of one run's calls, by call.

    A place is *offered* from when it is taken until the input that carries it
    has been decided on; *granted* then, if the decision started the call; and
    the attempt's own from when that begins. Everything else goes back at once.
    """

    def __init__(self) -> None:
        self._offered: dict[EffectId, Place] = {}
        self._granted: dict[EffectId, Place] = {}

    def __len__(self) -> int:
        return len(self._offered) + len(self._granted)

    def offer(self, call_id: EffectId, place: Place) -> None:
        """Holds a place that was taken for the call's next attempt."""
        _put(self._offered, call_id, place)

    def withdraw(self, input_: i.Input) -> None:
        """Gives back what an input carries that will not be decided on."""
        for call_id in places_held(input_):
            if place := self._offered.pop(call_id, None):
                place.release()

    def decided(self, input_: i.Input) -> None:
        """Says that the input was decided on, and that `keep` follows."""
        for call_id in places_held(input_):
            if place := self._offered.pop(call_id, None):
                _put(self._granted, call_id, place)

    def keep(self, started: Collection[EffectId]) -> None:
        """Gives back the places of decided inputs, but for those of calls that were started."""
        for call_id in [known for known in self._granted if known not in started]:
            self._granted.pop(call_id).release()

    def begin(self, call_id: EffectId) -> Place:
        """The place of an attempt that begins; whoever performs it gives it back."""
        return self._granted.pop(call_id)

    def release_all(self) -> None:
        """Gives everything back: the run is driven no more."""
        for held in (self._offered, self._granted):
            while held:
                held.popitem()[1].release()


def _put(held: dict[EffectId, Place], call_id: EffectId, place: Place) -> None:
    if before := held.pop(call_id, None):
        before.release()
    held[call_id] = place
