"""One request to a vendor's API: client, settings, answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import TypeAlias, cast
from urllib.parse import urlsplit

import httpx2
from anthropic import AsyncAnthropic
from msgspec.structs import replace
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.anthropic import AnthropicModelProfile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from runwright.adapters.providers.answer_bounds import AnswerCount, bound_body, broken_by
from runwright.adapters.providers.model_answer import to_reply
from runwright.adapters.providers.model_errors import invalid_output, translate
from runwright.adapters.providers.model_history import OPAQUE, History, to_tool
from runwright.adapters.providers.model_http import Heard, PlainAnswers, address, heard
from runwright.adapters.providers.model_images import put_in, shown
from runwright.adapters.providers.model_opaque import dump, put_back
from runwright.adapters.providers.model_parameters import read_parameters, wants_stream
from runwright.adapters.providers.model_route import ModelKind, ModelRoute
from runwright.adapters.providers.model_values import Fields, fields
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.loopback import is_loopback
from runwright.ports.provider import EmitText, ModelReply, ModelRequest, ToolSpecification, UserMessage

# Spelled out, so that no variable of the vendors' own sends the key elsewhere.
_BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "ollama": "http://127.0.0.1:11434/v1",
}
# Schemas go out as the package has them; a stream must say why it ended; thoughts were parted from the text before.
_AS_OPENAI = OpenAIModelProfile(
    json_schema_transformer=None,
    openai_chat_streaming_requires_finish_reason=True,
    thinking_tags=("\0", "\0"),
    ignore_streamed_leading_whitespace=False,
)
# Ollama passes over the newer name of `max_tokens`, and some servers of its kind refuse it.
_AS_OLLAMA = merge_profile(_AS_OPENAI, OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False))
_AS_ANTHROPIC = AnthropicModelProfile(
    json_schema_transformer=None,
    thinking_tags=("\0", "\0"),
    ignore_streamed_leading_whitespace=False,
    # Where a thought that went back is refused, the library would ask again without it: an attempt is one request.
    anthropic_binds_thinking_blocks=False,
)
# What both kinds may be answered, the second of them Anthropic's.
_CANNED: tuple[Fields, Fields] = (
    {"choices": [{"message": {"content": "None."}, "finish_reason": "stop"}]},
    {"type": "message", "content": [{"type": "text", "text": "None."}], "stop_reason": "end_turn"},
)
_NO_KEY = "none"  # the SDK wants one; Ollama does not look at it
_MAX_CONNECTIONS = 1000
_Make: TypeAlias = Callable[[str], Model]


class Vendor:
    """A route with its connections."""

    def __init__(self, route: ModelRoute, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """`transport`: asked instead of the network."""
        self._route = route
        self._http = _http(route, transport)
        self._make = _anthropic(route, self._http) if route.kind == "anthropic" else _openai(route, self._http)

    async def ask(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """Sends the request once; text is emitted as it comes. Raises AgentError only."""
        builder = History(self._route.kind)
        history = builder.messages(request.messages, request.instructions)
        images = shown.set(builder.images.by_token)
        streams = wants_stream(self._route.kind, request.parameters)
        noted = Heard(wants_stream=streams, url=address(httpx2.URL(_base_url(self._route))))
        heard.set(noted)
        tools = ModelRequestParameters(function_tools=[to_tool(tool) for tool in request.tools])
        try:
            if streams:
                response = await self._streamed(request, history, tools, emit)
            else:
                response = await model_request(
                    self._make(request.model),
                    history,
                    model_settings=self._settings(request),
                    model_request_parameters=tools,
                    instrument=False,
                )
            retained = None if noted.opaque is None else dump(self._route.kind, noted.opaque)
            return replace(to_reply(response), opaque=retained)
        except AgentError:
            raise  # of `emit`
        except Exception as error:  # noqa: BLE001 - the library's own errors hold the vendor's body
            broken = broken_by(error)
            raise (
                invalid_output(self._route, str(broken)) if broken else translate(self._route, error, noted)
            ) from None
        finally:
            shown.reset(images)

    async def _streamed(
        self, request: ModelRequest, history: list[ModelMessage], tools: ModelRequestParameters, emit: EmitText
    ) -> ModelResponse:
        stream = model_request_stream(
            self._make(request.model),
            history,
            model_settings=self._settings(request),
            model_request_parameters=tools,
            instrument=False,
        )
        count = AnswerCount()
        async with stream as events:
            async for event in events:
                count.add(event)
                if text := _text_of(event):
                    emit(text)
        return events.get()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def _settings(self, request: ModelRequest) -> ModelSettings:
        seconds = self._route.timeout_seconds
        value = read_parameters(self._route.kind, request.parameters)
        fixed = {"max_retries": 0, "timeout": seconds, "request_timeout": seconds}
        return cast(ModelSettings, {**value, **fixed})


class _OpenAI(OpenAIChatModel):
    """The library's model. Of the fields that vendors need back it knows some, and drops the others."""

    def _map_model_response(self, message: ModelResponse) -> ChatCompletionMessageParam | None:
        """The library's hook for this: its subclasses may override it."""
        mapped = super()._map_model_response(message)
        if mapped is not None and message.metadata:
            put_back(cast(Fields, mapped), fields(message.metadata.get(OPAQUE)))
        return mapped


class _Ollama(_OpenAI, OllamaModel):
    """The same for Ollama."""


def _text_of(event: ModelResponseStreamEvent) -> str:
    """The text that an event adds to the answer; thoughts and calls add none."""
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


@cache
def warm_up(kind: ModelKind) -> bool:
    """Has the vendors' libraries build what they build at their first request, which stops every other thread.

    False when that did not work, which is no reason to ask nobody.
    """

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(_CANNED[kind == "anthropic"]).encode()

    canned = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body()))
    vendor = Vendor(ModelRoute(kind=kind, adapter=kind), canned)

    async def ask() -> None:
        for streams in (True, False):
            requested = ModelRequest(
                run_id="",
                round=1,
                attempt=1,
                model="none",
                parameters={"stream": streams},
                instructions="None.",
                messages=(UserMessage(("Nothing.",)),),
                tools=(ToolSpecification("none", "", {"type": "object"}),),
            )
            await vendor.ask(requested, lambda _: None)
        await vendor.close()

    log = logging.getLogger(httpx2.__name__)
    was_disabled, log.disabled = log.disabled, True  # it would tell of requests to the vendor that nobody makes
    try:
        with contextlib.suppress(AgentError):
            asyncio.run(ask())
            return True
        return False
    finally:
        log.disabled = was_disabled


def _http(route: ModelRoute, transport: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncClient:
    """A client that follows no redirect, and asks this machine itself without a proxy.

    A redirect would be a second request, and may carry the key to another host. HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
    NO_PROXY are heeded for other hosts, where a key goes over https:// only, through the proxy unread; to loopback it
    goes in the clear, and a proxy would get it. A transport that is given makes the library look at none of them.
    """
    limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS)
    address = urlsplit(_base_url(route))
    seconds = route.timeout_seconds
    try:
        # Without TLS, no certificates of the environment are read, which need not be there.
        verify = True if address.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        is_direct = is_loopback(address.hostname or "")
        direct = transport or (httpx2.AsyncHTTPTransport(limits=limits, verify=verify) if is_direct else None)
        return httpx2.AsyncClient(
            follow_redirects=False,
            timeout=seconds,
            limits=limits,
            transport=direct,
            verify=verify,
            headers={"accept-encoding": "identity"},
            event_hooks={"request": [put_in], "response": [bound_body, PlainAnswers(route.kind)]},
        )
    except OSError:
        message = f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names for {route.adapter} cannot be used."
        metadata = {"adapter": route.adapter, "class": "certificates"}
        raise AgentError(ErrorReason.PROVIDER_REFUSED, message, metadata=metadata) from None
    except (ImportError, ValueError):  # SOCKS without its library, or no URL of a proxy
        message = f"The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names for {route.adapter} cannot be used."
        metadata = {"adapter": route.adapter, "class": "proxy"}
        raise AgentError(ErrorReason.PROVIDER_REFUSED, message, metadata=metadata) from None


def _base_url(route: ModelRoute) -> str:
    return route.base_url or _BASE_URLS[route.kind]


def _openai(route: ModelRoute, http: httpx2.AsyncClient) -> _Make:
    client = AsyncOpenAI(
        api_key=route.key or _NO_KEY,
        base_url=_base_url(route),
        http_client=http,
        max_retries=0,
    )
    if route.kind == "ollama":
        return lambda model: _Ollama(model, provider=OllamaProvider(openai_client=client), profile=_AS_OLLAMA)
    return lambda model: _OpenAI(model, provider=OpenAIProvider(openai_client=client), profile=_AS_OPENAI)


def _anthropic(route: ModelRoute, http: httpx2.AsyncClient) -> _Make:
    client = AsyncAnthropic(
        api_key=route.key or _NO_KEY,
        base_url=_base_url(route),
        http_client=http,
        max_retries=0,
    )
    return lambda model: AnthropicModel(
        model, provider=AnthropicProvider(anthropic_client=client), profile=_AS_ANTHROPIC
    )
