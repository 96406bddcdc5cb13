"""What the stand-in for a model reads in the results of its calls, and what it says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from msgspec import Struct
from pydantic import JsonValue

_QUOTED_CHARACTERS = 120
_LONGEST_PATH = 500


class Done(Struct, frozen=True):
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
        return number_of(self.value.get(key))

    def items(self, key: str) -> list[Mapping[str, JsonValue]]:
        """A list of objects of the result; a bare text in it stands for a path."""
        items = self.value.get(key)
        found = [{"path": item} if isinstance(item, str) else item for item in items] if isinstance(items, list) else []
        return [item for item in found if isinstance(item, dict) and isinstance(item.get("path"), str)]


def files_of(done: Iterable[Done]) -> dict[str, int]:
    """Sizes of the listed files by path; of lines of text when the listing is not JSON."""
    files: dict[str, int] = {}
    for one in done:
        if one.tool == "list_files" and not one.is_error:
            lines = [] if one.value else [line.strip() for line in lines_of(one.content)]
            items = one.items("files") or [{"path": line} for line in lines if len(line) <= _LONGEST_PATH]
            files |= {str(item["path"]): number_of(item.get("bytes", item.get("size"))) for item in items}
    return files


def places(found: Done) -> list[tuple[str, int]]:
    """Files with a match, most matches first."""
    counts = Counter(str(match["path"]) for match in found.items("matches"))
    return sorted(counts.items(), key=lambda place: (-place[1], place[0]))


def read_text(one: Done) -> str:
    """The text of a file that was read."""
    text = one.value.get("text", one.value.get("content"))
    return text if isinstance(text, str) else "" if one.value else one.content


def lines_of(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def number_of(value: object) -> int:
    """The value, if it is a count; else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


# What to say


def intention(plan: Sequence[tuple[str, str]]) -> str:
    """What is said beside calls."""
    if plan[0][0] == "write_report":
        return "I have seen enough, and would write it down: write_report."
    asks = ", ".join(tool if tool == "list_files" else f"{tool} {subject}" for tool, subject in plan)
    return f"I need to look first: {asks}."


def answer(question: str, earlier: Sequence[str], done: Sequence[Done], offered: Sequence[str]) -> str:
    """What is said in the end, from the results alone."""
    sentences = [f"You asked: {_quoted(question)}."]
    if earlier:
        before = f" (and {_count(len(earlier) - 1, 'question')} before that)" if len(earlier) > 1 else ""
        sentences.append(f"Before, you asked: {_quoted(earlier[-1])}{before}.")
    if not done:
        has = f"the tools {', '.join(offered)}, none of which helps me here" if offered else "no tools"
        words = len(question.split())
        return f"{' '.join(sentences)} I have {has}, so all I know is the question itself: it has {words} words."
    return " ".join([*sentences, *_findings(done), _advice(done)])


def report(question: str, done: Sequence[Done]) -> str:
    """What it would answer, as a text of Markdown with a line for each thing that it has found."""
    found = "".join(f"- {sentence}\n" for sentence in [*_findings(done), _advice(done)])
    return f"# Report\n\nYou asked: {_quoted(question)}.\n\n{found}"


def _findings(done: Sequence[Done]) -> list[str]:
    say = {
        "list_files": _say_listing,
        "read_file": _say_read,
        "search": _say_search,
        "count_lines": _say_count,
        "write_report": _say_written,
    }
    failed = "{} did not work; it answered: {}."
    return [
        failed.format(_call_name(one), _quoted(one.content)) if one.is_error else say[one.tool](one)
        for one in done
        if one.is_error or one.tool in say
    ]


def _say_listing(one: Done) -> str:
    files = files_of([one])
    if not files:
        return f"There are no files to list here; list_files answered {_quoted(one.content)}."
    more = " (and there are more, the listing was cut)" if one.value.get("truncated") is True else ""
    largest = max(files, key=lambda path: (files[path], path))
    suffix, number = Counter(PurePosixPath(path).suffix or "nothing" for path in files).most_common(1)[0]
    total = f"{_count(len(files), 'file')}{more} with {sum(files.values()):,} bytes in all"
    ending = f"the most frequent ending is {suffix} ({number:,})"
    return f"I see {total}; {ending}, and the largest is {largest} with {files[largest]:,} bytes."


def _say_read(one: Done) -> str:
    lines = lines_of(read_text(one))
    if not lines:
        return f"{one.subject} has no text that I can read."
    first = next((line for line in lines if re.search(r"\w{3}", line)), lines[0])
    length = one.number("lines") or len(read_text(one).splitlines())
    bare = first.strip("#*=-\"'` ")
    return f"{one.subject} has {_count(length, 'line')} and begins with {_quoted(bare)}."


def _say_search(one: Done) -> str:
    matches = one.items("matches")
    if not matches:
        return f"{_quoted(one.subject)} is found nowhere."
    total = max(one.number("total"), len(matches))
    best, number = places(one)[0]
    example = next(match for match in matches if match["path"] == best)
    line = f"line {example['line']}" if number_of(example.get("line")) else "text"
    says = f", whose {line} says {_quoted(str(example['text']))}" if example.get("text") else ""
    # Of a cut list it is not known where the rest is.
    most = f"most often ({number:,})" if total == len(matches) else f"{number:,} of the first {len(matches):,}"
    return f"{_quoted(one.subject)} is found in {_count(total, 'line')}, {most} in {best}{says}."


def _say_count(one: Done) -> str:
    if "lines" not in one.value:
        return f"What count_lines says of {one.subject} I cannot read: {_quoted(one.content)}."
    largest = one.value.get("longest")
    longest = f", the longest being {largest}" if isinstance(largest, str) and largest else ""
    return f"The {one.subject} files ({one.number('files'):,}) have {_count(one.number('lines'), 'line')}{longest}."


def _say_written(one: Done) -> str:
    path, size = one.value.get("path"), one.number("bytes")
    return (
        f"I wrote my report to {path} ({size:,} bytes)." if path else f"write_report answered {_quoted(one.content)}."
    )


def _advice(done: Sequence[Done]) -> str:
    read = [one.subject for one in done if one.tool == "read_file" and not one.is_error]
    if not read:
        return f"That is all I could find out with {_count(len(done), 'tool call')}."
    return f"I would read on in {read[-1]}; this took {_count(len(done), 'tool call')}."


def _call_name(one: Done) -> str:
    return f"{one.tool} of {one.subject}" if one.subject and one.tool != "write_report" else one.tool


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line[:_QUOTED_CHARACTERS].rstrip()}..."' if len(line) > _QUOTED_CHARACTERS else f'"{line}"'
