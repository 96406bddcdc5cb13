"""What fails at a vendor: classified, told in our words, asked once."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from runwright.core.errors import AgentError, ErrorReason

from tests.adapters.models.asking import BODY_WORDS, KEY, VARIABLE, ask, failing, provider_at, request
from tests.adapters.models.fake_vendor import Answer, Fields, fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire


def ignored(text: str) -> None:
    """Stands in for whoever listens."""


both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
ERROR: Fields = {"type": "error", "error": {"type": "some_error", "code": "some", "message": BODY_WORDS}}
REASONS = {
    "rate_limited": ErrorReason.PROVIDER_RATE_LIMITED,
    "bad_request": ErrorReason.PROVIDER_REFUSED,
    "unauthorized": ErrorReason.PROVIDER_KEY_REFUSED,
    "server_error": ErrorReason.PROVIDER_FAILED,
    "timeout": ErrorReason.PROVIDER_FAILED,
}
CLASSES = {
    400: "bad_request",
    401: "unauthorized",
    403: "unauthorized",
    404: "bad_request",
    408: "timeout",
    409: "bad_request",
    413: "bad_request",
    422: "bad_request",
    429: "rate_limited",
    500: "server_error",
    503: "server_error",
    529: "server_error",
}


@both
@pytest.mark.parametrize(("status", "failure"), CLASSES.items())
async def test_a_status_is_a_class_and_one_request(wire: Wire, status: int, failure: str) -> None:
    error = await failing(wire, Answer(ERROR, status=status, headers={"retry-after": "1"}))

    assert error.reason is REASONS[failure]
    assert error.metadata == {"adapter": wire.kind, "class": failure, "retry_after": "1s"}
    assert str(status) in error.message


@both
@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_the_vendors_words_and_address_are_told(wire: Wire, status: int) -> None:
    words = "model\x1b[31m gpt-9 is\nnot  here"
    error = await failing(wire, Answer({"error": {"message": words}}, status=status))

    assert 'saying "model [31m gpt-9 is not here"' in error.message
    assert f"HTTP {status} from http://127.0.0.1:" in error.message
    assert wire.path in error.message


@both
async def test_the_key_is_not_told_even_when_the_vendor_repeats_it(wire: Wire) -> None:
    error = await failing(wire, Answer({"error": {"message": f"Incorrect key: {KEY}. {'x' * 5000}"}}, status=401))

    assert "Incorrect key: (the key). xxx" in error.message
    assert len(error.message) < 700


@both
async def test_statuses_read_differently(wire: Wire) -> None:
    message = [
        (await failing(wire, Answer({"error": {"message": ""}}, status=status))).message.partition(" (HTTP")[0]
        for status in (400, 401, 402, 403, 404, 405, 413, 422, 429, 500)
    ]

    assert len(set(message)) == len(message)


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"detail": "Not Found"}, status=404),
        Answer(b"", status=405),
        Answer(b"", status=308, headers={"location": "/v1/chat/completions"}),
        Answer({"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
        Answer(b"<html>Welcome</html>", media_type="text/html"),
        Answer({"status": "running"}),
    ],
    ids=["404", "405", "redirect", "error with 200", "page", "other JSON"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_forgotten_version_can_be_guessed_whatever_answers_there(answer: Answer, stream: bool) -> None:
    async with fake_vendor(answer) as vendor, provider_at(vendor, "openai", base_url=vendor.url) as provider:
        with pytest.raises(AgentError, match=r"most servers want /v1 at its end") as caught:
            await provider.complete(request(parameters={"stream": stream}), ignored)

        assert f"from {vendor.url}/chat/completions" in caught.value.message


async def test_a_version_too_many_can_be_guessed() -> None:
    async with (
        fake_vendor(Answer(b"", status=404)) as vendor,
        provider_at(vendor, "anthropic", base_url=f"{vendor.url}/v1") as provider,
    ):
        with pytest.raises(AgentError, match=r"leave out its /v1"):
            await provider.complete(request(), ignored)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/api/v1", "/v1beta/openai", "/api/paas/v4"])
async def test_an_address_with_a_version_is_not_doubted(path: str) -> None:
    async with (
        fake_vendor(Answer(b"", status=404)) as vendor,
        provider_at(vendor, "openai", base_url=vendor.url + path) as provider,
    ):
        with pytest.raises(AgentError) as caught:
            await provider.complete(request(), ignored)

    assert "most servers" not in caught.value.message


async def test_a_forgotten_version_in_the_address_is_named() -> None:
    answer = Answer(b"404 page not found", status=404)
    async with fake_vendor(answer) as vendor, provider_at(vendor, "openai", base_url=vendor.url) as provider:
        with pytest.raises(AgentError, match=r"most servers want /v1 at its end"):
            await provider.complete(request(), ignored)


@both
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, None),
        ({"retry-after": "7"}, "7s"),
        ({"retry-after-ms": "1200"}, "2s"),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
    ],
)
async def test_how_long_to_wait_is_what_the_vendor_says_if_it_is_a_time(
    wire: Wire, headers: Fields, message: str | None
) -> None:
    error = await failing(wire, Answer(ERROR, status=429, headers=headers))

    assert error.metadata.get("retry_after") == message


@both
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_names_where_it_came_from(wire: Wire, status: int) -> None:
    error = await failing(wire, Answer(ERROR, status=status))

    assert "refused the key" in error.message
    assert VARIABLE in error.message


@both
async def test_a_redirect_is_not_followed(wire: Wire) -> None:
    error = await failing(wire, Answer(b"", status=307, headers={"location": "http://127.0.0.1:1/elsewhere"}))

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_REFUSED, "bad_request")
    assert "307" in error.message


@both
async def test_a_stall_is_a_timeout(wire: Wire) -> None:
    """One that nobody bounds ends when the vendor hangs up, as a lost connection."""
    error = await failing(wire, Answer(stall=True), route={"timeout_seconds": 0.3})

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "timeout")


@both
async def test_a_trickle_is_a_timeout_too(wire: Wire) -> None:
    """Bytes keep coming: the bound is on the whole request, not on the wait for the next byte."""
    error = await failing(wire, Answer(wire.answer("so").body, trickle=True), route={"timeout_seconds": 0.4})

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "timeout")


@both
async def test_a_cut_connection_is_one(wire: Wire) -> None:
    error = await failing(wire, Answer(wire.answer("so").body, cut=True))

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "connection")


@both
async def test_nobody_there_is_a_connection_failure(wire: Wire) -> None:
    error = await failing(wire, wire.answer("so"), requested=0, route={"base_url": "http://127.0.0.1:1"})

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "connection")
    assert error.message.endswith(" (http://127.0.0.1:1: nothing listens there).")


@both
async def test_a_host_that_nobody_knows_is_said(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await failing(wire, wire.answer("so"), requested=0, route={"base_url": "https://modls.example/v1"})

    assert error.message.endswith(" (https://modls.example/v1: no host of that name is known).")


@both
async def test_an_answer_that_does_not_say_why_it_ended(wire: Wire) -> None:
    error = await failing(wire, wire.answer("so", finish=""))

    assert error.reason is ErrorReason.MODEL_OUTPUT_INVALID
    assert error.metadata == {"adapter": wire.kind, "rule": "it does not say why it ended"}


@both
@pytest.mark.parametrize("said", ["error", "abort", "aborted", "pause_turn", "network_error", "compaction"])
async def test_an_answer_that_was_broken_off(wire: Wire, said: str) -> None:
    error = await failing(wire, wire.answer("so", finish=said))

    assert error.reason is ErrorReason.MODEL_OUTPUT_INVALID
    assert said not in error.message


MALFORMED: dict[str, Any] = {
    "no JSON": Answer(b"{" + BODY_WORDS.encode()),
    "a page": Answer(f"<html>{BODY_WORDS}</html>".encode(), media_type="text/html"),
    "nothing": Answer(b""),
    "an empty object": Answer({}),
    "a list": Answer(b"[]"),
    "another object": Answer({"id": "x", "choices": None, "content": None, "message": BODY_WORDS}),
    "no choice": Answer({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}),
    "no Unicode": Answer(b'{"id": "\xff\xfe"}'),
}


@both
@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_answer(wire: Wire, answer: Answer) -> None:
    assert (await failing(wire, answer)).reason is ErrorReason.MODEL_OUTPUT_INVALID


@both
@pytest.mark.parametrize(
    "change",
    [
        {"usage": {"prompt_tokens": "many", "completion_tokens": -5, "input_tokens": "many", "output_tokens": -5}},
        {"content": [{"type": "text", "text": None}], "choices": [{"index": 0, "finish_reason": "stop"}]},
        {"content": [{"type": "surprise"}], "choices": [None]},
        {"content": "so", "choices": "so"},
    ],
    ids=["wild usage", "no text", "odd parts", "texts for lists"],
)
async def test_a_broken_answer_is_used_or_refused_and_never_a_fault(wire: Wire, change: Fields) -> None:
    answer = Answer({**_body(wire), **change})
    async with fake_vendor(answer) as vendor, provider_at(vendor, wire.kind) as provider:
        try:
            reply = await provider.complete(request(), ignored)
            assert isinstance(reply.input_tokens, int)
        except AgentError as error:
            assert error.reason is ErrorReason.MODEL_OUTPUT_INVALID


def _body(wire: Wire) -> Fields:
    body = wire.answer("so").body
    assert isinstance(body, dict)
    return body


@both
async def test_a_cancelled_request_is_given_up(wire: Wire) -> None:
    async with fake_vendor(Answer(stall=True), wire.answer("so")) as vendor, provider_at(vendor, wire.kind) as provider:
        asking = asyncio.create_task(provider.complete(request(), ignored))
        await vendor.began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await provider.complete(request(), ignored)).text == "so"


@both
async def test_many_at_once_are_told_apart(wire: Wire) -> None:
    answers = [wire.answer("so") for _ in range(20)]
    async with fake_vendor(*answers) as vendor, provider_at(vendor, wire.kind) as provider:
        replies = await asyncio.gather(*(provider.complete(request(), ignored) for _ in range(20)))

    assert [reply.text for reply in replies] == ["so"] * 20
    assert len(vendor.requested) == 20


@both
@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"temprature": 1}, "temprature"), ({"temperature": "hot"}, "temperature"), ({"max_tokens": True}, "max_tokens")],
)
async def test_a_parameter_that_cannot_be_used_is_named(wire: Wire, parameters: Fields, named: str) -> None:
    error = await failing(wire, wire.answer("so"), requested=0, parameters=parameters)

    assert error.metadata == {"adapter": wire.kind, "class": "bad_request"}
    assert f"provider.parameters.{named} " in error.message


@both
async def test_the_vendors_own_variables_change_neither_address_nor_key(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OLLAMA_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "another-key")

    _, vendor = await ask(wire, wire.answer("so"))

    assert wire.key(vendor.requested[0]) == KEY
    assert "another-key" not in str(vendor.requested[0].headers)


async def test_the_key_is_not_in_what_a_route_shows() -> None:
    async with fake_vendor() as vendor, provider_at(vendor, "openai") as provider:
        assert KEY not in repr(provider.route)
