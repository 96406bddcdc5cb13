"""A stand-in for a model, for demos and tests: no key, no network, the same answer to the same conversation."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

from msgspec import Struct
from pydantic import JsonValue

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
}
_MOST_CALLS = {"list_files": 1, "count_lines": 1, "read_file": 2, "search": 2}
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
_COMMON_WORDS = frozenset(_COMMON.split())
_QUOTED_CHARACTERS = 120
_LONGEST_PATH = 500


class _Done(Struct, frozen=True):
    """A call that has its result; `subject` is what it was asked about.

    `value` is the result as a JSON object; empty when it is none, since a tool may answer anything.
    """

    tool: str
    subject: str
    content: str
    is_error: bool
    value: Mapping[str, JsonValue]

    def number(self, key: str) -> int:
        """A number of the result, 0 if it has none of that name."""
        return _number(self.value.get(key))

    def items(self, key: str) -> list[Mapping[str, JsonValue]]:
        """A list of objects of the result; a bare text in it stands for a path."""
        items = self.value.get(key)
        found = [{"path": item} if isinstance(item, str) else item for item in items] if isinstance(items, list) else []
        return [item for item in found if isinstance(item, dict) and isinstance(item.get("path"), str)]


class DemoProvider:
    """Plays a model that looks before it answers. It decides from the conversation alone, so restarts change nothing.

    Its rules: first `list_files`. From the real listing, side by side,
    `read_file` of what the question names, else a README, else the largest small
    text; `count_lines` of the most frequent ending; `search` for a word of the
    question. If the question has no word to search for, it takes one from the
    file it read; if the word is nowhere, the next one; if it is found, it reads
    the file that has it most often. Then it answers with numbers, names and
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
        text = _intention(plan) if plan else _answer(question, earlier, done, sorted(offered))
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


def _conversation(messages: Sequence[Message]) -> tuple[str, list[_Done]]:
    """The last question and the calls made for it, in order, each with its result."""
    question = ""
    done: list[_Done] = []
    subjects: dict[str, str] = {}
    for message in messages:
        match message:
            case UserMessage():
                question, done = " ".join(" ".join(_texts(message)).split()), []
            case AssistantMessage(calls=calls):
                subjects |= {call.call_id: _subject(call.arguments_json) for call in calls}
            case ToolResultMessage(call_id=call_id, tool=tool, content=content, is_error=is_error):
                read = content[:_MOST_READ]
                done.append(_Done(tool, subjects.get(call_id, ""), read, is_error, _object(read)))
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


def _plan(question: str, done: Sequence[_Done], offered: Mapping[str, ToolSpecification]) -> list[tuple[str, str]]:
    """Tools and subjects that are worth asking for now: offered, not asked before, not used up. Empty: answer."""
    earlier = {(one.tool, one.subject) for one in done}
    times = Counter(one.tool for one in done)
    wanted = _wanted(question, done, lists="list_files" in offered)
    return [one for one in wanted if one[0] in offered and one not in earlier and times[one[0]] < _MOST_CALLS[one[0]]]


def _wanted(question: str, done: Sequence[_Done], *, lists: bool) -> list[tuple[str, str]]:
    listings = [one for one in done if one.tool == "list_files"]
    files = _files(done)
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
        return [("read_file", _places(found)[0][0])]
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


# What the results say


def _files(done: Iterable[_Done]) -> dict[str, int]:
    """Sizes of the listed files by path; of lines of text when the listing is not JSON."""
    files: dict[str, int] = {}
    for one in done:
        if one.tool == "list_files" and not one.is_error:
            lines = [] if one.value else [line.strip() for line in _lines(one.content)]
            items = one.items("files") or [{"path": line} for line in lines if len(line) <= _LONGEST_PATH]
            files |= {str(item["path"]): _number(item.get("bytes", item.get("size"))) for item in items}
    return files


def _places(found: _Done) -> list[tuple[str, int]]:
    """Files with a match, most matches first."""
    counts = Counter(str(match["path"]) for match in found.items("matches"))
    return sorted(counts.items(), key=lambda place: (-place[1], place[0]))


def _words(text: str) -> list[str]:
    found = re.findall(r"[^\W\d_][^\W_]{2,}", text.lower())
    return [word for word in dict.fromkeys(found) if word not in _COMMON_WORDS]


def _question_words(question: str, files: Mapping[str, int]) -> list[str]:
    """Words worth searching for: those that file names have too come first, then the longest."""
    names = " ".join(islice(files, _MOST_FILES)).lower()[:_SMALL_BYTES]
    return sorted(_words(question[:_MOST_TOPICS]), key=lambda word: (word not in names, -len(word)))


def _frequent_words(one: _Done) -> list[str]:
    """Words of a file that was read, the most frequent first; short ones say little."""
    if one.tool != "read_file" or one.is_error:
        return []
    text = _read_text(one)[:_SMALL_BYTES].lower()
    words = [word for word in _words(text) if len(word) >= 6][:_MOST_WORDS]
    return sorted(words, key=lambda word: (-text.count(word), word))[:3]


def _read_text(one: _Done) -> str:
    text = one.value.get("text", one.value.get("content"))
    return text if isinstance(text, str) else "" if one.value else one.content


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


# What to say


def _intention(plan: Sequence[tuple[str, str]]) -> str:
    asks = ", ".join(tool if tool == "list_files" else f"{tool} {subject}" for tool, subject in plan)
    return f"I need to look first: {asks}."


def _answer(question: str, earlier: Sequence[str], done: Sequence[_Done], offered: Sequence[str]) -> str:
    sentences = [f"You asked: {_quoted(question)}."]
    if earlier:
        before = f" (and {_count(len(earlier) - 1, 'question')} before that)" if len(earlier) > 1 else ""
        sentences.append(f"Before, you asked: {_quoted(earlier[-1])}{before}.")
    if not done:
        has = f"the tools {', '.join(offered)}, none of which helps me here" if offered else "no tools"
        words = len(question.split())
        return f"{' '.join(sentences)} I have {has}, so all I know is the question itself: it has {words} words."
    say = {"list_files": _say_listing, "read_file": _say_read, "search": _say_search, "count_lines": _say_count}
    for one in done:
        if one.is_error:
            sentences.append(f"{_call_name(one)} did not work; it answered: {_quoted(one.content)}.")
        elif one.tool in say:
            sentences.append(say[one.tool](one))
    sentences.append(_advice(done))
    return " ".join(sentences)


def _say_listing(one: _Done) -> str:
    files = _files([one])
    if not files:
        return f"There are no files to list here; list_files answered {_quoted(one.content)}."
    more = " (and there are more, the listing was cut)" if one.value.get("truncated") is True else ""
    largest = max(files, key=lambda path: (files[path], path))
    suffix, number = Counter(PurePosixPath(path).suffix or "nothing" for path in files).most_common(1)[0]
    total = f"{_count(len(files), 'file')}{more} with {sum(files.values()):,} bytes in all"
    ending = f"the most frequent ending is {suffix} ({number:,})"
    return f"I see {total}; {ending}, and the largest is {largest} with {files[largest]:,} bytes."


def _say_read(one: _Done) -> str:
    lines = _lines(_read_text(one))
    if not lines:
        return f"{one.subject} has no text that I can read."
    first = next((line for line in lines if re.search(r"\w{3}", line)), lines[0])
    length = one.number("lines") or len(_read_text(one).splitlines())
    bare = first.strip("#*=-\"'` ")
    return f"{one.subject} has {_count(length, 'line')} and begins with {_quoted(bare)}."


def _say_search(one: _Done) -> str:
    matches = one.items("matches")
    if not matches:
        return f"{_quoted(one.subject)} is found nowhere."
    total = max(one.number("total"), len(matches))
    best, number = _places(one)[0]
    example = next(match for match in matches if match["path"] == best)
    line = f"line {example['line']}" if _number(example.get("line")) else "text"
    says = f", whose {line} says {_quoted(str(example['text']))}" if example.get("text") else ""
    # Of a cut list it is not known where the rest is.
    most = f"most often ({number:,})" if total == len(matches) else f"{number:,} of the first {len(matches):,}"
    return f"{_quoted(one.subject)} is found in {_count(total, 'line')}, {most} in {best}{says}."


def _say_count(one: _Done) -> str:
    if "lines" not in one.value:
        return f"What count_lines says of {one.subject} I cannot read: {_quoted(one.content)}."
    largest = one.value.get("longest")
    longest = f", the longest being {largest}" if isinstance(largest, str) and largest else ""
    return f"The {one.subject} files ({one.number('files'):,}) have {_count(one.number('lines'), 'line')}{longest}."


def _advice(done: Sequence[_Done]) -> str:
    read = [one.subject for one in done if one.tool == "read_file" and not one.is_error]
    if not read:
        return f"That is all I could find out with {_count(len(done), 'tool call')}."
    return f"I would read on in {read[-1]}; this took {_count(len(done), 'tool call')}."


def _call_name(one: _Done) -> str:
    return f"{one.tool} of {one.subject}" if one.subject else one.tool


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line[:_QUOTED_CHARACTERS].rstrip()}..."' if len(line) > _QUOTED_CHARACTERS else f'"{line}"'


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
