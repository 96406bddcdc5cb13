"""What the product is measured with: packages, a keys file, the command line of a server with everything on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.adapters.keys import KeyEntry, KeysFile, new_key, write_keys
from runwright.core.principal import Role

EXECUTOR = "bench"
Spec = dict[str, Any]
_QUERY = {
    "type": "object",
    "properties": {"query": {"type": "string", "minLength": 1}},
    "required": ["query"],
    "additionalProperties": False,
}


def tool(name: str, effect: str = "read") -> Spec:
    """A tool of the benchmark's executor, with a schema that arguments are checked by."""
    return {"name": name, "effect": effect, "executor": EXECUTOR, "parameters": _QUERY}


def asks(*tools: str) -> Spec:
    """A scripted answer that asks for these tools, side by side."""
    return {"calls": [{"tool": name, "arguments": {"query": "lamp"}} for name in tools]}


def package(
    package_id: str, script: Sequence[Spec], *tools: Spec, adapter: str = "scripted", budget: Spec | None = None
) -> Spec:
    """A package that allows what it declares."""
    return {
        "format": "runwright-package-v0",
        "id": package_id,
        "agent": {"id": "clerk", "instructions": "Answer from what the tools say."},
        "provider": {"adapter": adapter, "model": "script-1", "parameters": {"script": list(script)}},
        "policy": "builtin:allow-declared",
        "budget": budget or {},
        "tools": list(tools),
    }


def one_call() -> Spec:
    """Model, remote tool, model, end: the run that is counted and timed."""
    return package("one-call", [asks("look"), {"text": "Found {results}."}], tool("look"))


@dataclass(frozen=True, slots=True)
class Installation:
    """A data directory, its packages and a keys file, ready to be served."""

    directory: Path
    data: Path
    packages: tuple[Path, ...]
    keys: Path
    key: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a caller."""
        return (("authorization", f"Bearer {self.key}"),)

    def options(self, executor: str = "") -> list[str]:
        """The options of `serve`; `executor` is where the tools are."""
        packages = [word for path in self.packages for word in ("--package", str(path))]
        dialled = ["--executor", f"{EXECUTOR}={executor or '127.0.0.1:9'}"]
        own = ["--data", str(self.data), "--keys", str(self.keys), "--listen", "127.0.0.1:0"]
        return [*own, *packages, *dialled]

    def serve(self, executor: str = "") -> list[str]:
        """The arguments of a real `runwright serve`."""
        return ["-m", "runwright", "serve", *self.options(executor)]


def install(directory: Path, *packages: Mapping[str, Any], name: str = "data") -> Installation:
    """Writes packages and keys below the directory. JSON is YAML."""
    files = []
    for spec in packages:
        file = directory / f"{spec['id']}.yaml"
        file.write_text(json.dumps(spec))
        files.append(file)
    key_id, key, digest = new_key()
    keys = directory / f"{name}.keys.json"
    roles = frozenset({Role.CALLER, Role.OBSERVER, Role.APPROVER})
    write_keys(keys, KeysFile(keys=(KeyEntry(id=key_id, name="bench", roles=roles, sha256=digest),)))
    return Installation(directory, directory / name, tuple(files), keys, key)
