"""`runwright explain`: one screen that says why a run stands, or why it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2, error_pb2, event_pb2, run_pb2
from runwright.cli.commands import Options
from runwright.cli.explain_text import MOST_CALLBACKS, Found, explain_lines

from tests.cli.conftest import Program
from tests.cli.fake_registry import FakeRegistry, callback, serving_both
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, START, Story, failure, ref, stuck

HERE: Options = ()


def waiting_run() -> run_pb2.RunSnapshot:
    """A run whose one call waits for its executor since ten seconds."""
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_WAITING, last_seq=8)
    wait = run.waiting_on.add(
        kind=run_pb2.WAIT_KIND_EXECUTOR, effect_id="c1.1", subject="desk", unblocked_by="desk answering"
    )
    wait.since.FromSeconds(START)
    run.updated_at.FromSeconds(START)
    run.open_effects.add(
        effect_id="c1.1", tool="book", attempt=1, state=run_pb2.EFFECT_STATE_QUEUED, idempotency_key="k1"
    )
    return run


def retry() -> event_pb2.Event:
    """The event that says so."""
    planned = event_pb2.RetryScheduled(reason=error_pb2.ERROR_REASON_EXECUTOR_UNAVAILABLE)
    planned.give_up_at.FromSeconds(START + 600)
    return Story().add("c1.1", 1, retry_scheduled=planned).frames[0].event


def message(run: run_pb2.RunSnapshot, *events: event_pb2.Event, callbacks: object = ()) -> str:
    """The screen."""
    found = Found(run, events, {"desk": callbacks}, START + 10)  # type: ignore[dict-item]
    return "\n".join(explain_lines(found, HERE))


def test_a_result_that_is_withheld_is_named_with_the_rule_and_what_to_do() -> None:
    said = event_pb2.ToolResultReleased(
        tool="look", release=event_pb2.RESULT_RELEASE_WITHHELD, policy_ref="policies.1", code="secret"
    )
    event = Story().add("c1.1", tool_result_released=said).frames[0].event

    text = message(waiting_run(), event)

    assert "its result is withheld from the model by policies.1 (secret)" in text
    assert "Change the rule, which its POLICY_DECIDED event names" in text


def test_a_result_that_is_replaced_is_named_with_whom_to_ask() -> None:
    said = event_pb2.ToolResultReleased(tool="look", release=event_pb2.RESULT_RELEASE_REPLACED)
    event = Story().add("c1.1", tool_result_released=said).frames[0].event

    text = message(waiting_run(), event)

    assert "the model sees something else in the place of its result" in text
    assert "SUBJECT_REPLACED" in text


def test_a_run_that_waits_says_for_what_since_when_and_until_when() -> None:
    ill = callback(health=callback_pb.CALLBACK_HEALTH_UNHEALTHY, detail="It does not answer.")
    text = message(waiting_run(), retry(), callbacks=[ill, callback("desk-2", "look")])

    assert "status     WAITING" in text
    assert "c1.1 for EXECUTOR desk since 2023-11-14 22:13:20Z (10.0s)" in text
    assert "ends by  desk answering" in text
    assert "or at    2023-11-14 22:23:20Z, when the call is given up" in text
    assert (
        "desk-1 at 127.0.0.1:7761, any tool, leased until 2023-11-14 22:14:20Z, UNHEALTHY: It does not answer." in text
    )
    assert "desk-2 at 127.0.0.1:7761, tools look, leased until 2023-11-14 22:14:20Z, HEALTHY" in text
    assert "open       c1.1 book, attempt 1, QUEUED, idempotency key k1" in text
    assert "last error #1 c1.1, attempt 1, RETRY_SCHEDULED: EXECUTOR_UNAVAILABLE" in text


def test_an_executor_with_another_schema_is_named_with_what_to_do() -> None:
    run = waiting_run()
    run.package_fingerprint = "sha256:p:1"
    different = callback()
    for package in ("sha256:p:1", "sha256:p:2"):
        different.unused_tools.add(
            tool="book", schema_digest="sha256:aa", package_schema_digest=f"of {package}", package_fingerprint=package
        )

    text = message(run, callbacks=[different])
    other_package = message(waiting_run(), callbacks=[different])

    assert "not used for book: its schema is sha256:aa, the package's of sha256:p:1" in text
    assert "of sha256:p:2" not in text, "that is another run's package"
    assert "to do      serve the tool with the package's schema, or start runs of a package that has this one" in text
    assert "`runwright package validate FILE --tools HOST:PORT` says where they differ" in text
    assert "start executor desk" not in text and "executor desk is there" in other_package


def test_that_nothing_is_registered_or_may_be_seen_is_said() -> None:
    assert "none is registered for executor desk" in message(waiting_run())
    assert "cannot be listed" in message(waiting_run(), callbacks=None)


@pytest.mark.parametrize(("registered", "told"), [("dessk", ", but one is for dessk"), ("kitchen", "")])
def test_an_executor_that_is_registered_under_nearly_the_name_is_told_of(
    program: Program, registered: str, told: str
) -> None:
    other = callback("other-1")
    other.spec.executor = registered
    with serving_both(FakeRegistry(other), FakeRuntime(stuck(), run=waiting_run())) as server:
        code, out, _ = program("--server", server, "explain", RUN)

    assert code == 0
    assert f"callback none is registered for executor desk{told}\n" in out


def test_many_callbacks_stay_one_screen() -> None:
    text = message(waiting_run(), callbacks=[callback(f"desk-{number}") for number in range(MOST_CALLBACKS + 3)])

    assert "and 3 more" in text
    assert len(text.splitlines()) <= 24


def test_a_run_that_needs_repair_says_what_is_unknown_and_what_to_do() -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_REPAIR_NEEDED)
    run.open_effects.add(
        effect_id="c1.1",
        tool="send",
        attempt=1,
        state=run_pb2.EFFECT_STATE_UNKNOWN,
        idempotency_key="k1",
        executor_identity=run_pb2.ExecutorIdentity(callback_id="desk-1", principal="shop", address="10.0.0.1:7\x1b[2J"),
    )
    run.waiting_on.add(kind=run_pb2.WAIT_KIND_REPAIR, effect_id="c1.1", subject="desk", unblocked_by="somebody")

    text = message(run, stuck().frames[-1].event)

    assert "unknown    c1.1 send, attempt 1, idempotency key k1" in text
    assert "  executor desk-1 of shop at 10.0.0.1:7" in text
    assert "\x1b" not in text
    assert "TOOL_RECOVERY_REQUIRED: EXECUTOR_LOST" in text
    assert f"runwright cancel {RUN}" in text or f"cancel {RUN}" in text


def asked(answer: event_pb2.ReconcileAnswer.ValueType, ask: int = 2) -> event_pb2.Event:
    """The event that says what an ask about the call came to."""
    ended = event_pb2.ReconcileEnded(ask=ask, answer=answer, reason=error_pb2.ERROR_REASON_EXECUTOR_LOST)
    return Story().add("c1.1", 1, reconcile_ended=ended).frames[0].event


def test_a_call_whose_executor_is_asked_says_so_and_that_nobody_has_to_wait_for_that() -> None:
    run = waiting_run()
    run.open_effects[0].state = run_pb2.EFFECT_STATE_RECONCILING

    text = message(run, asked(event_pb2.RECONCILE_ANSWER_CANNOT_SAY))

    assert "open       c1.1 book, attempt 1, RECONCILING, idempotency key k1" in text
    assert "last error #1 c1.1, attempt 1, RECONCILE_ENDED: ask 2: CANNOT_SAY" in text
    assert "effects resolve run-1 c1.1 --attempt 1 --as happened --tell RESULT" in text


def test_nobody_is_sent_to_start_an_executor_that_is_there() -> None:
    run = waiting_run()

    there = message(run, retry(), callbacks=[callback("desk-2", "book")])
    elsewhere = message(run, retry(), callbacks=[callback("desk-2", "look")])

    assert "executor desk is there" in there and "start executor desk" not in there
    assert "start executor desk" in elsewhere


def decided(verdict: str, separation: str = "ENFORCED") -> dict[str, Any]:
    """What the host's owner decided on the call."""
    return {
        "verdict": approval_pb2.ApprovalVerdict.Value(f"APPROVAL_VERDICT_{verdict}"),
        "decided_by": "tools",
        "separation": approval_pb2.ApprovalSeparation.Value(f"APPROVAL_SEPARATION_{separation}"),
    }


@pytest.mark.parametrize(
    "permission",
    [
        {"approval_decided": decided("APPROVE")},
        {"approval_decided": decided("APPROVE_WITH_EDITS")},
        {
            "grant_used": {
                "grant": {"issuer": "tools"},
                "separation": approval_pb2.APPROVAL_SEPARATION_ENFORCED,
            }
        },
    ],
)
def test_whose_executor_does_not_get_the_call_because_they_approved_it_is_not_waited_for(
    program: Program, permission: dict[str, Any]
) -> None:
    runtime = FakeRuntime(Story().add("c1.1", **permission), run=waiting_run())
    with serving_both(FakeRegistry(callback()), runtime) as server:
        _, out, _ = program("--server", server, "explain", RUN)

    assert "for c1.1: it is of tools, who approved the call" in out
    assert "have somebody else than tools serve executor desk: whoever approved a call does not perform it" in out
    assert "executor desk is there" not in out and "start executor desk" not in out


@pytest.mark.parametrize("said", [decided("DENY"), decided("APPROVE", "NOT_ENFORCED")])
def test_an_executor_of_whoever_did_not_approve_or_is_told_from_nobody_is_there(
    program: Program, said: dict[str, Any]
) -> None:
    runtime = FakeRuntime(Story().add("c1.1", approval_decided=said), run=waiting_run())
    with serving_both(FakeRegistry(callback()), runtime) as server:
        _, out, _ = program("--server", server, "explain", RUN)

    assert "executor desk is there" in out and "who approved the call" not in out


def test_an_ask_that_was_answered_is_no_trouble(program: Program) -> None:
    story = stuck()
    for number, answer in enumerate((event_pb2.RECONCILE_ANSWER_NO_ANSWER, event_pb2.RECONCILE_ANSWER_PERFORMED)):
        ended = event_pb2.ReconcileEnded(ask=number + 1, answer=answer)
        story.add("c1.1", 1, reconcile_ended=ended)
    with serving_both(FakeRegistry(), FakeRuntime(story, run=waiting_run())) as server:
        code, out, _ = program("--server", server, "explain", RUN)

    assert code == 0
    assert "RECONCILE_ENDED: ask 1: NO_ANSWER" in out
    assert "PERFORMED" not in out


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (
            run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_COMPLETED, stop_reason=run_pb2.STOP_REASON_END_TURN),
            "it was answered",
        ),
        (
            run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_FAILED, error=failure()),
            "BUDGET_EXHAUSTED: The budget is used up.",
        ),
        (
            run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_CANCELLED, error=failure(error_pb2.ERROR_REASON_CANCELLED)),
            "CANCELLED",
        ),
    ],
)
def test_a_run_that_has_ended_says_why(run: run_pb2.RunSnapshot, why: str) -> None:
    run.ended_at.FromSeconds(START)

    text = message(run)

    assert why in text
    assert "since 2023-11-14 22:13:20Z" in text
    assert "waits" not in text


def test_what_strangers_wrote_does_not_reach_the_terminal() -> None:
    run = waiting_run()
    run.waiting_on[0].unblocked_by = "a\x1b[31mb\u202ec"

    assert "\x1b" not in message(run, callbacks=[callback(detail="x\x1b[2J")])


def test_the_command_asks_for_run_events_and_callbacks(program: Program) -> None:
    registry, runtime = FakeRegistry(callback()), FakeRuntime(stuck(), run=waiting_run())
    with serving_both(registry, runtime) as server:
        code, out, err = program("--server", server, "explain", RUN)

    assert (code, err) == (0, "")
    assert "desk-1 at 127.0.0.1:7761" in out
    assert "TOOL_RECOVERY_REQUIRED" in out
    assert [request.executor for request in registry.requests] == ["desk"]


def test_a_server_without_registrations_is_explained_all_the_same(program: Program) -> None:
    with serving(FakeRuntime(stuck(), run=waiting_run())) as server:
        code, out, _ = program("--server", server, "explain", RUN)

    assert code == 0
    assert "cannot be listed" in out


def test_a_held_run_says_why_and_what_can_be_done() -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_HELD, last_seq=3)
    run.error.reason = error_pb2.ERROR_REASON_JOURNAL_CORRUPT
    run.error.message, run.error.metadata["first_bad"] = "An event does not decode.", "4"
    run.waiting_on.add(kind=run_pb2.WAIT_KIND_RELEASE, subject="UNREADABLE")

    text = message(run)

    assert "HELD: the server does not drive it" in text
    assert "JOURNAL_CORRUPT: An event does not decode." in text
    assert "first bad  event 4" in text
    for word in ("release", "cancel", "remove"):
        assert f"runwright held {word} {RUN}" in text


def test_what_waits_for_an_executor_says_how_to_bring_it() -> None:
    lines = message(waiting_run(), retry()).splitlines()

    assert "why        c1.1 waits for EXECUTOR desk" in lines
    (to_do,) = [index for index, line in enumerate(lines) if line.startswith("to do ")]
    assert lines[to_do] == "to do      start executor desk where the server looks for it, or register it:"
    assert lines[to_do + 1].endswith("callbacks register desk-1 --executor desk --address HOST:PORT")


def test_a_run_that_failed_says_the_sentence_and_what_to_do_apart() -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_FAILED, error=failure())
    run.ended_at.FromSeconds(START)

    lines = message(run).splitlines()

    assert "why        BUDGET_EXHAUSTED: The budget is used up." in lines
    assert f"to do      {failure().remedy}" in lines


def test_the_last_error_says_what_the_tool_said_and_what_to_do() -> None:
    said = "The shelf is empty."
    failed = event_pb2.ToolFailed(reason=error_pb2.ERROR_REASON_TOOL_FAILED, message=ref(said))
    frame = Story().add("c1.1", 1, texts=(said,), tool_failed=failed).frames[0]
    contents = {content.ref.digest: content for content in frame.contents}
    found = Found(waiting_run(), [frame.event], {}, START, contents)

    text = "\n".join(explain_lines(found, HERE))

    assert "TOOL_FAILED: The shelf is empty." in text
    assert "  to do    The executor's log has what the tool raised" in text


def test_for_programs_there_is_the_sentence_what_to_do_and_every_fact(program: Program) -> None:
    with serving(FakeRuntime(stuck(), run=waiting_run())) as server:
        code, out, _ = program("--server", server, "explain", RUN, "-o", "json")

    explained = json.loads(out)
    assert code == 0
    assert (explained["run_id"], explained["status"]) == (RUN, "WAITING")
    assert explained["why"] == "c1.1 waits for EXECUTOR desk"
    assert explained["to_do"][0].startswith("start executor desk")
    assert explained["to_do"][1].endswith("callbacks register desk-1 --executor desk --address HOST:PORT")
    assert {"name": "run", "text": RUN} in explained["facts"]
