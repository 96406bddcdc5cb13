"""Identifiers: the words for them, and the one rule that ids made by callers follow."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import NewType

from msgspec import Struct

from runwright.core.errors import invalid_request
from runwright.core.units import Seq

Namespace = NewType("Namespace", str)
RunId = NewType("RunId", str)
EffectId = NewType("EffectId", str)

DEFAULT_NAMESPACE = Namespace("default")
LOCAL_PRINCIPAL = "local"

MAX_ID_LENGTH = 128
_CALLER_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:@-]{{0,{MAX_ID_LENGTH - 1}}}\Z")
# The kinds of effects.
MODEL_EFFECT = "m"
CALL_EFFECT = "c"
POLICY_EFFECT = "p"
# Policies and approvers are asked about a run before its first round, too.
_EFFECT_ID = re.compile(r"(?:[anp]0|[a-z][1-9][0-9]*)(?:\.[1-9][0-9]*)*\Z")
_UNFIT = re.compile(r"[^A-Za-z0-9._:@-]+")


class RunKey(Struct, frozen=True):
    """A run's key in every store: ids are only unique within their namespace."""

    namespace: Namespace
    run_id: RunId


def check_caller_id(field: str, value: str) -> str:
    """Returns `value` if it may be used as an id made by a caller.

    Raises INVALID_REQUEST naming `field` otherwise. The rule is narrow on
    purpose: such ids appear in URLs, file names, metrics and log lines.
    """
    if _CALLER_ID.match(value):
        return value
    expected = f"1 to {MAX_ID_LENGTH} characters: letters, digits and . _ : @ -, the first a letter or digit"
    fit = _UNFIT.sub("-", value[:MAX_ID_LENGTH]).lstrip("-._:@")
    remedy = f"Use {fit} instead." if fit else "Use one such as `first-1`."
    raise invalid_request(field, expected, remedy, message=f"{field} is not a valid id: {expected}.")


class EffectParts(Struct, frozen=True):
    """What an effect's id says: a letter for its kind, and numbers that count it, from 1; the first is its round.

    Questions about a run that has not begun a round, and its approvals, are of round 0.
    """

    kind: str
    numbers: tuple[int, ...]


@lru_cache(maxsize=1024)
def effect_id(kind: str, *numbers: int) -> EffectId:
    """The id of an effect, as `c3.2`: ids inside a run are derived, never random."""
    return EffectId(kind + ".".join(map(str, numbers)))


@lru_cache(maxsize=1024)
def parse_effect_id(value: EffectId) -> EffectParts:
    """The parts of an effect's id. Raises ValueError for what `effect_id` does not make."""
    if not _EFFECT_ID.match(value):
        raise ValueError(f"{value!r} is no effect's id")
    return EffectParts(value[0], tuple(map(int, value[1:].split("."))))


def effect_kind(value: str) -> str:
    """The letter of an effect's kind, whatever version made the id; empty when it is about no effect."""
    return value[:1]


def model_effect_id(round_number: int) -> EffectId:
    """The id of a round's model request."""
    return effect_id(MODEL_EFFECT, round_number)


def call_effect_id(round_number: int, index: int) -> EffectId:
    """The id of the `index`-th tool call (from 1) of a round."""
    return effect_id(CALL_EFFECT, round_number, index)


def question_effect_id(round_number: int, subject: EffectId | None, number: int) -> EffectId:
    """The id of the `number`-th question (from 1) to a remote policy: about a call, or about the run in that round."""
    numbers = parse_effect_id(subject).numbers if subject else (round_number,)
    return effect_id(POLICY_EFFECT, *numbers, number)


def question_subject(question: EffectId) -> EffectId | None:
    """What a question is about: a call; None: the run."""
    numbers = parse_effect_id(question).numbers
    return call_effect_id(*numbers[:2]) if len(numbers) == 3 else None


def derived_turn_id(run_id: RunId) -> str:
    """The id of a turn whose caller gave none: unique in its session, and short, because every event has it.

    64 bits of the run id's digest: of a million turns of a session two are alike
    once in 30 million sessions.
    """
    return f"t-{sha256(run_id.encode()).hexdigest()[:16]}"


def event_id(run_id: RunId, seq: Seq) -> str:
    """The id of a run's event."""
    return f"{run_id}/{seq}"


def short_journal_id(incarnation: str) -> str:
    """What idempotency keys say of a journal: 64 bits of its incarnation are enough to tell servers apart."""
    return incarnation[:16]


def idempotency_key(run: RunKey, effect: EffectId, journal_id: str = "") -> str:
    """The key an executor recognises a repeated call by; with the id of the run's journal unique over all servers.

    Runs that older servers began have none, and keep their keys.
    """
    key = f"{run.namespace}/{run.run_id}/{effect}"
    return f"{journal_id}/{key}" if journal_id else key
