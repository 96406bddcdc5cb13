"""examples/verify_effects.py over calls that a grant permitted: it says so, and finds what none permitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright.core.kinds import EventKind

from tests import builders as b
from tests.cli.test_verify import lines_of
from tests.cli.test_verify_effects import Events, Forge, drop, forged, of, verified
from tests.runtime.approving import ANN, person, separated
from tests.runtime.granting import ID, begun, given, grant, granting
from tests.runtime.watching import stood_still


async def export() -> list[str]:
    """The lines of an export of a run whose first call ann approved, with a grant that permitted the second."""
    bench = separated(b.Bench(), ANN, person("eve"))
    runtime, _ = begun(bench, granting())
    await runtime.start_run(b.request(), principal="cal")
    await given(runtime, grant(), who=ANN)
    await stood_still(runtime)
    return await lines_of(bench, "run-1")


def used(events: Events) -> pb.GrantUsed:
    """How the grant was used."""
    return of(events, EventKind.GRANT_USED, "c2.1").grant_used


def started(events: Events) -> pb.ToolStarted:
    """The intent that it permitted."""
    return of(events, EventKind.TOOL_STARTED, "c2.1").tool_started


def another_issuer(events: Events) -> None:
    started(events).approved_by = "eve"


def another_run(events: Events) -> None:
    used(events).grant.run_id = "run-2"


def another_tool(events: Events) -> None:
    used(events).grant.tool = "look"


def other_arguments(events: Events) -> None:
    used(events).grant.arguments_digest = f"sha256:{'0' * 64}"


def another_digest(events: Events) -> None:
    used(events).digest = started(events).approval_digest = f"sha256:runwright-approval-v1:{'0' * 64}"


def another_grant(events: Events) -> None:
    started(events).grant_id = "run-1/g9.1.1"


def expired(events: Events) -> None:
    used(events).grant.until.CopyFrom(of(events, EventKind.GRANT_USED, "c2.1").time)


def no_grant(events: Events) -> None:
    started(events).grant_id = started(events).approved_by = started(events).approval_digest = ""


def superseded(events: Events) -> None:
    event = pb.Event(kind=pb.EVENT_KIND_GRANT_SUPERSEDED, effect_id="c2.1")
    event.grant_superseded.grant_id = ID
    events.insert(events.index(of(events, EventKind.GRANT_USED, "c2.1")) + 1, event)


FORGED: dict[str, tuple[Forge, str]] = {
    "dropped use": (drop(EventKind.GRANT_USED, "c2.1"), "no such grant was used for it"),
    "another issuer": (another_issuer, "the grant was issued by ann"),
    "another run": (another_run, "the grant is for other runs"),
    "another tool": (another_tool, "the grant is for another tool, executor or package"),
    "other arguments": (other_arguments, "the grant is for other arguments"),
    "another digest": (another_digest, "the digest is not of this call"),
    "another grant": (another_grant, "no such grant was used for it"),
    "expired": (expired, "the grant for c2.1 had expired"),
    "no grant": (no_grant, "nobody allowed c2.1"),
    "superseded": (superseded, "no such grant was used for it"),
}


async def test_of_a_call_that_a_grant_permitted_it_says_which_of_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await export()

    code = verified(tmp_path, lines, monkeypatch)

    said = capsys.readouterr().out.splitlines()
    assert (code, len(said)) == (0, 2)
    expected = f"c2.1 send, attempt 1: asked for by policies.1.rules.0, permitted by grant {ID} of ann over sha256:"
    assert said[1].startswith(expected)


@pytest.mark.parametrize("how", FORGED)
async def test_a_use_that_nothing_permits_is_found_out(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forge, said = FORGED[how]

    code = verified(tmp_path, forged(await export(), forge), monkeypatch)

    assert (code, said in (out := capsys.readouterr().out)) == (1, True), out
