"""`runwright doctor` on keys and certificates: whether the server could use them, and who else may."""

from __future__ import annotations

from pathlib import Path

import pytest
from runwright.cli.checks import Check, Status
from runwright.cli.checks.credentials import check_keys, check_tls

from tests.cli.conftest import Program
from tests.transport.known import add_key, certificate


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    return certificate(tmp_path, "server")


def only(checks: object) -> Check:
    (check,) = checks  # type: ignore[misc]
    return check


def test_a_keys_file_is_counted(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "caller")

    check = only(check_keys(tmp_path / "keys.json"))

    assert (check.status, check.found) == (Status.OK, f"{tmp_path / 'keys.json'}: 1 principal")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"keys": [{"id": "x"}]}'])
def test_a_keys_file_that_no_server_could_read_fails(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)

    check = only(check_keys(tmp_path / "keys.json"))

    assert check.status is Status.FAIL
    assert str(tmp_path / "keys.json") in check.found


def test_secrets_that_others_may_read_are_warned_of_with_what_to_do(pair: tuple[Path, Path], tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "caller")
    for file in (tmp_path / "keys.json", pair[1]):
        file.chmod(0o644)

    found = [only(check_keys(tmp_path / "keys.json")), only(check_tls(*pair, None))]

    assert [(check.name, check.status) for check in found] == [
        ("keys file", Status.WARN),
        ("private key", Status.WARN),
    ]
    assert [check.remedy for check in found] == [f"chmod 600 {tmp_path / 'keys.json'}", f"chmod 600 {pair[1]}"]
    assert "others may read" in found[0].found


def test_a_pair_that_does_not_belong_together_fails(pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = certificate(tmp_path, "other")

    wrong, _ = check_tls(pair[0], other, None)
    right = only(check_tls(*pair, pair[0]))

    assert wrong.status is Status.FAIL
    assert "whose private key" in wrong.found
    assert right.status is Status.OK


def test_the_doctor_looks_at_what_the_server_would_be_given(
    program: Program, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    add_key(tmp_path / "keys.json", "caller")
    (tmp_path / "keys.json").chmod(0o640)
    tls = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]))

    _, out, _ = program("doctor", "--data", str(tmp_path / "d"), "--keys", str(tmp_path / "keys.json"), *tls)
    _, half, _ = program("doctor", "--data", str(tmp_path / "d"), *tls[:2])

    assert f"warn keys file       others may read {tmp_path / 'keys.json'} (0640) -> chmod 600" in out
    assert "ok   private key" in out
    assert "FAIL configuration   --tls-cert must be given together with --tls-key" in half
