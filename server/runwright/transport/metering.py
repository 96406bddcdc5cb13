"""Calls, timed, where somebody meters them: from their headers to the moment their status is known."""

from __future__ import annotations

from runwright.ports.telemetry import CallMeter


class CallTimer:
    """Times one call. What a peer does not read of its end is not the call's time."""

    __slots__ = ("_begun", "_meter", "_method")

    def __init__(self, meter: CallMeter | None, method: str) -> None:
        self._meter = meter
        self._method = method
        self._begun = 0.0 if meter is None else meter.begun()

    def ended(self, code: str) -> None:
        """The call ends with the status of that name."""
        if self._meter is not None:
            self._meter.ended(self._method, code, self._begun)
