"""The program, called in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest
from runwright.cli.main import main

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Calls the program with words; gives its exit code, output and errors."""
    for name in [name for name in os.environ if name.startswith("RUNWRIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
