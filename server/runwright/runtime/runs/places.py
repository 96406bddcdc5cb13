"""CallPlaces: the places at executors that one run holds, so that none is lost however an attempt ends."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from runwright.core import inputs as i
from runwright.core.ids import EffectId
from runwright.core.places_held import places_held
from runwright.ports.tools import Place


class _Held(Struct, frozen=True):
    """A place, and whose it is not, as it was asked for; empty: nobody was ruled out."""

    place: Place
    not_by: str


class CallPlaces:
    """The places of one run's calls, by call.

    A place is *offered* from when it is taken until the input that carries it
    has been decided on; *granted* then, if the decision started the call; and
    the attempt's own from when that begins. Everything else goes back at once.
    """

    def __init__(self) -> None:
        self._offered: dict[EffectId, _Held] = {}
        self._granted: dict[EffectId, _Held] = {}

    def __len__(self) -> int:
        return len(self._offered) + len(self._granted)

    def offer(self, call_id: EffectId, place: Place, not_by: str = "") -> None:
        """Holds a place that was taken for the call's next attempt, at somebody else than the principal `not_by`."""
        _put(self._offered, call_id, _Held(place, not_by))

    def is_offered(self, call_id: EffectId) -> bool:
        """True while an input with a place for the call has not been decided on."""
        return call_id in self._offered

    def withdraw(self, input_: i.Input) -> None:
        """Gives back what an input carries that will not be decided on."""
        for call_id in places_held(input_):
            if held := self._offered.pop(call_id, None):
                held.place.release()

    def decided(self, input_: i.Input) -> None:
        """Says that the input was decided on, and that `keep` follows."""
        for call_id in places_held(input_):
            if held := self._offered.pop(call_id, None):
                _put(self._granted, call_id, held)

    def keep(self, started: Collection[EffectId]) -> None:
        """Gives back the places of decided inputs, but for those of calls that were started."""
        for call_id in [known for known in self._granted if known not in started]:
            self._granted.pop(call_id).place.release()

    def begin(self, call_id: EffectId, not_by: str = "") -> Place | None:
        """The place of an attempt that begins; whoever performs it gives it back.

        None, and it goes back: it may be at the principal that must not perform the call, as it is known by now who
        that is. The place was taken before.
        """
        held = self._granted.pop(call_id)
        if not_by and held.not_by != not_by:
            held.place.release()
            return None
        return held.place

    def release_all(self) -> None:
        """Gives everything back: the run is driven no more."""
        for held in (self._offered, self._granted):
            while held:
                held.popitem()[1].place.release()


def _put(known: dict[EffectId, _Held], call_id: EffectId, held: _Held) -> None:
    if before := known.pop(call_id, None):
        before.place.release()
    known[call_id] = held
