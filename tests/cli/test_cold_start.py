"""Cold start: what a server without telemetry, or the help of the commands, must not load."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import Program

_ALL = ("prometheus_client", "opentelemetry", "pydantic_ai", "openai", "anthropic")


_HELP = "from runwright.cli.main import app; app([*{words}, '--help'], standalone_mode=False)"
_CLIENT = {"runwright.cli.client", "runwright.cli.chat", "runwright.cli.doctor"}


def _loaded(program: str) -> set[str]:
    """The modules of a new process after these lines."""
    code = f"{program}\nimport sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("program", ["import runwright.bootstrap", _HELP.format(words=[])])
def test_extras_are_not_imported_before_a_setting_asks_for_them(program: str) -> None:
    loaded = _loaded(program)

    assert "runwright" in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(_ALL)


def test_the_server_does_not_load_the_other_commands() -> None:
    loaded = _loaded(f"{_HELP.format(words=['serve'])}; import runwright.bootstrap")

    assert "runwright.cli.serve" in loaded
    assert not loaded & {*_CLIENT, "runwright.settings.config_file", "rich"}
    assert _loaded(_HELP.format(words=[])) >= _CLIENT


def test_the_screen_of_the_inbox_is_loaded_by_that_command_alone() -> None:
    loaded = _loaded(_HELP.format(words=["approvals"])) | _loaded(_HELP.format(words=["run"]))

    assert loaded >= {"runwright.cli.approvals", "runwright.cli.ask_in_run"}
    assert not {name.partition(".")[0] for name in loaded} & {"prompt_toolkit", "wcwidth"}


def test_libraries_are_told_before_they_are_loaded_unless_somebody_said_otherwise() -> None:
    program = "import os, sys, runwright.cli; print(os.environ['PYDANTIC_DISABLE_PLUGINS'], 'pydantic' in sys.modules)"
    for values, message in (({}, "__all__"), ({"PYDANTIC_DISABLE_PLUGINS": "other"}, "other")):
        environment = {name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"}
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env=environment | values,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ended.stdout.split() == [message, "False"]


def test_a_slip_in_a_command_is_answered_with_the_command(program: Program) -> None:
    code, out, err = program("serv")

    assert (code, out) == (2, "")
    assert "Did you mean 'serve'?" in err
