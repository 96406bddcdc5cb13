"""`runwright callbacks`: what is listed, what is sent, and that a credential is never printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import Parse
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb

from tests.cli.conftest import Program
from tests.cli.fake_registry import FakeRegistry, callback, serving_both

UNHEALTHY = pb.CALLBACK_HEALTH_UNHEALTHY


def test_ls_prints_every_page_as_a_table_with_what_is_wrong(program: Program) -> None:
    ill = callback("desk-2", "look", "see", health=UNHEALTHY, detail="It does not\x1b[31m answer.")
    with serving_both(FakeRegistry(callback(), ill)) as server:
        code, out, err = program("--server", server, "callbacks", "ls")

    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["CALLBACK", "KIND", "EXECUTOR", "ADDRESS", "HEALTH", "EXPIRES", "OWNER", "TOOLS"],
        ["desk-1", "TOOL_EXECUTOR", "desk", "127.0.0.1:7761", "HEALTHY", "2023-11-14", "22:14:20Z", "tools", "any"],
        [
            "desk-2",
            "TOOL_EXECUTOR",
            "desk",
            "127.0.0.1:7761",
            "UNHEALTHY",
            "2023-11-14",
            "22:14:20Z",
            "tools",
            "look,",
            "see",
        ],
        ["It", "does", "not[31m", "answer."],
    ]


def test_ls_says_for_which_tools_a_registration_is_not_used(program: Program) -> None:
    different = callback()
    unused = different.unused_tools.add(
        tool="look", schema_digest="sha256:aa", package_schema_digest="sha256:bb", package_fingerprint="sha256:p:1"
    )
    unused.wanted_at.FromSeconds(1_700_000_000)
    with serving_both(FakeRegistry(different)) as server:
        out = program("--server", server, "callbacks", "ls")[1]

    said = "its schema is sha256:aa, and sha256:bb in package sha256:p:1, last wanted at 2023-11-14 22:13:20Z"
    assert out.splitlines()[-1] == f"  not used for look: {said}"


def test_ls_for_programs(program: Program) -> None:
    registry = FakeRegistry(callback(), callback("desk-2"))
    with serving_both(registry) as server:
        as_json = program("--server", server, "callbacks", "ls", "--executor", "desk", "-o", "json")[1]
        as_yaml = program("--server", server, "callbacks", "ls", "-o", "yaml")[1]
        as_names = program("--server", server, "callbacks", "ls", "-o", "name")[1]

    assert Parse(as_json, pb.ListCallbacksResponse()).callbacks == registry.callbacks
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
    assert as_names == "desk-1\ndesk-2\n"
    assert {request.executor for request in registry.requests} == {"desk", ""}


def test_register_sends_what_it_is_given_and_never_prints_the_credential(program: Program, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    registry = FakeRegistry()
    words = ("register", "desk-1", "--executor", "desk", "--address", "h:1", "--tool", "look", "--tool", "see")
    with serving_both(registry) as server:
        plain = program("--server", server, "callbacks", *words, "--credential", "tok-1", "--lease", "90")
        shown = [
            program("--server", server, "callbacks", *words, "--ca", str(tmp_path / "ca.pem"), "-o", form)
            for form in ("json", "yaml", "name")
        ]
        system = program("--server", server, "callbacks", *words, "--tls", "--server-name", "n")

    assert {code for code, _, _ in (plain, *shown, system)} == {0}
    first, second = registry.requests[0], registry.requests[1]
    assert (list(first.spec.tools), first.credential, first.lease.seconds) == (["look", "see"], "tok-1", 90)
    assert not first.spec.HasField("tls")
    assert (second.spec.tls.ca_pem, second.lease.seconds) == (b"PEM", 60)
    assert registry.requests[-1].spec.tls == pb.CallbackTls(server_name="n")
    assert "desk-1" in plain[1]
    assert json.loads(shown[0][1])["callback"] == yaml.safe_load(shown[1][1])["callback"]
    assert shown[2][1] == "desk-1\n"
    assert "(TLS)" in system[1]
    assert "tok-1" not in plain[1] + plain[2]


def test_unregister_says_so(program: Program) -> None:
    registry = FakeRegistry()
    with serving_both(registry) as server:
        code, out, _ = program("--server", server, "callbacks", "unregister", "desk-1")

    assert (code, out) == (0, "callback desk-1 is no longer registered\n")
    assert registry.requests == [pb.UnregisterCallbackRequest(callback_id="desk-1")]


@pytest.mark.parametrize(
    "words",
    [("register", "a"), ("register", "a", "--executor", "e", "--address", "h:1", "--lease", "4"), ("unregister",)],
)
def test_wrong_usage_is_code_two(program: Program, words: tuple[str, ...]) -> None:
    assert program("callbacks", *words)[0] == 2


def test_a_file_that_cannot_be_read_is_named(program: Program, tmp_path: Path) -> None:
    words = ("register", "a", "--executor", "e", "--address", "h:1", "--ca", str(tmp_path / "missing.pem"))

    code, _, err = program("callbacks", *words)

    assert code == 2
    assert "missing.pem" in "".join(err.split())
