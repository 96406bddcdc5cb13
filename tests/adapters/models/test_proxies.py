"""Proxies of the environment: never between a server and a model on its own machine, as they are set to any other."""

from __future__ import annotations

import pytest
from runwright.core.errors import AgentError, ErrorReason

from tests.adapters.models.asking import KEY, provider_at, request
from tests.adapters.models.fake_vendor import fake_vendor
from tests.adapters.models.proxy import recording_proxy
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


@pytest.fixture(autouse=True)
def _no_other_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@both
@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"])
async def test_a_key_for_this_machine_never_goes_to_a_proxy(
    monkeypatch: pytest.MonkeyPatch, wire: Wire, variable: str, host: str
) -> None:
    async with recording_proxy() as proxy, fake_vendor(wire.answer("There.")) as vendor:
        monkeypatch.setenv(variable, proxy.url)
        vendor.url = vendor.url.replace("127.0.0.1", host)
        async with provider_at(vendor, wire.kind) as provider:
            reply = await provider.complete(request(), lambda text: None)

    assert reply.text == "There."
    assert wire.key(vendor.requested[0]) == KEY
    assert proxy.heads == []


@both
async def test_a_proxy_of_a_kind_that_is_not_installed_is_no_matter_to_this_machine(
    monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    async with fake_vendor(wire.answer("There.")) as vendor, provider_at(vendor, wire.kind) as provider:
        assert (await provider.complete(request(), lambda text: None)).text == "There."


@both
async def test_another_host_is_asked_through_the_proxy_which_does_not_see_the_key(
    monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    async with recording_proxy() as proxy, fake_vendor() as vendor:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        route = {"base_url": "https://models.invalid/v1"}
        async with provider_at(vendor, wire.kind, **route) as provider:
            with pytest.raises(AgentError) as caught:
                await provider.complete(request(), lambda text: None)

    assert caught.value.reason is ErrorReason.PROVIDER_FAILED
    assert proxy.heads[0].startswith("CONNECT models.invalid:443 ")
    assert KEY not in "".join(proxy.heads)


@both
async def test_no_proxy_names_hosts_that_are_asked_directly(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    async with recording_proxy() as proxy, fake_vendor() as vendor:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "models.invalid")
        async with provider_at(vendor, wire.kind, base_url="https://models.invalid/v1") as provider:
            with pytest.raises(AgentError):
                await provider.complete(request(), lambda text: None)

    assert proxy.heads == []


@both
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_used_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, wire: Wire, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with fake_vendor() as vendor, provider_at(vendor, wire.kind, base_url="https://models.invalid") as provider:
        with pytest.raises(AgentError, match="HTTPS_PROXY") as caught:
            await provider.complete(request(), lambda text: None)

    assert caught.value.reason is ErrorReason.PROVIDER_REFUSED
    assert caught.value.metadata == {"adapter": wire.kind, "class": "proxy"}


@both
async def test_a_model_on_this_machine_needs_no_certificates(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/missing")
    async with fake_vendor(wire.answer("There.")) as vendor, provider_at(vendor, wire.kind) as provider:
        assert (await provider.complete(request(), lambda text: None)).text == "There."


@both
async def test_certificates_that_cannot_be_used_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/missing")
    async with fake_vendor() as vendor, provider_at(vendor, wire.kind, base_url="https://models.invalid") as provider:
        with pytest.raises(AgentError, match="SSL_CERT_FILE") as caught:
            await provider.complete(request(), lambda text: None)

    assert caught.value.metadata == {"adapter": wire.kind, "class": "certificates"}
