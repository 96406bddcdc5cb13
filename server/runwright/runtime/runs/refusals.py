"""Why a driver does not take or do what it is asked to."""

from __future__ import annotations

import asyncio

from runwright.core.effects import EffectKey
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey


def draining() -> AgentError:
    """The server is stopping."""
    return AgentError(ErrorReason.DRAINING, "The server is stopping.", metadata={"retry_after": "2s"})


def held_up(reason: ErrorReason) -> AgentError:
    """The journal takes nothing at the moment; the run goes on by itself when it does."""
    message = "The journal takes nothing at the moment; the request may still take effect."
    return AgentError(reason, message, metadata={"retry_after": "2s"})


def does_not_fit(run: RunKey, key: EffectKey) -> AgentError:
    """What a restart finds under way is settled, durably, before anything is sent: else the state is not the run's.

    A damaged state would send again what was sent before, as often as it is read.
    """
    message = f"The stored state of run {run.run_id} wants {key[0]} without an intent on record."
    metadata = {"run_id": run.run_id, "first_bad": ""}
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata=metadata)


def refusal_of(error: BaseException, *, is_faulty: bool) -> AgentError | None:
    """What callers are told when a driver ends with this error; None for a fault of ours, which gets an incident.

    A driver is cancelled because the server stops, or because one of its tasks has failed (`is_faulty`).
    """
    if isinstance(error, asyncio.CancelledError):
        return None if is_faulty else draining()
    return error if isinstance(error, AgentError) and error.reason is not ErrorReason.INTERNAL else None


def fault(incident: str) -> AgentError:
    """A fault of ours, by its incident."""
    text = "The server failed to go on with the run; its log holds the incident."
    return AgentError(ErrorReason.INTERNAL, text, metadata={"incident_id": incident})
