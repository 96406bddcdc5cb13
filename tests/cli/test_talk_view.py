"""What a chat shows of a turn: the text as it comes, each answer once, and what the agent does beside it."""

from __future__ import annotations

import pytest
from runwright.cli.talk_view import TalkView

from tests.cli.story import Story, one_tool


def shown(story: Story, answer: str, *, streams: bool = True) -> tuple[str, list[str]]:
    """What goes to standard output, and the notes."""
    said: list[str] = []
    notes: list[str] = []
    view = TalkView(said.append, notes.append, streams=streams)
    for frame in story.frames:
        view.take(frame)
    view.answer(answer)
    return "".join(said), [note[18:] for note in notes]


def streamed() -> Story:
    """A run with a call, whose texts came piece by piece."""
    story = Story().begin().delta("m1", "I look", 0).delta("m1", ".", 6).model_says("m1", "I look.", calls=1)
    story.request("c1.1", "list_files").start("c1.1", "list_files").result("c1.1", "list_files", '{"files":[]}')
    story.ask_model("m2").delta("m2", "It is ", 0).delta("m2", "in a.txt.", 6)
    return story.model_says("m2", "It is in a.txt.").complete("It is in a.txt.")


def test_text_is_said_as_it_comes_and_an_answer_once() -> None:
    said, notes = shown(streamed(), "It is in a.txt.")

    assert said == "I look.\nIt is in a.txt.\n"
    assert notes == ["c1.1 list_files requested {}", 'c1.1 list_files done in 100ms: {"files":[]}']


def test_pieces_are_said_before_the_text_is_complete() -> None:
    said: list[str] = []
    view = TalkView(said.append, lambda _: None, streams=True)
    for frame in Story().begin().delta("m1", "It ", 0).delta("m1", "is", 3).frames:
        view.take(frame)

    assert said == ["It ", "is"]


def test_a_pipe_gets_the_answer_alone() -> None:
    said, notes = shown(one_tool(), "It is in a.txt.", streams=False)

    assert said == "It is in a.txt.\n"
    assert not any("It is in" in note for note in notes)


def test_what_was_not_heard_as_it_came_is_said_at_its_end() -> None:
    assert shown(one_tool(), "It is in a.txt.")[0] == "I look.\nIt is in a.txt.\n"


def test_an_attempt_that_begins_anew_has_a_line_of_its_own() -> None:
    story = Story().begin().delta("m1", "It is", 0).delta("m1", "There it is.", 0, attempt=2)

    assert shown(story, "There it is.")[0] == "It is\nThere it is.\n"


def test_pieces_that_come_again_after_a_lost_connection_are_said_once() -> None:
    story = Story().begin().delta("m1", "It is ", 0).delta("m1", "It is here.", 0)

    assert shown(story, "It is here.")[0] == "It is here.\n"


@pytest.mark.parametrize("answer", ["Another answer.", "It is here, and there."])
def test_an_answer_that_was_not_heard_is_said_whole(answer: str) -> None:
    story = Story().begin().delta("m1", "It is here", 0)

    assert shown(story, answer)[0] == f"It is here\n{answer}\n"


def test_what_is_said_cannot_steer_the_terminal() -> None:
    story = Story().begin().delta("m1", "\x1b[31mred\x07", 0)

    assert shown(story, "[31mred")[0] == "[31mred\n"
