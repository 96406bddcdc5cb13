"""Cold start: what a server without telemetry, or the help of a command, must not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ALL = ("prometheus_client", "opentelemetry", "pydantic_ai", "openai", "anthropic")


@pytest.mark.parametrize("module", ["runwright.bootstrap", "runwright.cli.main"])
def test_extras_are_not_imported_before_a_setting_asks_for_them(module: str) -> None:
    program = f"import sys, {module}; print(sorted({{name.partition('.')[0] for name in sys.modules}} & set({_ALL})))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert loaded.stdout.strip() == "[]"
