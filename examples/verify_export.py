"""Checks an export of a run with nothing but the standard library: `python verify_export.py FILE`.

An export is JSON lines: a header, the events in order, the contents they refer to. This program shares no code with
the server. Exit code 0: whole; 1: not whole; 2: not an export.
"""

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

# The fields of `runwright.v1.Event` that refer to contents, by number, and the fields inside; None is a reference.
REFERENCES = {
    20: {2: None, 5: None},
    21: {1: None},
    23: {1: None, 6: None},
    25: {3: None},
    28: {2: None},
    29: {3: None},
}
REFERENCES |= {36: {2: None, 5: None}, 40: {1: {3: None, 4: None}}}
REFERENCES |= {54: {3: {4: None}}, 56: {5: None}, 57: {6: None}, 60: {6: None}, 61: {14: None}}
WHOLE = "whole: every event and content is as written; position and incarnation are not proven"
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RuntimeError)
FIELDS = {"header": {"format", "namespace", "run_id", "incarnation", "events", "head_hash"}}
FIELDS |= {"event": {"data", "position", "previous_hash", "hash"}, "content": {"digest", "offset", "data", "last"}}


def opened(line):
    """A line's kind, its fields, and two ways to read them."""
    [(kind, fields)] = json.loads(line.decode()).items()
    if set(fields) - FIELDS[kind]:
        raise KeyError(kind)
    raw = lambda name: base64.urlsafe_b64decode(fields.get(name, "") + "==")  # noqa: E731
    count = lambda name: int(re.fullmatch("[0-9]+", str(fields.get(name, 0)))[0])  # noqa: E731
    return kind, fields, raw, count


class Message(dict):
    """The fields of protobuf bytes by number: all values of each, numbers and bytes as they are."""

    def __init__(self, data):
        at = 0
        while at < len(data):
            tag, at = self._varint(data, at)
            size, at = ({1: 8, 5: 4}[tag & 7], at) if tag & 1 else self._varint(data, at)
            value, at = (data[at : at + size], at + size) if tag & 7 else (size, at)
            self.setdefault(tag >> 3, []).append(value)

    def text(self, field):
        """The last text of a field; empty where it has none."""
        value = self.get(field, [b""])[-1]
        return value.decode(errors="surrogateescape") if isinstance(value, bytes) else ""

    def number(self, field):
        """The last number of a field; 0 where it has none."""
        value = self.get(field, [0])[-1]
        return value if isinstance(value, int) else 0

    def inner(self, field):
        """The last message of a field; one without fields where it has none."""
        value = self.get(field, [b""])[-1]
        return Message(value if isinstance(value, bytes) else b"")

    @staticmethod
    def _varint(data, at):
        end = next(end for end in range(at, len(data)) if data[end] < 128) + 1
        return sum((byte & 127) << 7 * index for index, byte in enumerate(data[at:end])), end


def digests(data, known):
    """The digest of every content that protobuf bytes refer to."""
    for field, values in Message(data).items():
        for value in values if field in known else ():
            if known[field] is None:
                yield re.match(rb"\n\x47(sha256:[0-9a-f]{64})", value)[1].decode()  # field 1 of a reference
            else:
                yield from digests(value, known[field])


def is_held(event):
    """True for an event about an answer that was not published when it was written: exports leave the answer out."""
    says, asked, replaced = event.inner(23).number(8), event.inner(60).number(2), event.inner(56).number(1)
    is_about_answer = 54 in event and re.match(r"p[1-9][0-9]*\.[0-9]+$", event.text(11))
    return says == 1 or asked == 3 or replaced == 6 or bool(is_about_answer)


def check(lines):
    """Yields every fault of the lines; nothing when the export is whole."""
    kind, header, raw, count = opened(next(lines))
    promised = count("events"), raw("head_hash")
    if kind != "header" or count("format") != 1:
        yield "this form of an export is not known here"
    start = "\0".join(("runwright-chain-v1", header.get("namespace", ""), header.get("run_id", "")))
    previous, events, position = hashlib.sha256(start.encode()).digest(), 0, 0
    mentioned, found, complete = set(), {}, set()
    for number, line in enumerate(lines, start=2):
        try:
            kind, fields, raw, count = opened(line)
            if kind == "event":
                events += 1
                if found or raw("previous_hash") != previous or count("position") <= position:
                    yield f"event {events} does not follow the one before"
                position, previous = count("position"), hashlib.sha256(previous + raw("data")).digest()
                if raw("hash") != previous:
                    yield f"event {events} was changed"
                if not is_held(Message(raw("data"))):
                    mentioned.update(digests(raw("data"), REFERENCES))
            else:
                digest, parts = fields["digest"], found.setdefault(fields["digest"], bytearray())
                if kind == "header" or digest in complete or count("offset") != len(parts):
                    yield f"line {number} does not follow the one before"
                parts += raw("data")
                complete |= {digest} if fields.get("last") else set()
        except UNREADABLE:
            yield f"line {number} is not what an export holds there"
    if (events, previous) != promised:
        yield f"the header promises {promised[0]} events with another end"
    for digest in sorted(mentioned | found.keys()):
        own = "sha256:" + hashlib.sha256(found.get(digest, b"")).hexdigest()
        if digest not in mentioned & complete or digest != own:
            yield f"content {digest!r} is missing, was changed or is not mentioned by any event"


def whole(path):
    """The header of a whole export, its events as (bytes, hash), its contents by digest. Ends the program otherwise."""
    number, events, contents = 1, [], {}
    try:
        with Path(path).open("rb") as file:
            _, header, *_ = opened(file.readline())
            for line in file:
                number += 1
                kind, fields, raw, _ = opened(line)
                if kind == "event":
                    events.append((raw("data"), raw("hash")))
                else:
                    contents[fields["digest"]] = contents.get(fields["digest"], b"") + raw("data")
            file.seek(0)
            faults = list(check(file))
    except (OSError, *UNREADABLE) as error:
        print(f"{path}, line {number}: not an export ({error!r})", file=sys.stderr)
        sys.exit(2)
    return sys.exit(f"{path}: {faults[0]}") if faults else (header, events, contents)


def main(path):
    """Prints what is wrong with an export, or that it is whole. Returns the exit code."""
    try:
        with Path(path).open("rb") as file:
            faults = list(check(file))
    except (OSError, *UNREADABLE) as error:
        print(f"{path}: not an export ({error})")
        return 2
    print("\n".join(faults) or WHOLE)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
