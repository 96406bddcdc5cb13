"""What is printed of events and trees: plain ASCII frames of lines, never wider than the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.style import Style
from runwright._gen.runwright.v1 import approval_pb2, content_pb2, error_pb2, event_pb2, policy_pb2, run_pb2
from runwright.cli import names, render
from runwright.cli.delta_text import DeltaLines
from runwright.cli.plain import event_line
from runwright.cli.tree import RunTree, State
from runwright.cli.tree_update import update_tree
from runwright.cli.view import view_for

from tests.cli.story import START, Story, failure, one_tool, ref, stuck

NASTY = "\x1b[2Jowned\u202e\n" + "long " * 50


def lines(story: Story, width: int | None = 80) -> list[str]:
    tree, printed = RunTree(), []
    for frame in story.frames:
        update_tree(tree, frame)
        printed.append(event_line(frame, tree, width))
    return printed


def drawn(story: Story, width: int = 80) -> list[str]:
    tree = RunTree()
    for frame in story.frames:
        update_tree(tree, frame)
    return [render.text(row, width).plain.rstrip() for row in render.rows(tree, now=START + 2.0)]


def test_every_event_is_one_line() -> None:
    assert lines(one_tool()) == [
        "22:13:20.000 #1   run started: package workspace, model demo-1 (demo)",
        "22:13:20.100 #2   turn started: Where is it?",
        "22:13:20.200 #3   round 1: model asked, attempt 1",
        "22:13:20.300 #4   round 1: model asks for 1 tool call in 100ms, 12+8 tokens:...",
        "22:13:20.400 #5   c1.1 list_files requested {}",
        "22:13:20.500 #6   c1.1 list_files allowed by builtin:read-only (effect.read)",
        "22:13:20.600 #7   c1.1 list_files started, attempt 1, executor workspace",
        '22:13:20.700 #8   c1.1 list_files done in 100ms: {"files":[]}',
        "22:13:20.800 #9   round 2: model asked, attempt 1",
        "22:13:20.900 #10  round 2: model answers in 100ms, 12+8 tokens: It is in a.txt.",
        "22:13:21.000 #11  turn completed",
        "22:13:21.100 #12  run completed in 1.1s: 2 rounds, 1 tool call, 24+16 tokens",
    ]


def released(release: event_pb2.ResultRelease.ValueType, **said: Any) -> Story:
    """A call whose result awaited its release, and got this."""
    story = Story().begin().model_says("m1", calls=1)
    completed = event_pb2.ToolCompleted(tool="look", result=ref("a token"), awaits_release=True)
    story.add("c1.1", 1, tool_completed=completed)
    return story.add("c1.1", tool_result_released=event_pb2.ToolResultReleased(tool="look", release=release, **said))


def test_what_the_model_is_told_of_a_result_is_said_behind_it() -> None:
    said = {"policy_ref": "policies.1", "code": "secret", "message": "Ask for something else."}

    shown = lines(released(event_pb2.RESULT_RELEASE_RELEASED), 160)
    hidden = lines(released(event_pb2.RESULT_RELEASE_WITHHELD, **said), 160)

    other = lines(released(event_pb2.RESULT_RELEASE_REPLACED, replacement=ref("***")), 160)

    assert other[-1].endswith("c1.1 look the model sees 3 other bytes in its place")
    assert shown[-1].endswith("c1.1 look released to the model")
    assert "withheld from the model, which is told so, by policies.1 (secret): Ask for something else." in hidden[-1]


def test_the_tree_says_of_a_call_that_its_result_is_withheld() -> None:
    tree = RunTree()
    for frame in released(event_pb2.RESULT_RELEASE_WITHHELD, policy_ref="policies.1", code="secret").frames:
        update_tree(tree, frame)

    [call] = tree.calls
    assert (call.state, call.note) == (State.DONE, "7 bytes, withheld: secret")


def test_the_tree_says_of_a_call_that_the_model_sees_something_else() -> None:
    tree = RunTree()
    for frame in released(event_pb2.RESULT_RELEASE_REPLACED, replacement=ref("***")).frames:
        update_tree(tree, frame)

    [call] = tree.calls
    assert (call.state, call.note) == (State.DONE, "7 bytes, replaced")


def test_what_a_remote_policy_in_shadow_mode_would_have_done_is_said_behind_the_decision() -> None:
    would = [
        policy_pb2.PolicyOpinion(verdict=verdict, policy_ref="policies.1", code="masked")
        for verdict in (policy_pb2.POLICY_VERDICT_MODIFY, policy_pb2.POLICY_VERDICT_DEFER)
    ]
    allowed = event_pb2.PolicyDecided(verdict=policy_pb2.POLICY_VERDICT_ALLOW, policy_ref="p", code="ok", shadow=would)
    story = Story().begin().model_says("m1", calls=1).add("c1.1", policy_decided=allowed)

    shown = lines(story, 200)[-1]

    assert "in shadow mode: replaced by policies.1 (masked), deferred by policies.1 (masked)" in shown


def test_bad_news_is_said_in_words() -> None:
    lost = lines(stuck())[-1]
    story = Story().begin().model_says("m1", calls=1)
    story.add("c1.1", tool_denied=event_pb2.ToolDenied(tool="send", policy_ref="p", code="effect.above_read"))
    story.add("m1", 1, model_attempt_failed=event_pb2.ModelAttemptFailed(error=failure()))
    story.add(run_failed=event_pb2.RunFailed(stop_reason=run_pb2.STOP_REASON_MAX_ROUNDS, error=failure()))
    denied, model, run = lines(story, 120)[-3:]

    assert lost.endswith("c1.1 send UNKNOWN outcome, not repeated: EXECUTOR_LOST")
    assert denied.endswith("c1.1 send denied; the model is told (effect.above_read)")
    assert "model failed in 300ms: BUDGET_EXHAUSTED: The budget is used up. Raise it." in model
    assert run.endswith("run failed in 600ms: MAX_ROUNDS")


def test_who_had_a_call_that_failed_is_said() -> None:
    who = run_pb2.ExecutorIdentity(callback_id="desk-1", principal="shop", address="10.0.0.1:7761")
    operators = run_pb2.ExecutorIdentity(principal="local", address="desk:1")
    planned = event_pb2.RetryScheduled(reason=error_pb2.ERROR_REASON_TOOL_TIMED_OUT, executor_identity=who)
    failed = event_pb2.ToolFailed(reason=error_pb2.ERROR_REASON_TOOL_ANSWER_INVALID, executor_identity=operators)
    story = Story().add("c1.1", 1, retry_scheduled=planned)
    story.add("c1.1", 2, tool_failed=failed)

    waits, ends = lines(story, width=120)

    assert waits.endswith("waits: TOOL_TIMED_OUT (desk-1 of shop at 10.0.0.1:7761)")
    assert "TOOL_ANSWER_INVALID (the configured executor of local at desk:1). Correct the executor..." in ends


def test_a_request_that_is_made_again_says_when_and_a_fallback_which() -> None:
    story = Story().begin()
    story.add("m1", 1, model_attempt_started=event_pb2.ModelAttemptStarted(provider="demo", model="demo-1"))
    story.add("m1", 1, model_attempt_failed=event_pb2.ModelAttemptFailed(error=failure()))
    planned = event_pb2.RetryScheduled(reason=error_pb2.ERROR_REASON_PROVIDER_RATE_LIMITED)
    planned.not_before.FromMicroseconds(story.frames[-1].event.time.ToMicroseconds() + 7_100_000)
    story.add("m1", 1, retry_scheduled=planned)
    waiting = drawn(story)
    spare = event_pb2.ModelAttemptStarted(provider="spare", model="m-2", route=1)
    story.add("m1", 2, model_attempt_started=spare)

    *_, first, _, again, second = lines(story, 120)
    assert first.endswith("round 1: model asked, attempt 1")
    assert again.endswith("round 1: model is asked again in 7.0s: PROVIDER_RATE_LIMITED")
    assert second.endswith("round 1: model asked, attempt 2, model m-2 (spare)")
    assert any("waiting" in line for line in waiting)
    assert any("m-2" in line for line in drawn(story))


def test_an_image_is_told_by_its_kind_and_size() -> None:
    story = Story().begin()
    ref = content_pb2.ContentRef(digest="sha256:00", size=70, media_type="image/png")
    story.frames[1].event.turn_started.input.append(ref)
    story.frames[1].contents.add(ref=ref, data=b"\x89PNG")

    assert lines(story)[1].endswith("(image/png, 70 bytes)")


def test_an_event_of_an_unknown_kind_is_named() -> None:
    frame = event_pb2.EventFrame(event=event_pb2.Event(seq=3, kind=99))  # type: ignore[arg-type]

    assert event_line(frame, RunTree()).endswith("event of kind EVENT_KIND_99, unknown to this client")


@pytest.mark.parametrize("width", [40, 80])
def test_no_text_of_others_breaks_a_line(width: int) -> None:
    story = Story().begin(NASTY).model_says("m1", NASTY, calls=1).request("c1.1", NASTY, NASTY)
    story.start("c1.1", NASTY).result("c1.1", NASTY, NASTY).complete(NASTY)

    for line in lines(story, width) + drawn(story, width):
        assert cell_len(line) <= width
        assert line.isprintable()


def test_a_tree_shows_states_attempts_times_and_tokens() -> None:
    story = Story().begin().model_says("m1", "I look.", calls=2).request("c1.1", "list_files")
    story.request("c1.2", "send").start("c1.1", "list_files").start("c1.2", "send", attempt=2)
    story.result("c1.1", "list_files", "x")

    assert drawn(story) == [
        "run run-1 (analyst, demo-1)                 running    2.0s",
        "turn: Where is it?",
        "|- round 1: model: I look.                  done       100ms   12+8 tokens",
        "   |- c1.1 list_files {}                    done       200ms   attempt 1",
        "   |- c1.2 send {}                          running    1.1s    attempt 2",
    ]


def test_a_tree_says_why_a_call_did_not_succeed() -> None:
    failed = event_pb2.ToolFailed(tool="look", reason=error_pb2.ERROR_REASON_TOOL_TIMED_OUT)
    story = Story().begin().model_says("m1", calls=1).request("c1.1", "look").start("c1.1", "look")

    line = drawn(story.add("c1.1", 1, tool_failed=failed))[-1]

    assert line == "   |- c1.1 look {}: TOOL_TIMED_OUT          failed     100ms   attempt 1"


def test_colour_only_repeats_the_word() -> None:
    tree = RunTree()
    for frame in one_tool().frames:
        update_tree(tree, frame)

    for row in render.rows(tree, now=START):
        for span in render.text(row, 80).spans:
            assert row.state is not None
            assert render.text(row, 80).plain[span.start : span.end].strip() == row.state.value
            assert isinstance(span.style, str | Style)


def test_names_newer_than_this_client_keep_their_number() -> None:
    assert names.reason(error_pb2.ERROR_REASON_DRAINING) == "DRAINING"
    assert names.reason(9999) == "ERROR_REASON_9999"


@pytest.mark.parametrize(
    ("duration", "text"), [(None, ""), (0.0123, "12ms"), (3.14, "3.1s"), (75.2, "1m15s"), (3 * 3600 + 120, "3h02m")]
)
def test_durations_read_well(duration: float | None, text: str) -> None:
    assert names.elapsed(duration) == text


@pytest.mark.parametrize(("terminal", "width"), [(None, None), (40, 40), (160, 160)])
def test_lines_of_events_are_as_wide_as_the_terminal_and_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, terminal: int | None, width: int | None
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal is not None)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(terminal or 80))
    said = "word " * 2_000
    view = view_for(stream)

    for frame in Story().begin().model_says("m1", said).frames:
        view.take(frame)

    line = stream.getvalue().splitlines()[-1]
    if width is None:
        assert line.endswith(said.strip())
    else:
        assert len(line) == width
        assert line.endswith("...")


def test_a_text_that_comes_loses_no_wide_character_at_the_end_of_a_line() -> None:
    delta_text, said = DeltaLines(40), "\u6f22" * 100

    message = [*delta_text.take(Story().begin().delta("m1", said, 0).frames[-1].event, said), *delta_text.end()]

    assert "".join(line.partition("round 1: ")[2] for line in message) == said


def test_a_call_that_failed_says_what_to_do() -> None:
    failed = event_pb2.ToolFailed(reason=error_pb2.ERROR_REASON_TOOL_TIMED_OUT)

    (line,) = lines(Story().add("c1.1", 1, tool_failed=failed), width=None)

    assert line.endswith("failed: TOOL_TIMED_OUT. Raise the tool's timeout_ms or make the tool faster.")


def test_asking_what_became_of_a_call_is_told_ask_by_ask() -> None:
    story = stuck()
    ended = event_pb2.ReconcileEnded(reason=error_pb2.ERROR_REASON_EXECUTOR_LOST)
    ended.give_up_at.FromSeconds(START + 600)
    story.add("c1.1", 1, reconcile_ended=ended)
    story.add("c1.1", 1, reconcile_started=event_pb2.ReconcileStarted(executor="desk", ask=1))
    said = event_pb2.ReconcileEnded(ask=1, answer=event_pb2.RECONCILE_ANSWER_CANNOT_SAY)
    said.next_ask_at.FromSeconds(START + 9)
    story.add("c1.1", 1, reconcile_ended=said)
    done = event_pb2.ReconcileEnded(ask=2, answer=event_pb2.RECONCILE_ANSWER_PERFORMED)
    story.add("c1.1", 1, reconcile_ended=done)

    told = [line.partition("c1.1 send ")[2] for line in lines(story, None)[-4:]]

    assert told == [
        "attempt 1 is lost: EXECUTOR_LOST; its executor is asked what became of it, until 2023-11-14 22:23:20Z",
        "executor desk is asked what became of attempt 1, ask 1",
        "ask 1: CANNOT_SAY; asked again in 8.0s",
        "ask 2: PERFORMED",
    ]


def questions() -> Story:
    """A call about which a policy is asked: lost, asked again, deferred, resumed, replaced."""
    story = Story().begin().model_says("m1", calls=1)
    story.add("c1.1", tool_requested=event_pb2.ToolRequested(tool="look", arguments=ref("{}")), texts=("{}",))
    remote = event_pb2.RemotePolicy(policy="compliance")
    asked = event_pb2.PolicyAsked(remote=remote, stage=policy_pb2.POLICY_STAGE_PRE_TOOL)
    story.add("p1.1.1", 1, policy_asked=asked)
    lost = error_pb2.AgentError(reason=error_pb2.ERROR_REASON_POLICY_LOST)
    story.add("p1.1.1", 1, policy_answered=event_pb2.PolicyAnswered(remote=remote, error=lost))
    again = event_pb2.RetryScheduled(reason=error_pb2.ERROR_REASON_POLICY_LOST)
    again.not_before.FromSeconds(START + 1)
    story.add("p1.1.1", 2, retry_scheduled=again).add("p1.1.1", 2, policy_asked=asked)
    deferred = event_pb2.PolicyAnswer(verdict=policy_pb2.POLICY_VERDICT_DEFER, code="later")
    deferred.defer_until.FromSeconds(START + 600)
    story.add("p1.1.1", 2, policy_answered=event_pb2.PolicyAnswered(remote=remote, answer=deferred))
    story.add("p1.1.1", policy_resumed=event_pb2.PolicyResumed(resumed_by="ann", reason="go"))
    modified = event_pb2.PolicyAnswer(verdict=policy_pb2.POLICY_VERDICT_MODIFY)
    answered = event_pb2.PolicyAnswered(remote=remote, answer=modified, cached_from="p1.0.1")
    story.add("p1.1.2", 1, policy_answered=answered)
    new = event_pb2.SubjectReplaced(
        stage=policy_pb2.POLICY_STAGE_PRE_TOOL, policy_ref="policies.1", replacement=ref('{"a":1}')
    )
    return story.add("c1.1", subject_replaced=new, texts=('{"a":1}',))


def test_what_is_asked_of_remote_policies_is_told_question_by_question() -> None:
    assert [line.partition("  ")[2].strip() for line in lines(questions(), None)[5:]] == [
        "p1.1.1 policy compliance is asked at pre_tool, attempt 1",
        "p1.1.1 policy compliance gave no answer: POLICY_LOST",
        "p1.1.1 asked again in 300ms: POLICY_LOST",
        "p1.1.1 policy compliance is asked at pre_tool, attempt 2",
        "p1.1.1 policy compliance says defer until 2023-11-14 22:23:20Z (later)",
        "p1.1.1 resumed by ann: go",
        "p1.1.2 policy compliance says modify, as to question p1.0.1",
        'c1.1 look replaced at pre_tool by policies.1: {"a":1}',
    ]


def test_a_policy_that_is_asked_holds_its_call_and_not_the_model() -> None:
    story = questions()
    rows = [drawn_of(story, number) for number in (8, 10)]

    assert "done" in rows[0][2] and "done" in rows[1][2], "the round, whose request was answered"
    assert "waiting" in rows[0][3] and "POLICY_LOST" in rows[0][3]
    assert "waiting" in rows[1][3] and "deferred until 2023-" in rows[1][3]
    assert '{"a":1}' in drawn(story)[3]


def drawn_of(story: Story, count: int) -> list[str]:
    """The tree after that many events."""
    shorter = Story()
    shorter.frames = story.frames[:count]
    return drawn(shorter)


def effects_of(body: str) -> tuple[str, ...]:
    """What an event with this body is about; an empty id: the run."""
    if body.startswith("approval_dispatch"):
        return ("n1.1.1.1", "n0.1.1")
    if body.startswith("policy_") and body != "policy_decided":
        return ("p1.1.1", "p0.1")
    if body.startswith("approval_") or body in {"policy_decided", "subject_replaced"}:
        return ("", "c1.1")
    if body == "retry_scheduled":
        return ("m1", "c1.1", "p1.1.1")
    if body.startswith("model_"):
        return ("m1",)
    return ("",) if body.startswith(("run_", "turn_", "context_")) else ("c1.1",)


def test_every_kind_of_event_has_a_line_of_its_own_whatever_it_is_about() -> None:
    bodies = [each.name for each in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields]
    bodies.remove("model_stream_delta")  # pieces of text are shown as they come, and are no lines of their own
    told = [
        (body, effect, lines(Story().add(effect, **{body: {}}), None)[0])
        for body in bodies
        for effect in effects_of(body)
    ]

    assert [each for each in told if "unknown to this client" in each[2]] == []


def start_that_is_approved() -> Story:
    """A run whose start somebody approves, which a dispatcher is told of."""
    asked = event_pb2.PolicyDecided(
        stage=policy_pb2.POLICY_STAGE_RUN_START,
        verdict=policy_pb2.POLICY_VERDICT_ASK,
        rule="policies.0.rules.0",
        code="starts",
    )
    requested = event_pb2.ApprovalRequested(
        approval_id="a0.1",
        kind=approval_pb2.APPROVAL_KIND_RUN_START,
        sets=[approval_pb2.ApproverSet(roles=["approver"])],
    )
    told = event_pb2.ApprovalDispatchStarted(
        approval_id="a0.1", dispatcher="chat", notice=approval_pb2.APPROVAL_NOTICE_DISPATCH
    )
    story = Story().add(run_started=event_pb2.RunStarted(package_id="workspace", provider="demo", model="demo-1"))
    return (
        story.add(policy_decided=asked)
        .add(approval_requested=requested)
        .add("n0.1.1", 1, approval_dispatch_started=told)
    )


def test_of_a_start_that_is_asked_about_it_is_said_who_decides_who_is_told_and_what_was_decided() -> None:
    decided = event_pb2.ApprovalDecided(
        approval_id="a0.1", verdict=approval_pb2.APPROVAL_VERDICT_APPROVE, decided_by="ann"
    )

    said = [line[18:] for line in lines(start_that_is_approved().add(approval_decided=decided), None)[1:]]

    assert said == [
        "run_start asked about by policies.0.rules.0 (starts)",
        "waits for a0.1, the start of the run, by role approver, until 1970-01-01 00:00:00Z",
        "n0.1.1 a0.1: telling dispatcher chat that it is asked for",
        "a0.1: APPROVE by ann",
    ]


def test_the_tree_of_a_run_whose_start_is_asked_about_waits_and_has_no_round() -> None:
    waiting = drawn(start_that_is_approved(), 100)
    decided = event_pb2.ApprovalDecided(approval_id="a0.1", verdict=approval_pb2.APPROVAL_VERDICT_APPROVE)
    going_on = drawn(start_that_is_approved().add(approval_decided=decided))

    assert len(waiting) == len(going_on) == 1
    assert waiting[0].startswith("run run-1 (analyst, demo-1): for approval run-1/a0.1")
    assert "waiting" in waiting[0]
    assert "running" in going_on[0]
    assert "approval" not in going_on[0]


def test_a_run_that_ends_early_by_itself_is_not_said_to_be_cancelled_by_nobody() -> None:
    ended = event_pb2.RunCancelRequested(reason="Nobody decided on a call in time.")

    assert lines(Story().begin().add(run_cancel_requested=ended), None)[-1].endswith(
        "the run is being ended: Nobody decided on a call in time."
    )
