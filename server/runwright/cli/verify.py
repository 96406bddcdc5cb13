"""What is wrong with an export, if anything: the chain, its end, the contents. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.ports.journal import CHAIN_TAG
from runwright.wire.references import event_refs

FORMAT = 1  # of the exports whose chain is made as it is here


def faults_of(elements: Iterable[pb.ExportRunResponse]) -> Iterator[str]:
    """Every fault of an export, in a sentence each. Raises ValueError when it does not begin with a header."""
    rest = iter(elements)
    first = next(rest, None)
    if first is None or not first.HasField("header"):
        raise ValueError("an export begins with its header")
    if first.header.format != FORMAT:
        yield f"the header: an export of form {first.header.format}, and only {FORMAT} can be checked here"
    chain, contents = _Chain(first.header), _Contents()
    for element in rest:
        if element.HasField("event"):
            yield from chain.take(element.event)
            contents.expect(element.event.data)
        elif element.HasField("content"):
            contents.take(element.content)
        else:
            yield "a line behind the header: it is neither an event nor a content"
    yield from chain.end()
    yield from contents.end()


class _Chain:
    def __init__(self, header: pb.ExportHeader) -> None:
        self._header = header
        start = b"\0".join((CHAIN_TAG, header.namespace.encode(), header.run_id.encode()))
        self._hash = hashlib.sha256(start).digest()
        self._seq = 0

    def take(self, event: pb.ExportedEvent) -> Iterator[str]:
        self._seq += 1
        if event.previous_hash != self._hash:
            yield f"event {self._seq}: it does not follow the event before"
        self._hash = hashlib.sha256(self._hash + event.data).digest()
        if event.hash != self._hash:
            yield f"event {self._seq}: its bytes or those before it were changed"

    def end(self) -> Iterator[str]:
        if self._seq != self._header.events or self._hash != self._header.head_hash:
            yield f"the end: the header promises {self._header.events} events with another hash at the end"


class _Contents:
    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._found: dict[str, hashlib._Hash] = {}

    def expect(self, event: bytes) -> None:
        try:
            self._wanted.update(ref.digest for ref in event_refs(event))
        except DecodeError:
            return  # the chain has said already that this event was changed

    def take(self, content: pb.ExportedContent) -> None:
        self._found.setdefault(content.digest, hashlib.sha256()).update(content.data)

    def end(self) -> Iterator[str]:
        for digest in sorted(self._wanted | self._found.keys()):
            if digest not in self._found:
                yield f"content {digest}: it is missing"
            elif "sha256:" + self._found[digest].hexdigest() != digest:
                yield f"content {digest}: its bytes were changed"
            elif digest not in self._wanted:
                yield f"content {digest}: no event mentions it"
