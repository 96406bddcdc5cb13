"""Pages that are written from the code's tables are as the tables are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.server_process import ROOT

SCRIPTS = ("configuration_reference", "dashboard", "error_reference", "state_diagrams")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_generated_page_is_current(script: str) -> None:
    checked = subprocess.run(
        [sys.executable, f"scripts/{script}.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
