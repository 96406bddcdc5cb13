"""The stand-in for a model decides from what tools really return, and survives whatever they return."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest
from runwright.adapters.providers import demo
from runwright.adapters.providers.demo import DemoProvider
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import (
    AssistantMessage,
    Message,
    ModelReply,
    ModelRequest,
    ToolCallPart,
    ToolResultMessage,
    ToolSpecification,
    UserMessage,
)
from runwright.testing import ManualClock

from tests.runtime.watching import eventually

MOST_ROUNDS = 8
ARGUMENTS = {"list_files": None, "read_file": "path", "search": "text", "count_lines": "extension"}
GARDEN = {
    "README.md": "# Garden\nRoses need water.\nTulips need sun.\n",
    "beds/roses.txt": "roses here\nmore roses\nand roses\n",
    "beds/tulips.txt": "tulips here\n",
    "photo.jpg": "\0",
}
ENGINE = {
    "engine.go": "package engine\n// piston moves\n",
    "piston.go": "// piston, piston\n",
    "docs/readme.rst": "Engine\n",
}


def specification(name: str, argument: str | None) -> ToolSpecification:
    schema = {"type": "object"}
    if argument:
        schema |= {"properties": {argument: {"type": "string"}}, "required": [argument]}
    return ToolSpecification(name, "", schema)


def play(tool: str, subject: str, files: Mapping[str, str]) -> object:
    """What a well-behaved executor returns."""
    if tool == "list_files":
        return {"files": [{"path": path, "bytes": len(text)} for path, text in files.items()], "truncated": False}
    if tool == "read_file":
        return {"path": subject, "text": files.get(subject, "")}
    if tool == "search":
        lines = [(path, n, line) for path, text in files.items() for n, line in enumerate(text.splitlines(), 1)]
        found = [{"path": path, "line": n, "text": line} for path, n, line in lines if subject in line.lower()]
        return {"total": len(found), "matches": found}
    counts = {path: len(text.splitlines()) for path, text in files.items() if path.endswith(subject)}
    return {
        "files": len(counts),
        "lines": sum(counts.values()),
        "longest": max(counts, key=lambda path: counts[path], default=""),
    }


class Conversation:
    """A question, the tools, and what they return; `answers` replaces the results of single tools."""

    def __init__(
        self,
        question: str,
        files: Mapping[str, str],
        answers: Mapping[str, str | None] | None = None,
        tools: Mapping[str, str | None] = ARGUMENTS,
    ) -> None:
        self.files = files
        self.answers = answers or {}
        self.tools = tuple(specification(name, argument) for name, argument in tools.items())
        self.messages: list[Message] = [UserMessage((question,))]
        self.rounds: list[list[str]] = []  # what was asked in each round, as `tool subject`
        self.replies: list[ModelReply] = []

    async def next(self) -> ModelReply:
        """Asks a new provider, which cannot remember anything."""
        request = ModelRequest(
            run_id="run-1",
            round=len(self.replies) + 1,
            attempt=1,
            model="demo-1",
            parameters={},
            instructions="Look before you answer.",
            messages=tuple(self.messages),
            tools=self.tools,
        )
        pieces: list[str] = []
        reply = await DemoProvider().complete(request, pieces.append)
        assert "".join(pieces) == reply.text
        assert all(len(piece.split()) <= 1 for piece in pieces), "word by word"
        return reply

    async def answer(self) -> str:
        """The final text, after as many rounds as it takes."""
        for number in range(1, MOST_ROUNDS + 1):
            reply = await self.next()
            self.replies.append(reply)
            if not reply.calls:
                assert reply.finish is FinishReason.STOP
                return reply.text or ""
            self._perform(reply, number)
        raise AssertionError(f"no answer after {self.rounds}")

    def _perform(self, reply: ModelReply, number: int) -> None:
        assert reply.finish is FinishReason.TOOL_CALLS
        parts = [
            ToolCallPart(f"c{number}.{index}", call.provider_call_id, call.tool, call.arguments_json)
            for index, call in enumerate(reply.calls, start=1)
        ]
        self.messages.append(AssistantMessage(reply.text, tuple(parts)))
        self.rounds.append([])
        for part in parts:
            subject = next(iter(json.loads(part.arguments_json).values()), "")
            self.rounds[-1].append(f"{part.tool} {subject}".strip())
            message = self.answers.get(part.tool)
            content = message if message is not None else json.dumps(play(part.tool, subject, self.files))
            failed = part.tool in self.answers and message is not None and message.startswith("!")
            self.messages.append(ToolResultMessage(part.call_id, part.provider_call_id, part.tool, content, failed))


async def test_it_lists_then_looks_side_by_side_then_answers_from_what_it_saw() -> None:
    conversation = Conversation("Which roses are here?", GARDEN)

    answer = await conversation.answer()

    assert conversation.rounds == [
        ["list_files"],
        ["read_file README.md", "count_lines .txt", "search roses"],
        ["read_file beds/roses.txt"],
    ]
    for fact in ("4 files", "README.md has 3 lines", '"Garden"', "The .txt files (2) have 4 lines", "beds/roses.txt"):
        assert fact in answer
    assert '"roses" is found in 4 lines, most often (3) in beds/roses.txt, whose line 1 says "roses here"' in answer


async def test_another_directory_gets_another_answer() -> None:
    question = "What is this about?"
    garden, engine = await Conversation(question, GARDEN).answer(), await Conversation(question, ENGINE).answer()

    assert garden != engine
    assert "roses" in garden.lower()
    assert "The .go files (2)" in engine


async def test_another_question_gets_another_answer() -> None:
    roses, tulips = Conversation("Where are roses?", GARDEN), Conversation("Where are tulips?", GARDEN)

    assert await roses.answer() != await tulips.answer()
    assert "search tulips" in tulips.rounds[1]


async def test_without_a_word_in_the_question_it_takes_one_from_the_file_it_read() -> None:
    conversation = Conversation("What is in here?", GARDEN)

    await conversation.answer()

    assert conversation.rounds[1] == ["read_file README.md", "count_lines .txt"]
    assert conversation.rounds[2] == ["search garden"]


async def test_a_file_the_question_names_is_read_first() -> None:
    conversation = Conversation("What does beds/tulips.txt say?", GARDEN)

    assert 'begins with "tulips here"' in await conversation.answer()
    assert conversation.rounds[1][0] == "read_file beds/tulips.txt"


async def test_a_word_that_is_nowhere_leads_to_the_next_one() -> None:
    conversation = Conversation("Are there elephants or zebras?", GARDEN)

    answer = await conversation.answer()

    assert conversation.rounds[1][2:] + conversation.rounds[2] == ["search elephants", "search zebras"]
    assert '"elephants" is found nowhere.' in answer


WITH_A_REPORT = {**ARGUMENTS, "write_report": "text"}


async def test_a_question_for_a_report_ends_with_the_proposal_of_what_was_found() -> None:
    written = json.dumps({"path": "report.md", "bytes": 99})
    conversation = Conversation(
        "Where are the roses? Please write a Report!", GARDEN, {"write_report": written}, WITH_A_REPORT
    )
    plain = Conversation("Where are the roses?", GARDEN)

    said, found = await conversation.answer(), await plain.answer()

    assert conversation.rounds[:-1] == plain.rounds, "the sentence that asks for it is not searched for"
    [call] = conversation.rounds[-1]
    for fact in ("# Report\n", '- "roses" is found in 4 lines', "- I would read on in beds/roses.txt"):
        assert fact in call
    assert "I wrote my report to report.md (99 bytes)." in said
    assert '"roses" is found in 4 lines' in found


async def test_no_report_is_written_unasked_twice_or_without_the_tool() -> None:
    unasked = Conversation("Where are the roses?", GARDEN, tools=WITH_A_REPORT)
    without = Conversation("Write a report.", GARDEN)
    denied = Conversation("Write a report.", GARDEN, {"write_report": "!not on a Friday"}, WITH_A_REPORT)

    for conversation in (unasked, without):
        await conversation.answer()
        assert not [call for made in conversation.rounds for call in made if "write_report" in call]
    assert "write_report did not work; it answered: " in await denied.answer()
    assert sum("write_report" in call for made in denied.rounds for call in made) == 1


async def test_the_same_conversation_gets_the_same_answer() -> None:
    assert await Conversation("Roses?", GARDEN).answer() == await Conversation("Roses?", GARDEN).answer()


async def test_it_counts_tokens() -> None:
    conversation = Conversation("Which roses are here?", GARDEN)
    await conversation.answer()

    counts = [reply.input_tokens for reply in conversation.replies]
    assert counts[0] == 4 + 4  # the instructions and the question
    assert counts == sorted(set(counts))
    assert all(reply.output_tokens > 0 for reply in conversation.replies)


async def test_an_empty_directory_is_said_to_be_empty() -> None:
    conversation = Conversation("Which roses are here?", {})

    assert "no files to list" in await conversation.answer()
    assert conversation.rounds == [["list_files"]]


async def test_errors_are_mentioned_and_the_rest_is_used() -> None:
    conversation = Conversation("Which roses are here?", GARDEN, {"read_file": "!disk on fire", "search": "!too slow"})

    answer = await conversation.answer()

    assert 'read_file of README.md did not work; it answered: "!disk on fire".' in answer
    assert 'search of roses did not work; it answered: "!too slow".' in answer
    assert "The .txt files (2) have 4 lines" in answer


async def test_a_listing_that_fails_does_not_end_the_search() -> None:
    conversation = Conversation("Which roses are here?", GARDEN, {"list_files": "!no"})

    assert "list_files did not work" in await conversation.answer()
    assert conversation.rounds[1] == ["search roses"]


@pytest.mark.parametrize(
    "message", ["", "not json", "[]", "{}", "null", "7", '"text"', '{"files": 3, "matches": {}}', "[" * 5000]
)
@pytest.mark.parametrize("tool", sorted(ARGUMENTS))
async def test_whatever_a_tool_returns_there_is_an_answer(tool: str, message: str) -> None:
    assert await Conversation("Which roses are here?", GARDEN, {tool: message}).answer()


async def test_results_of_odd_shapes_are_used_as_far_as_they_go() -> None:
    listing = json.dumps({"files": ["a.txt", {"path": "b.txt", "size": -1}, {"path": 3}, None, {"path": "c\ud800.md"}]})
    matches = json.dumps({"matches": [{"path": "a.txt"}, {"path": "a.txt", "line": "x", "text": 5}]})
    conversation = Conversation(
        "Which roses?", GARDEN, {"list_files": listing, "search": matches, "read_file": "plain"}
    )

    answer = await conversation.answer()

    assert "3 files" in answer
    assert '"roses" is found in 2 lines, most often (2) in a.txt.' in answer
    assert 'begins with "plain"' in answer
    answer.encode()  # no lone surrogate got into it


async def test_only_tools_that_are_offered_are_asked() -> None:
    conversation = Conversation("Which roses are here?", GARDEN, tools={"search": "query"})

    assert "most often (3) in beds/roses.txt" in await conversation.answer()
    assert conversation.rounds == [["search roses"]]


async def test_arguments_have_the_names_of_the_schema() -> None:
    conversation = Conversation(
        "Roses?", GARDEN, tools={"list_files": "directory", "search": "pattern", "read_file": "which"}
    )

    await conversation.answer()

    requested = [
        json.loads(part.arguments_json)
        for one in conversation.messages
        if isinstance(one, AssistantMessage)
        for part in one.calls
    ]
    assert requested[:3] == [{"directory": "."}, {"which": "README.md"}, {"pattern": "roses"}]


@pytest.mark.parametrize(("tools", "said"), [({}, "no tools"), ({"fly": None}, "the tools fly, none of which helps")])
async def test_without_a_tool_it_says_so(tools: dict[str, str | None], said: str) -> None:
    answer = await Conversation("Which roses are here?", GARDEN, tools=tools).answer()

    assert said in answer
    assert '"Which roses are here?"' in answer


async def test_only_the_last_question_counts() -> None:
    conversation = Conversation("Which roses are here?", GARDEN)
    first = await conversation.answer()
    conversation.messages += [AssistantMessage(first, ()), UserMessage(("And tulips?",))]
    conversation.rounds, conversation.replies = [], []

    answer = await conversation.answer()

    assert answer.startswith('You asked: "And tulips?".')
    assert conversation.rounds[0] == ["list_files"]
    assert "search tulips" in conversation.rounds[1]


async def test_in_a_session_it_says_what_was_asked_before() -> None:
    before: list[Message] = [
        UserMessage(("What is in the garden?",)),
        AssistantMessage("Roses.", ()),
        UserMessage(("And the tulips?",)),
        AssistantMessage("There.", ()),
    ]

    alone = await complete([UserMessage(("Who waters them?",))])
    third = await complete([*before, UserMessage(("Who waters them?",))])

    assert "Before, you asked" not in (alone.text or "")
    assert (third.text or "").startswith(
        'You asked: "Who waters them?". Before, you asked: "And the tulips?" (and 1 question before that).'
    )


async def complete(messages: list[Message]) -> ModelReply:
    """What it says to a conversation, without tools."""
    request = ModelRequest(
        run_id="r", round=1, attempt=1, model="m", parameters={}, instructions="", messages=tuple(messages), tools=()
    )
    return await DemoProvider(ManualClock()).complete(request, [].append)


async def test_the_pace_is_a_parameter() -> None:
    clock = ManualClock()
    pieces: list[str] = []
    request = ModelRequest(
        run_id="run-1",
        round=1,
        attempt=1,
        model="demo-1",
        parameters={"words_per_second": 4},
        instructions="",
        messages=(UserMessage(("Hello there",)),),
        tools=(),
    )
    asking = asyncio.create_task(DemoProvider(clock).complete(request, pieces.append))
    for words in (1, 2, 3):
        await eventually(lambda: bool(clock.waiting))
        assert (len(pieces), clock.waiting) == (words, [clock.now() + 250_000])
        clock.advance(250_000)
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


HUGE = {
    "a listing of one line each": {"list_files": json.dumps([f"f{n}.x{n}" for n in range(20_000)], indent=0)},
    "a listing that is no JSON": {"list_files": "\n".join(f"file{n}.x{n}" for n in range(60_000))},
    "a text of words nobody repeats": {
        "read_file": json.dumps({"text": " ".join(f"wort{chr(97 + n % 26)}{n:06}" for n in range(60_000))}),
        "search": '{"matches": []}',
    },
    "a text that is no JSON": {"read_file": " ".join(f"abcdef{n}" for n in range(80_000)), "search": "[]"},
}


@pytest.mark.parametrize("name", HUGE)
async def test_of_a_huge_result_it_looks_at_a_part(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    counted: list[int] = []
    words, loads = demo._words, json.loads
    monkeypatch.setattr(demo, "_words", lambda text: counted.append(len(text)) or words(text))
    question = "Which " + " ".join(f"thing{n}" for n in range(8000)) + " are here?"
    conversation = Conversation(question, GARDEN, HUGE[name])
    monkeypatch.setattr(demo.json, "loads", lambda text: parsed.append(len(text)) or loads(text))

    assert await conversation.answer()

    assert max(parsed) <= demo._MOST_READ
    assert max(counted) <= demo._SMALL_BYTES
    rounds, results = len(conversation.rounds) + 1, sum(map(len, conversation.rounds))
    assert len(parsed) <= 3 * rounds * results, "each result and each call once a round"
