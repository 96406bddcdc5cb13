"""What `runwright run --approve` offers: the keys that can answer this question, and no other."""

from __future__ import annotations

import pytest
from runwright._gen.runwright.v1 import approval_pb2
from runwright.cli.ask_in_run import help_for, prompt_for

APPROVE, DENY, RESPOND, ABORT_RUN, EDIT = (
    approval_pb2.APPROVAL_VERDICT_APPROVE,
    approval_pb2.APPROVAL_VERDICT_DENY,
    approval_pb2.APPROVAL_VERDICT_RESPOND,
    approval_pb2.APPROVAL_VERDICT_ABORT_RUN,
    approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS,
)


@pytest.mark.parametrize(
    ("verdicts", "offers_grants", "keys"),
    [
        ([APPROVE, DENY, RESPOND, ABORT_RUN, EDIT], True, "adregsxv"),
        ([APPROVE, DENY, RESPOND, ABORT_RUN, EDIT], False, "adresxv"),
        ([APPROVE, DENY, ABORT_RUN], False, "adsxv"),
    ],
    ids=["with grants", "a call", "a start or an answer"],
)
def test_what_can_be_decided_is_offered_and_nothing_else(verdicts: list[int], offers_grants: bool, keys: str) -> None:
    approval = approval_pb2.Approval(allowed_verdicts=verdicts)
    if offers_grants:
        approval.grants.max_uses = 1

    prompt, explained = prompt_for(approval), help_for(approval)

    assert [word[-2] for word in prompt.removesuffix(": ").split(", ")] == [*keys, "?"]
    assert [line[2] for line in explained.splitlines()[:-1]] == [*keys]
