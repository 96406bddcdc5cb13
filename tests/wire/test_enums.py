"""Enums of the core and of the public schema: the same names and numbers, both ways, none missing."""

from __future__ import annotations

from enum import Enum

import pytest
from google.protobuf.descriptor import EnumDescriptor
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import error_pb2, event_pb2, package_pb2, policy_pb2, run_pb2
from runwright.core.callback_kinds import CallbackKind
from runwright.core.callbacks import HealthKind
from runwright.core.context import Omission
from runwright.core.error_kinds import AgentErrorKind, RetryClass
from runwright.core.errors import ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.outcomes import FinishReason, RunPhase, RunStatus, StopReason, WaitKind
from runwright.core.package import EffectClass
from runwright.core.policy import PolicyStage, Verdict
from runwright.core.request import OnBusy
from runwright.wire.ephemeral import EPHEMERAL_KINDS
from runwright.wire.packages import EFFECTS

PAIRS: list[tuple[type[Enum], EnumDescriptor, str]] = [
    (ErrorReason, error_pb2.ErrorReason.DESCRIPTOR, "ERROR_REASON_"),
    (AgentErrorKind, error_pb2.AgentErrorKind.DESCRIPTOR, "AGENT_ERROR_KIND_"),
    (RetryClass, error_pb2.RetryClass.DESCRIPTOR, "RETRY_CLASS_"),
    (EventKind, event_pb2.EventKind.DESCRIPTOR, "EVENT_KIND_"),
    (Omission, event_pb2.ContextOmission.DESCRIPTOR, "CONTEXT_OMISSION_"),
    (OnBusy, run_pb2.OnBusy.DESCRIPTOR, "ON_BUSY_"),
    (FinishReason, event_pb2.FinishReason.DESCRIPTOR, "FINISH_REASON_"),
    (PolicyStage, policy_pb2.PolicyStage.DESCRIPTOR, "POLICY_STAGE_"),
    (Verdict, policy_pb2.PolicyVerdict.DESCRIPTOR, "POLICY_VERDICT_"),
    (RunStatus, run_pb2.RunStatus.DESCRIPTOR, "RUN_STATUS_"),
    (StopReason, run_pb2.StopReason.DESCRIPTOR, "STOP_REASON_"),
    (CallbackKind, callback_pb.CallbackKind.DESCRIPTOR, "CALLBACK_KIND_"),
    (HealthKind, callback_pb.CallbackHealth.DESCRIPTOR, "CALLBACK_HEALTH_"),
    (WaitKind, run_pb2.WaitKind.DESCRIPTOR, "WAIT_KIND_"),
]


def _public(descriptor: EnumDescriptor, prefix: str) -> dict[str, int]:
    """Names without their prefix, with their numbers; without what is never sent, and what is never on record."""
    ephemeral = EPHEMERAL_KINDS if descriptor is event_pb2.EventKind.DESCRIPTOR else ()
    values = {v.name.removeprefix(prefix): v.number for v in descriptor.values if v.number not in ephemeral}
    assert values.pop("UNSPECIFIED") == 0
    return values


@pytest.mark.parametrize(("ours", "descriptor", "prefix"), PAIRS, ids=[ours.__name__ for ours, _, _ in PAIRS])
def test_an_enum_has_the_names_and_numbers_of_the_schema(
    ours: type[Enum], descriptor: EnumDescriptor, prefix: str
) -> None:
    core = {member.name: member.value for member in ours}

    public = _public(descriptor, prefix)

    assert core == public


def test_phases_are_statuses_but_for_those_that_no_record_says() -> None:
    phases = {phase.name: phase.value for phase in RunPhase if phase is not RunPhase.NEW}

    statuses = {status.name: status.value for status in RunStatus}

    assert statuses.pop("WAITING") == 3
    assert statuses.pop("REPAIR_NEEDED") == 5
    assert statuses.pop("HELD") == 9
    assert phases == statuses


def test_effects_of_a_package_are_the_effects_of_the_schema() -> None:
    core = {name.upper(): number for name, number in EFFECTS.items()}

    assert core == _public(package_pb2.EffectClass.DESCRIPTOR, "EFFECT_CLASS_")
    assert set(EFFECTS) == {effect.value for effect in EffectClass}


def test_every_kind_of_event_has_a_body_of_its_name() -> None:
    bodies = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields}

    kinds = {kind.name.lower() for kind in EventKind}
    ephemeral = {event_pb2.EventKind.Name(kind).removeprefix("EVENT_KIND_").lower() for kind in EPHEMERAL_KINDS}

    assert bodies == kinds | ephemeral
    assert not kinds & ephemeral
