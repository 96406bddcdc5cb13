"""The `--provider` option: what it may say, and that it is never repeated."""

from __future__ import annotations

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.settings import ProviderSettings, parse_providers

SECRET = "sk-secret"


def test_every_kind() -> None:
    values = ["openai=A_KEY", "anthropic=B@https://gateway.example/v1", "ollama=@http://ollama:11434/v1"]

    parsed = parse_providers(values, 7.5)

    assert parsed == {
        "openai": ProviderSettings(kind="openai", key_variable="A_KEY", timeout_seconds=7.5),
        "anthropic": ProviderSettings(
            kind="anthropic", key_variable="B", base_url="https://gateway.example/v1", timeout_seconds=7.5
        ),
        "ollama": ProviderSettings(kind="ollama", base_url="http://ollama:11434/v1", timeout_seconds=7.5),
    }
    assert parse_providers(["ollama="], 1.0)["ollama"] == ProviderSettings(kind="ollama", timeout_seconds=1.0)


@pytest.mark.parametrize(
    "values",
    [
        [f"openai={SECRET}"],
        ["openai="],
        ["openai"],
        ["=KEY"],
        ["anthropic=@https://gateway.example"],
        ["mistral=KEY"],
        ["openai=KEY", "openai=OTHER"],
        ["openai=KEY@"],
        ["openai=KEY@gateway.example"],
        ["openai=KEY@http://gateway.example/v1"],
        [f"openai=KEY@https://me:{SECRET}@gateway.example/v1"],
        [f"openai=KEY@https://gateway.example/v1?key={SECRET}"],
        ["openai=KEY@https://gateway.example:port/v1"],
        ["openai=KEY@file:///etc/passwd"],
        ["openai=file:///etc/passwd"],
        [f"openai=https://me:{SECRET}@gateway.example/v1"],
        ["openai_eu=KEY"],
        ["openai-=KEY"],
        ["mistral-eu=KEY"],
        ["ollama-a=http://one/v1", "ollama-a=http://two/v1"],
    ],
)
def test_another_form_is_refused_without_repeating_it(values: list[str]) -> None:
    with pytest.raises(AgentError) as caught:
        parse_providers(values, 1.0)

    assert caught.value.reason is ErrorReason.INVALID_REQUEST
    assert caught.value.metadata["field"] == "--provider"
    assert SECRET not in f"{caught.value} {caught.value.metadata}"


@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
def test_an_address_alone_is_one_without_a_key(kind: str) -> None:
    parsed = parse_providers([f"{kind}=http://10.0.0.1:8000/v1"], 1.0)

    assert (parsed[kind].base_url, parsed[kind].key()) == ("http://10.0.0.1:8000/v1", None)


def test_two_addresses_of_one_kind_have_names_of_their_own() -> None:
    parsed = parse_providers(["openai=KEY", "openai-eu=OTHER@https://eu.example/v1"], 1.0)

    assert {name: route.kind for name, route in parsed.items()} == {"openai": "openai", "openai-eu": "openai"}
    assert [parsed[name].key_variable for name in parsed] == ["KEY", "OTHER"]


def test_plain_http_with_a_key_goes_to_loopback() -> None:
    assert parse_providers(["openai=KEY@http://127.0.0.1:8080/v1"], 1.0)["openai"].base_url


def test_the_key_is_read_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f" {SECRET}\n")

    assert ProviderSettings(kind="openai", key_variable="A_KEY").key() == SECRET
    assert ProviderSettings(kind="ollama").key() is None


@pytest.mark.parametrize("value", ["", " ", f"{SECRET} {SECRET}", f"{SECRET}\nx", f"{SECRET}ĝ"])
def test_a_variable_without_a_key_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", value)

    with pytest.raises(AgentError, match="A_KEY") as caught:
        ProviderSettings(kind="openai", key_variable="A_KEY").key()

    assert SECRET not in str(caught.value)
