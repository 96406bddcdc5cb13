"""The servers and packages of the cases, as their files have them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@cache
def servers() -> dict[str, dict[str, Any]]:
    """Every group of cases that share a server, by its name."""
    return yaml.safe_load((HERE / "servers.yaml").read_text())


@cache
def packages() -> dict[str, dict[str, Any]]:
    """Every package by its id, as the file that a server reads."""
    specs = yaml.safe_load((HERE / "packages.yaml").read_text())
    return {spec["id"]: {"format": "runwright-package-v0", **_written_out(spec)} for spec in specs}


def _written_out(value: Any) -> Any:
    """`{$times: [n, item]}` in a list as that many items, `{$repeat: [text, times]}` as a long text."""
    if isinstance(value, dict) and set(value) == {"$repeat"}:
        text, times = value["$repeat"]
        return text * times
    if isinstance(value, list):
        rows: list[Any] = []
        for item in value:
            times, one = item["$times"] if isinstance(item, dict) and "$times" in item else (1, item)
            rows += [_written_out(one)] * times
        return rows
    return {key: _written_out(held) for key, held in value.items()} if isinstance(value, dict) else value
