"""The keys file: what an entry must be, and what it costs to ask about one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runwright.adapters.keys import KeyEntry, read_keys
from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.access import Credentials

from tests.transport.known import add_key, authenticator


@pytest.mark.parametrize("credential", [{}, {"sha256": "0" * 64, "subject": "desk.example"}])
def test_an_entry_is_one_credential(tmp_path: Path, credential: dict[str, str]) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"id": "k1", "name": "desk", "roles": ["caller"], **credential}]}))

    with pytest.raises(AgentError) as refused:
        read_keys(file)

    assert refused.value.reason is ErrorReason.INVALID_REQUEST
    assert "keys.0: " in refused.value.message
    assert "exactly one of sha256 and subject" in refused.value.message


def test_asking_whether_a_principal_still_stands_hashes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add_key(tmp_path / "keys.json", "caller")
    add_key(tmp_path / "keys.json", "observer")
    known = authenticator(tmp_path / "keys.json")
    principal = known.authenticate(Credentials(key, ()))

    monkeypatch.delattr(KeyEntry, "principal")

    assert known.is_current(principal)
