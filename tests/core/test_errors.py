"""Errors: one meaning for each reason, and failures that are the same as value and as exception."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from runwright.core.errors import MEANINGS, AgentError, ErrorReason, Failure

OF_EACH_ERROR = {ErrorReason.INVALID_REQUEST, ErrorReason.PACKAGE_INVALID}


def test_every_reason_has_a_meaning() -> None:
    meant = set(MEANINGS)

    assert set(ErrorReason) - meant == set()


@pytest.mark.parametrize("reason", ErrorReason, ids=lambda reason: reason.name)
def test_a_remedy_is_a_sentence(reason: ErrorReason) -> None:
    remedy = MEANINGS[reason].remedy

    if reason in OF_EACH_ERROR:
        assert remedy == "", "what to do depends on the field"
    else:
        assert remedy[0].isupper() or remedy.startswith("`runwright ")
        assert remedy.endswith(".")


@pytest.mark.parametrize("reason", ErrorReason, ids=lambda reason: reason.name)
def test_the_public_schema_documents_the_same_metadata(reason: ErrorReason) -> None:
    schema = (Path(__file__).parents[2] / "proto/runwright/v1/error.proto").read_text()
    comment = re.search(rf"((?:  //.*\n)+)  ERROR_REASON_{reason.name} = {reason.value};", schema)
    assert comment is not None

    documented = re.search(r"Metadata: ([^.]*)\.", " ".join(comment[1].replace("//", " ").split()))

    assert documented is not None
    assert tuple(documented[1].split(", ")) == (MEANINGS[reason].keys or ("none",))


def test_a_failure_says_the_same_as_its_exception() -> None:
    error = AgentError(ErrorReason.RUN_NOT_FOUND, "There is no such run.", metadata={"run_id": "r-1"})

    back = Failure.of(error).error()

    assert (back.reason, back.message, back.metadata) == (error.reason, error.message, error.metadata)
    assert str(back) == "RUN_NOT_FOUND: There is no such run."
    assert back.meaning is MEANINGS[ErrorReason.RUN_NOT_FOUND]
