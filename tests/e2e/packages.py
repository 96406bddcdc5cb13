"""Packages for the tests: a script, the tools it asks for, written to a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.executor import EXECUTOR

Spec = dict[str, Any]
_ANY_OBJECT = {"type": "object"}


def tool(name: str, effect: str, **limits: int | bool) -> Spec:
    """A tool of the tests' executor."""
    return {"name": name, "effect": effect, "executor": EXECUTOR, "parameters": _ANY_OBJECT, **limits}


LOOK = tool("look", "read")
PEEK = tool("peek", "read")
BOOK = tool("book", "write")  # not idempotent: that is the default of what writes


def asks(*calls: tuple[str, Mapping[str, Any]]) -> Spec:
    """An answer of the model that asks for these tools, side by side."""
    return {"calls": [{"tool": name, "arguments": dict(arguments)} for name, arguments in calls]}


def says(text: str) -> Spec:
    """The final answer; `{results}` in it becomes the results of all tools."""
    return {"text": text}


def package(
    package_id: str, script: Sequence[Spec], *tools: Spec, adapter: str = "scripted", budget: Spec | None = None
) -> Spec:
    """A package that allows the tools it declares."""
    return {
        "format": "runwright-package-v0",
        "id": package_id,
        "agent": {"id": "clerk"},
        "provider": {"adapter": adapter, "model": "script-1", "parameters": {"script": list(script)}},
        "policy": "builtin:allow-declared",
        "budget": budget or {},
        "tools": list(tools),
    }


def write(directory: Path, spec: Spec) -> Path:
    """The package as a file named after it. JSON is YAML."""
    path = directory / f"{spec['id']}.yaml"
    path.write_text(json.dumps(spec, indent=1))
    return path


def one_call(package_id: str, *tools: Spec, times: int = 1) -> Spec:
    """A package that calls its first tool that many times, one after the other, and then answers."""
    script = [asks((tools[0]["name"], {"step": step})) for step in range(1, times + 1)]
    return package(package_id, [*script, says("done: {results}")], *tools, budget={"rounds": times + 1})
