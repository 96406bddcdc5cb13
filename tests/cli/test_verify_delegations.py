"""examples/verify_effects.py, of an approval that was delegated: whose turn it is follows from who delegated."""

from __future__ import annotations

from pathlib import Path

import pytest
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.approvals import ApprovalVerdict
from runwright.core.kinds import EventKind

from tests import builders as b
from tests.cli.test_verify import lines_of
from tests.cli.test_verify_effects import ANN_ALONE, Events, Forge, forged, of, verified
from tests.runtime.approving import ANN, asking, decide, person, separated, waiting
from tests.runtime.granting import TO_BOB
from tests.runtime.watching import stood_still


async def handed_on() -> list[str]:
    """The lines of an export of a run whose approval ann delegated to dan, he to fay, and she gave."""
    bench = separated(b.Bench(), ANN, *(person(name) for name in ("dan", "fay", "eve")))
    approval = {**ANN_ALONE, "delegates": ["dan", "fay", "cal"]}
    runtime, _ = await waiting(bench, asking(TO_BOB, approval=approval), principal="cal")
    for who, to in (("ann", "dan"), ("dan", "fay")):
        delegate = {"delegate_to": to, "request_id": f"to-{to}"}
        await decide(runtime, ApprovalVerdict.DELEGATE, who=person(who), **delegate)
    await decide(runtime, who=person("fay"))
    await stood_still(runtime)
    return await lines_of(bench, "run-1")


def delegations(events: Events) -> list[pb.ApprovalDelegated]:
    return [event.approval_delegated for event in events if event.HasField("approval_delegated")]


def delegate_to(name: str) -> Forge:
    """Somebody else is the last delegate, and decides."""

    def forge(events: Events) -> None:
        last = delegations(events)[-1]
        last.delegated_to = last.approvers.principals[0] = name
        of(events, EventKind.APPROVAL_DECIDED).approval_decided.decided_by = name
        of(events, EventKind.TOOL_STARTED).tool_started.approved_by = name

    return forge


def delegated_by_eve(events: Events) -> None:
    first = delegations(events)[0]
    first.delegated_by = first.approvers.principals[1] = "eve"


def one_more_with_it(events: Events) -> None:
    delegations(events)[0].approvers.principals.append("eve")


def a_role_with_it(events: Events) -> None:
    delegations(events)[0].approvers.roles.append("caller")


def more_time(events: Events) -> None:
    delegations(events)[0].approvers.until.seconds += 3600


def another_turn(events: Events) -> None:
    delegations(events)[0].current_set = 1


def delegated_too_late(events: Events) -> None:
    found = [event for event in events if event.HasField("approval_delegated")]
    found[0].time.seconds += 3600


def delegated_after_the_decision(events: Events) -> None:
    [last] = [event for event in events if event.approval_delegated.number == 2]
    events.remove(last)
    events.insert(events.index(of(events, EventKind.APPROVAL_DECIDED)) + 1, last)


def delegations_dropped(events: Events) -> None:
    events[:] = [event for event in events if not event.HasField("approval_delegated")]


def another_digest_delegated(events: Events) -> None:
    delegations(events)[0].digest = f"sha256:runwright-approval-v1:{'0' * 64}"


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda _: None, ""),
        (delegations_dropped, "fay may not decide on a1.1.1"),
        (delegate_to("eve"), "dan had no such delegate"),
        (delegate_to("cal"), "dan had no such delegate"),
        (delegated_by_eve, "eve had no such delegate"),
        (one_more_with_it, "ann had no such delegate"),
        (a_role_with_it, "ann had no such delegate"),
        (more_time, "ann had no such delegate"),
        (another_turn, "ann had no such delegate"),
        (delegated_too_late, "ann had no such delegate"),
        (delegated_after_the_decision, "dan had no such delegate"),
        (another_digest_delegated, "ann had no such delegate"),
    ],
)
async def test_whoever_it_was_delegated_to_may_approve_and_nobody_else(
    forge: Forge, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verified(tmp_path, forged(await handed_on(), forge), monkeypatch)

    assert found == said
    assert ("approved by fay over" in capsys.readouterr().out) is (not said)
