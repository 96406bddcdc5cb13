"""Proxies and certificates that cannot work are found before a model is asked; what is not used is not looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from runwright.settings.loader import load

SECRET = "hunter2"
REMOTE = ["openai=KEY"]
LOCAL = ["ollama="]


def findings(environment: dict[str, str], providers: list[str]) -> list[str]:
    """What is wrong with a server of these providers."""
    flags = {"providers": providers}
    return [
        finding.error().message for finding in load(flags, environment=environment).findings if not finding.is_missing
    ]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        f"ftp://me:{SECRET}@proxy:3128",
        f"http://me:{SECRET}@proxy:port",
        "http://proxy:99999",
        "http://",
        "http://[::1",
        "http://proxy:0",
        "socks5://proxy:1080",
    ],
)
def test_a_proxy_that_cannot_work_is_named_without_its_address(variable: str, value: str) -> None:
    [message] = findings({variable: value}, REMOTE)

    assert message.startswith(f"{variable} must be ")
    assert SECRET not in message


@pytest.mark.parametrize("value", ["", "proxy:3128", "http://proxy:3128", "https://me:x@proxy", "http://[::1]:3128"])
def test_a_proxy_that_may_work_is_let_be(value: str) -> None:
    assert findings({"HTTPS_PROXY": value}, REMOTE) == []


def test_certificates_that_cannot_be_used_are_named_with_their_place(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")

    for variable, value in (
        ("SSL_CERT_FILE", str(tmp_path / "missing.pem")),
        ("SSL_CERT_FILE", str(empty)),
        ("SSL_CERT_FILE", str(tmp_path)),
        ("SSL_CERT_DIR", str(tmp_path / "missing")),
        ("SSL_CERT_DIR", str(tmp_path)),
        ("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys")),
    ):
        [message] = findings({variable: value}, REMOTE)
        assert message.startswith(f"{variable} must be ") and value in message


def test_certificates_that_can_be_used_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "0a1b2c3d.0").write_text("")

    assert findings({"SSL_CERT_DIR": str(tmp_path)}, REMOTE) == []
    assert findings({"SSLKEYLOGFILE": str(tmp_path / "keys")}, REMOTE) == []


def test_what_no_request_uses_is_not_looked_at() -> None:
    wrong = {"HTTPS_PROXY": "ftp://x", "SSL_CERT_FILE": "/missing"}

    assert findings(wrong, []) == []
    assert findings(wrong, LOCAL) == []
    assert len(findings(wrong, ["openai=http://10.0.0.1/v1"])) == 1, "the proxy, and no certificate"
    assert len(findings(wrong, REMOTE)) == 2
