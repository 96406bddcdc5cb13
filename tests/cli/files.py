"""Package and configuration files for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOOL = {"name": "look", "executor": "desk", "effect": "read"}
PACKAGE: dict[str, Any] = {
    "format": "runwright-package-v0",
    "id": "one",
    "agent": {"id": "clerk"},
    "provider": {"adapter": "demo", "model": "demo-1"},
    "tools": [TOOL],
}


def package_file(directory: Path, name: str = "one.yaml", **changes: object) -> Path:
    """A package, valid but for the changes."""
    path = directory / name
    path.write_text(json.dumps({**PACKAGE, **changes}))
    return path


def config_file(directory: Path, text: str = "", *, executor: str = "127.0.0.1:1") -> Path:
    """A configuration that names the directory `data`, the package `one.yaml` and the executor `desk`."""
    path = directory / "runwright.toml"
    path.write_text(f'data = "data"\npackages = ["one.yaml"]\n{text}\n[executors]\ndesk = "{executor}"\n')
    return path
