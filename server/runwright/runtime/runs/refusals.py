"""Why a driver does not take or do what it is asked to."""

from __future__ import annotations

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
