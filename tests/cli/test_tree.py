"""Events add up to a tree."""

from __future__ import annotations

from runwright._gen.runwright.v1 import error_pb2, event_pb2, run_pb2
from runwright.cli.tree import RunTree, State
from runwright.cli.tree_update import update_tree
from runwright.wire.snapshots import inline_bytes

from tests.cli.story import Story, bookmark, failure, one_tool, stuck


def grown(story: Story, first: int = 0) -> RunTree:
    tree = RunTree()
    for frame in story.frames[first:]:
        update_tree(tree, frame)
    return tree


def test_a_whole_run_is_a_tree_of_rounds_and_calls() -> None:
    tree = grown(one_tool())

    assert (tree.run_id, tree.agent, tree.model, tree.question) == ("run-1", "analyst", "demo-1", "Where is it?")
    assert tree.state is State.DONE
    assert [(number, step.state, step.note) for number, step in tree.rounds.items()] == [
        (1, State.DONE, "I look."),
        (2, State.DONE, "It is in a.txt."),
    ]
    assert tree.rounds[1].tokens == (12, 8)
    (call,) = tree.calls
    assert (call.tool, call.arguments, call.state, call.attempt) == ("list_files", "{}", State.DONE, 1)
    assert round(call.elapsed(now=0) or 0, 3) == 0.1
    assert tree.cursor == "cursor-12"


def test_the_terminal_event_says_how_the_run_ended() -> None:
    outcome = grown(one_tool("Here.")).outcome

    assert outcome is not None
    assert outcome.status == run_pb2.RUN_STATUS_COMPLETED
    assert inline_bytes(outcome.result) == b"Here."
    assert outcome.usage.tool_calls == 1


def test_an_answer_that_was_not_sent_along_is_known_to_be_there() -> None:
    story = one_tool()
    del story.frames[-1].contents[:]

    outcome = grown(story).outcome

    assert outcome is not None
    assert outcome.result.omitted


def test_a_failed_run_names_its_failure() -> None:
    ended = event_pb2.RunFailed(stop_reason=run_pb2.STOP_REASON_MAX_ROUNDS, error=failure())
    tree = grown(Story().begin().add(run_failed=ended))

    assert tree.state is State.FAILED
    assert tree.outcome is not None
    assert tree.outcome.error.reason == error_pb2.ERROR_REASON_BUDGET_EXHAUSTED


def test_a_cancelled_run_names_the_calls_that_stay_unknown() -> None:
    requested = event_pb2.RunCancelRequested(reason="enough", requested_by="local")
    story = stuck().add(run_cancel_requested=requested)
    tree = grown(story)
    assert tree.state is State.CANCELLING
    assert not tree.stuck

    tree = grown(story.add(run_cancelled=event_pb2.RunCancelled(unknown_effects=["c1.1"])))

    assert tree.outcome is not None
    (effect,) = tree.outcome.open_effects
    assert (effect.effect_id, effect.tool, effect.idempotency_key) == ("c1.1", "send", "key-c1.1")


def test_a_run_is_stuck_once_a_call_is_unknown_and_none_is_under_way() -> None:
    story = Story().begin().model_says("m1", calls=2).request("c1.1", "send").request("c1.2", "look")
    story.start("c1.1", "send").start("c1.2", "look").lose("c1.1", "send")
    assert not grown(story).stuck

    assert grown(story.result("c1.2", "look", "seen")).stuck


def test_attempts_count_up_and_the_clock_runs_from_the_first() -> None:
    retry = event_pb2.RetryScheduled(reason=error_pb2.ERROR_REASON_EXECUTOR_UNAVAILABLE)
    story = Story().begin().model_says("m1", calls=1).request("c1.1", "look").start("c1.1", "look")
    story.add("c1.1", 1, retry_scheduled=retry)
    (call,) = grown(story).calls
    assert (call.state, call.note) == (State.WAITING, "EXECUTOR_UNAVAILABLE")

    (call,) = grown(story.start("c1.1", "look", attempt=2).result("c1.1", "look", "x", attempt=2)).calls

    assert (call.state, call.attempt) == (State.DONE, 2)
    assert round(call.elapsed(now=0) or 0, 3) == 0.3


def test_a_tree_grows_from_the_middle_of_a_run() -> None:
    tree = grown(one_tool(), first=7)  # the call's result comes first

    (call,) = tree.calls
    assert (call.tool, call.state, call.elapsed(now=1e10)) == ("list_files", State.DONE, None)
    assert tree.state is State.DONE


def test_what_this_client_does_not_know_moves_only_the_cursor() -> None:
    tree = grown(Story().begin())
    newer = event_pb2.EventFrame(cursor="cursor-9", event=event_pb2.Event(seq=9, effect_id="c1.1", round=1))

    update_tree(tree, newer)
    update_tree(tree, bookmark("cursor-10", 10))

    assert tree.cursor == "cursor-10"
    assert tree.state is State.RUNNING
