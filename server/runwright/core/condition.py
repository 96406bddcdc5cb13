"""What keeps a server from driving a run, beside the run's own state; and how the run stands then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.callbacks import UnusedTool
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import EffectId, RunKey, model_effect_id
from runwright.core.machine import WaitingOn, is_done, status, waiting_on
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.core.state import RunState
from runwright.core.units import Micros


class HoldCause(Enum):
    """Why a run is held."""

    UNREADABLE = "what is stored of it cannot be read"
    QUARANTINED = "the server ended each time it took the run up"
    FAILING = "the server failed again and again to go on with it"


class RunHold(Struct, frozen=True):
    """A run that is not driven until an operator decides. `failure` is what callers are told, `since` microseconds."""

    cause: HoldCause
    failure: Failure
    since: Micros

    @property
    def first_bad(self) -> str:
        """Sequence number of the first event that cannot be read; empty when that is not known."""
        return dict(self.failure.metadata).get("first_bad", "")


class Condition(Struct, frozen=True):
    """`missing_provider` is the adapter that the run has to ask and that this server does not have.

    `unused` are, by call, the registrations that have another schema of its tool than the package.
    """

    hold: RunHold | None = None
    missing_provider: str = ""
    unused: Mapping[str, Sequence[UnusedTool]] = {}


DRIVEN = Condition()


def status_in(state: RunState, condition: Condition) -> RunStatus:
    """Where the run stands for callers."""
    if condition.hold is not None:
        return RunStatus.HELD
    run_status = status(state)
    return RunStatus.WAITING if condition.missing_provider and run_status is RunStatus.RUNNING else run_status


def is_done_in(state: RunState, condition: Condition) -> bool:
    """True when the run goes no further by itself."""
    return condition.hold is not None or is_done(state)


def waiting_on_in(state: RunState, condition: Condition) -> list[WaitingOn]:
    """What the run waits for, and what would unblock it."""
    hold, adapter = condition.hold, condition.missing_provider
    if hold is not None:
        run = state.key.run_id
        remedy = f"an operator: `runwright held release {run}`, `held cancel {run}` or `held remove {run}`"
        return [WaitingOn(WaitKind.RELEASE, EffectId(""), hold.cause.name, hold.since, remedy)]
    waits = [_with_unused(wait, condition.unused.get(wait.effect_id, ())) for wait in waiting_on(state)]
    if adapter:
        subject = f"{adapter}/{state.model}" if adapter == state.provider else adapter
        remedy = f"a start of the server with provider {adapter} configured"
        wait = WaitingOn(WaitKind.PROVIDER, model_effect_id(state.round), subject, state.updated_at, remedy)
        waits = [wait, *(each for each in waits if each.kind is not WaitKind.PROVIDER)]
    return waits


def _with_unused(wait: WaitingOn, unused: Sequence[UnusedTool]) -> WaitingOn:
    """The wait for an executor, and why those that are there are none."""
    if wait.kind is not WaitKind.EXECUTOR or not unused:
        return wait
    return replace(wait, unblocked_by="; ".join((wait.unblocked_by, *(each.sentence for each in unused))))


def run_held(run: RunKey, hold: RunHold) -> AgentError:
    """Nothing can be done with the run while it is held."""
    metadata = {"run_id": run.run_id, "cause": hold.cause.name}
    if hold.first_bad:
        metadata["first_bad"] = hold.first_bad
    return AgentError(ErrorReason.RUN_HELD, f"Run {run.run_id} is held: {hold.cause.value}.", metadata=metadata)


def run_not_held(run: RunKey) -> AgentError:
    """Only what is held is removed by a call."""
    return AgentError(ErrorReason.RUN_NOT_HELD, f"Run {run.run_id} is not held.", metadata={"run_id": run.run_id})
