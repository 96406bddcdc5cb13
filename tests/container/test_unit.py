"""The systemd unit: systemd understands every line, and the command it starts takes its options."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runwright.settings import FIELDS
from runwright.settings.model import Settings

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "runwright.service"
INSTALLED = "/opt/runwright/bin/runwright"


def start_line() -> list[str]:
    """The words of ExecStart."""
    return (
        next(line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")).partition("=")[2].split()
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "runwright.service"
    unit.write_text(UNIT.read_text().replace(INSTALLED, str(Path(sys.executable).parent / "runwright")))

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )

    about_it = [line for line in verified.stderr.splitlines() if "runwright" in line]
    assert (verified.returncode, about_it) == (0, [])


def test_the_unit_starts_a_server_with_options_that_are_there() -> None:
    program, command, *options = start_line()

    assert (program, command) == (INSTALLED, "serve")
    assert set(options[::2]) <= {"--config", *(field.flag for field in FIELDS)}


def test_systemd_waits_longer_than_the_server_drains() -> None:
    waits = next(line for line in UNIT.read_text().splitlines() if line.startswith("TimeoutStopSec="))

    assert int(waits.partition("=")[2]) >= Settings(data=Path("data")).drain_grace_seconds + 10
