"""What is wrong with an export, if anything: the chain, its end, the contents. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError
from msgspec import Struct, field

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.ports.journal import CHAIN_TAG
from runwright.wire.references import exported_refs

FORMAT = 1  # of the exports whose chain is made as it is here
# Nothing in an export binds these to the events: a changed one is not found.
UNPROVEN = "the journal's identity and the exact positions of the events"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def faults_of(elements: Iterable[pb.ExportRunResponse | None]) -> Iterator[str]:
    """Every fault of an export, in a sentence each; None stands for a line that cannot be read.

    The verdict covers the header's namespace, run, number of events and last
    hash, every event, and that each content an event refers to is there, whole,
    once. Of positions it covers that they rise; see UNPROVEN. Raises ValueError
    when the export does not begin with a header.
    """
    rest = iter(elements)
    first = next(rest, None)
    if first is None or not first.HasField("header"):
        raise ValueError("an export begins with its header")
    if first.header.format != FORMAT:
        yield f"the header: an export of form {first.header.format}, and only {FORMAT} can be checked here"
    chain, contents = _Chain(first.header), _Contents()
    for number, element in enumerate(rest, start=2):
        if element is None:
            yield f"line {number}: it cannot be read"
        elif element.HasField("event"):
            if contents.begun:
                yield f"line {number}: an event behind a content"
            yield from chain.take(element.event)
            contents.expect(element.event.data)
        elif element.HasField("content"):
            yield from contents.take(number, element.content)
        else:
            yield f"line {number}: it is neither an event nor a content"
    yield from chain.end()
    yield from contents.end()


class _Chain:
    def __init__(self, header: pb.ExportHeader) -> None:
        self._header = header
        start = b"\0".join((CHAIN_TAG, header.namespace.encode(), header.run_id.encode()))
        self._hash = hashlib.sha256(start).digest()
        self._seq = self._position = 0

    def take(self, event: pb.ExportedEvent) -> Iterator[str]:
        self._seq += 1
        if event.previous_hash != self._hash:
            yield f"event {self._seq}: it does not follow the event before"
        if event.position <= self._position:
            yield f"event {self._seq}: its position is not above that of the event before"
        self._position = event.position
        self._hash = hashlib.sha256(self._hash + event.data).digest()
        if event.hash != self._hash:
            yield f"event {self._seq}: its bytes or those before it were changed"

    def end(self) -> Iterator[str]:
        if self._seq != self._header.events or self._hash != self._header.head_hash:
            yield f"the end: the header promises {self._header.events} events with another hash at the end"


class _Content(Struct):
    """What has come of a content."""

    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    size: int = 0
    complete: bool = False


class _Contents:
    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._found: dict[str, _Content] = {}

    @property
    def begun(self) -> bool:
        """True once a content has come: no event follows."""
        return bool(self._found)

    def expect(self, event: bytes) -> None:
        try:
            self._wanted.update(ref.digest for ref in exported_refs(event))
        except DecodeError:
            return  # the chain has said already that this event was changed

    def take(self, line: int, content: pb.ExportedContent) -> Iterator[str]:
        found = self._found.setdefault(content.digest, _Content())
        if found.complete or content.offset != found.size:
            yield f"line {line}: a part of a content that does not follow the one before"
        found.digest.update(content.data)
        found.size += len(content.data)
        found.complete = found.complete or content.last

    def end(self) -> Iterator[str]:
        for digest in sorted(self._wanted | self._found.keys()):
            name = digest if _DIGEST.fullmatch(digest) else "of a name that is no digest"
            found = self._found.get(digest)
            if found is None:
                yield f"content {name}: it is missing"
            elif not found.complete:
                yield f"content {name}: its last part is missing"
            elif "sha256:" + found.digest.hexdigest() != digest:
                yield f"content {name}: its bytes were changed"
            elif digest not in self._wanted:
                yield f"content {name}: no event mentions it"
