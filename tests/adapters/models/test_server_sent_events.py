"""What is an event of a stream, in whatever pieces its bytes come."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from runwright.adapters.providers.model_http import events_of

STREAM = b": hello\n\nid: 7\n: a comment\n\ndata: one\n\nevent: x\ndata: two\ndata:more\r\n\r\nretry: 1\n\ndata: three"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_what_holds_no_data_is_no_event(size: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(STREAM), size):
            yield STREAM[at : at + size]

    assert [data async for data in events_of(pieces())] == ["one", "two\nmore", "three"]
