"""A stand-in for a model, for demos and tests: no key, no network, the same answer to the same conversation."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

from pydantic import JsonValue

from runwright.adapters.providers.demo_answers import Done, answer, files_of, intention, places, read_text, report
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.images import Image
from runwright.core.outcomes import FinishReason
from runwright.ports.clock import Clock
from runwright.ports.provider import (
    AssistantMessage,
    EmitText,
    Message,
    ModelReply,
    ModelRequest,
    ProviderCall,
    ToolResultMessage,
    ToolSpecification,
    UserMessage,
)

# Which argument of a tool takes the one thing that is asked about; the first that its schema has.
_ARGUMENT = {
    "read_file": ("path", "file", "name"),
    "search": ("text", "query", "word", "pattern"),
    "count_lines": ("extension", "suffix", "path"),
    "write_report": ("text",),
}
_MOST_CALLS = {"list_files": 1, "count_lines": 1, "read_file": 2, "search": 2, "write_report": 1}
_SMALL_BYTES = 64 * 1024
# How much of a result, a question and a listing it looks at: it works on the loop, and tools may answer a mebibyte.
_MOST_READ, _MOST_TOPICS = 256 * 1024, 4 * 1024
_MOST_FILES, _MOST_SUFFIXES, _MOST_WORDS = 2000, 100, 200
_TEXT_SUFFIXES = {".md", ".txt", ".rst", ".toml", ".yaml", ".yml", ".json", ".py", ".go", ".rs", ".js", ".ts", ".java"}
_COMMON = """
about all also and any are been before between but can contain contains could count did directory does each every file
files find first folder for from get had has have here how into its itself know like line lines list look made many more
most must not only other our out over please read say says search see should show some such tell than that the their
them then there these they thing things this those used using very want was what when where which while who why will
with without word words would you your
"""
_REPORT = re.compile(r"[^.?!]*\breport\b[^.?!]*[.?!]*", re.IGNORECASE)  # the sentence that asks for one
_COMMON_WORDS = frozenset(_COMMON.split())


class DemoProvider:
    """Plays a model that looks before it answers. It decides from the conversation alone, so restarts change nothing.

    Its rules: first `list_files`. From the real listing, side by side,
    `read_file` of what the question names, else a README, else the largest small
    text; `count_lines` of the most frequent ending; `search` for a word of the
    question. If the question has no word to search for, it takes one from the
    file it read; if the word is nowhere, the next one; if it is found, it reads
    the file that has it most often. A question for a *report* has it propose
    what it would answer to `write_report`. Then it answers with numbers, names and
    lines from the results, and says what went wrong. It uses only tools that
    the request offers and asks for nothing twice. In a session it says what was
    asked before. It sees no images and says so. Its text comes word by word: at
    once, or at the pace of the parameter `words_per_second`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """Without a clock there is no pace."""
        self._clock = clock

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """Asks for tools or answers."""
        if _shows_an_image(request.messages):
            sentence = "The demo provider cannot see images; a package for a real model can."
            raise AgentError(ErrorReason.PROVIDER_REFUSED, sentence, metadata={"adapter": "demo"})
        question, done = _conversation(request.messages)
        earlier = _questions(request.messages)[:-1]
        offered = {tool.name: tool for tool in request.tools}
        plan = _plan(question, done, offered)
        turn = 1 + sum(isinstance(message, AssistantMessage) for message in request.messages)
        calls = tuple(
            ProviderCall(f"demo-{turn}-{number}", tool, json.dumps(_arguments(offered[tool], subject)))
            for number, (tool, subject) in enumerate(plan, start=1)
        )
        text = intention(plan) if plan else answer(question, earlier, done, sorted(offered))
        text = text.encode("utf-8", "replace").decode()  # a tool's JSON can hold lone surrogates; an answer must not
        await self._speak(text, request.parameters.get("words_per_second"), emit)
        return ModelReply(
            text=text,
            calls=calls,
            finish=FinishReason.TOOL_CALLS if calls else FinishReason.STOP,
            input_tokens=_input_words(request),
            output_tokens=len(text.split()) + sum(1 + len(call.arguments_json.split()) for call in calls),
        )

    async def _speak(self, text: str, pace: JsonValue, emit: EmitText) -> None:
        for word in re.split(r"(?<=\s)(?=\S)", text):
            emit(word)
            if self._clock is not None and isinstance(pace, int | float):
                await self._clock.sleep_until(self._clock.now() + int(1_000_000 / max(pace, 1)))


def _shows_an_image(messages: Sequence[Message]) -> bool:
    said = (part for message in messages if isinstance(message, UserMessage) for part in message.parts)
    return any(isinstance(part, Image) for part in said)


def _texts(message: UserMessage) -> list[str]:
    return [part for part in message.parts if isinstance(part, str)]


def _conversation(messages: Sequence[Message]) -> tuple[str, list[Done]]:
    """The last question and the calls made for it, in order, each with its result."""
    question = ""
    done: list[Done] = []
    subjects: dict[str, str] = {}
    for message in messages:
        match message:
            case UserMessage():
                question, done = " ".join(" ".join(_texts(message)).split()), []
            case AssistantMessage(calls=calls):
                subjects |= {call.call_id: _subject(call.arguments_json) for call in calls}
            case ToolResultMessage(call_id=call_id, tool=tool, content=content, is_error=is_error):
                read = content[:_MOST_READ]
                done.append(Done(tool, subjects.get(call_id, ""), read, is_error, _object(read)))
    return question, done


def _object(content: str) -> Mapping[str, JsonValue]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    value = {"files": value, "matches": value} if isinstance(value, list) else value
    return value if isinstance(value, dict) else {}


def _questions(messages: Sequence[Message]) -> list[str]:
    """Everything the user asked in the session, the present question last."""
    return [" ".join(" ".join(_texts(message)).split()) for message in messages if isinstance(message, UserMessage)]


def _subject(arguments_json: str) -> str:
    try:
        arguments = json.loads(arguments_json)
    except (ValueError, RecursionError):
        return ""
    texts = [value for value in arguments.values() if isinstance(value, str)] if isinstance(arguments, dict) else []
    return texts[0] if texts else ""


# What to ask for next


def _plan(question: str, done: Sequence[Done], offered: Mapping[str, ToolSpecification]) -> list[tuple[str, str]]:
    """Tools and subjects that are worth asking for now: offered, not asked before, not used up. Empty: answer."""
    earlier = {(one.tool, one.subject) for one in done}
    times = Counter(one.tool for one in done)
    wants_report = "write_report" in offered and _REPORT.search(question) is not None
    topic = _REPORT.sub("", question).strip() if wants_report else question
    wanted = _wanted(topic or question, done, lists="list_files" in offered)
    looks = [one for one in wanted if one[0] in offered and one not in earlier and times[one[0]] < _MOST_CALLS[one[0]]]
    if looks or times["write_report"] or not wants_report:
        return looks
    return [("write_report", report(question, done))]


def _wanted(question: str, done: Sequence[Done], *, lists: bool) -> list[tuple[str, str]]:
    listings = [one for one in done if one.tool == "list_files"]
    files = files_of(done)
    if lists and not listings:
        return [("list_files", ".")]
    if listings and not files and not listings[0].is_error:
        return []
    words = _question_words(question, files)
    if len(done) == len(listings):
        return [*_first_look(question, files), *(("search", word) for word in words[:1])]
    searches = [one for one in done if one.tool == "search"]
    found = next((one for one in reversed(searches) if one.items("matches")), None)
    if found is not None:
        return [("read_file", places(found)[0][0])]
    words += [word for one in done for word in _frequent_words(one)]
    tried = {one.subject for one in searches}
    return [("search", word) for word in words if word not in tried][:1]


def _first_look(question: str, files: Mapping[str, int]) -> list[tuple[str, str]]:
    question, files = question[:_MOST_TOPICS], dict(islice(files.items(), _MOST_FILES))
    all_suffixes = Counter(suffix for path in files if (suffix := PurePosixPath(path).suffix))
    suffixes = dict(all_suffixes.most_common(_MOST_SUFFIXES))
    named = [suffix for suffix in suffixes if re.search(re.escape(suffix) + r"\b", question)]
    best = sorted(named or suffixes, key=lambda suffix: (-suffixes[suffix], suffix))
    document = _document(question, files)
    return [("read_file", path) for path in [document] if path] + [("count_lines", suffix) for suffix in best[:1]]


def _document(question: str, files: Mapping[str, int]) -> str:
    """The file that promises most: named by the question, a README, the largest small text, the smallest file."""

    def rank(path: str) -> tuple[bool, bool, int, bool, int, str]:
        name = PurePosixPath(path).name
        named = path in question or (len(name) > 3 and name in question)
        readme = name.lower().startswith("readme")
        small = files[path] <= _SMALL_BYTES
        text = PurePosixPath(path).suffix.lower() in _TEXT_SUFFIXES and small
        size = -files[path] if small else files[path]
        return not named, not readme, path.count("/") if readme else 0, not text, size, path

    return min(files, key=rank, default="")


def _arguments(tool: ToolSpecification, subject: str) -> dict[str, JsonValue]:
    """The arguments under the names that the tool's schema gives them."""
    schema = tool.parameters_schema
    required = schema.get("required")
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    if tool.name == "list_files":
        return dict.fromkeys(names, subject)
    properties = schema.get("properties")
    usual = _ARGUMENT[tool.name]
    known = [name for name in usual if isinstance(properties, dict) and name in properties]
    return {[*known, *names, *usual][0]: subject}


# Words of questions and files


def _words(text: str) -> list[str]:
    found = re.findall(r"[^\W\d_][^\W_]{2,}", text.lower())
    return [word for word in dict.fromkeys(found) if word not in _COMMON_WORDS]


def _question_words(question: str, files: Mapping[str, int]) -> list[str]:
    """Words worth searching for: those that file names have too come first, then the longest."""
    names = " ".join(islice(files, _MOST_FILES)).lower()[:_SMALL_BYTES]
    return sorted(_words(question[:_MOST_TOPICS]), key=lambda word: (word not in names, -len(word)))


def _frequent_words(one: Done) -> list[str]:
    """Words of a file that was read, the most frequent first; short ones say little."""
    if one.tool != "read_file" or one.is_error:
        return []
    text = read_text(one)[:_SMALL_BYTES].lower()
    words = [word for word in _words(text) if len(word) >= 6][:_MOST_WORDS]
    return sorted(words, key=lambda word: (-text.count(word), word))[:3]


def _input_words(request: ModelRequest) -> int:
    texts = [request.instructions]
    for message in request.messages:
        match message:
            case UserMessage():
                texts += _texts(message)
            case AssistantMessage(text=text, calls=calls):
                texts += [text or "", *(call.arguments_json for call in calls)]
            case ToolResultMessage(content=content):
                texts.append(content)
    return sum(len(text.split()) if len(text) <= _SMALL_BYTES else text.count(" ") + 1 for text in texts)
