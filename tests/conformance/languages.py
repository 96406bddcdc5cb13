"""The three clients: what must be there to run their programs, and how each is built."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Language:
    """One client: what must be there to run its program, how it is built, and the program."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    folder: Path
    environment: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()  # of this interpreter, which runs the program: nothing is built then

    @property
    def own_command(self) -> list[str]:
        """The command, or what RUNWRIGHT_CONFORMANCE_<LANGUAGE> gives in its place."""
        value = os.environ.get(f"RUNWRIGHT_CONFORMANCE_{self.name.upper()}")
        return shlex.split(value) if value else list(self.command)

    @property
    def is_overridden(self) -> bool:
        """True when the environment says what to run: then nothing is built."""
        return f"RUNWRIGHT_CONFORMANCE_{self.name.upper()}" in os.environ

    def missing(self) -> str:
        """Why the program cannot be built or run here; empty when it can."""
        if self.is_overridden:
            return ""
        if not (self.folder / "Makefile").exists():
            return f"{self.folder.relative_to(ROOT)} is not there"
        absent = [tool for tool in self.needs if shutil.which(tool) is None]
        if absent:
            return f"no {' and no '.join(absent)} on the path"
        absent = [module for module in self.modules if find_spec(module) is None]
        return f"no {' and no '.join(absent)} in {sys.prefix}" if absent else ""

    async def build(self) -> str:
        """Makes whatever the program needs; returns why that failed, or nothing."""
        if self.is_overridden or self.modules:
            return ""
        process = await asyncio.create_subprocess_exec(
            *("make", "-s", "-C", str(self.folder), "conformance"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return "" if process.returncode == 0 else f"make conformance failed:\n{out.decode()[-4000:]}"


LANGUAGES = {
    language.name: language
    for language in (
        Language(
            "python",
            (),
            (sys.executable, str(ROOT / "clients/python/conformance/program.py")),
            ROOT / "clients/python",
            (("PYTHONPATH", str(ROOT / "clients/python/src")),),  # as it is in the checkout, whatever is installed
            ("betterproto2", "grpclib", "pydantic"),
        ),
        Language("go", ("make", "go"), (str(ROOT / ".cache/conformance/go"),), ROOT / "clients/go"),
        Language(
            "typescript",
            ("make", "node", "npm"),
            ("node", str(ROOT / "clients/typescript/dist/conformance/program.js")),
            ROOT / "clients/typescript",
        ),
    )
}
