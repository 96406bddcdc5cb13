"""The Dockerfile, read: what each of its stages does, in order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

_STEP = re.compile(r"([A-Z]+)\s+(.*)", re.DOTALL)
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "ENTRYPOINT"}


@dataclass
class Stage:
    """One stage: its base, its name, and its steps as (word, rest)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, word: str) -> str:
        """What the last step of that word says."""
        return next(rest for step, rest in reversed(self.steps) if step == word)

    @property
    def entrypoint(self) -> list[str]:
        """The program of the image."""
        words: list[str] = json.loads(self.last("ENTRYPOINT"))
        return words

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(rest.split("=", 1) for step, rest in self.steps if step == "ENV")


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. Raises ValueError for an instruction that nobody taught this reader."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for step in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        match = _STEP.fullmatch(step)
        if match is None or match[1] not in KNOWN:
            raise ValueError(f"not understood: {step}")
        word, rest = match[1], match[2].strip()
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        else:
            stages[-1].steps.append((word, rest))
    return stages
