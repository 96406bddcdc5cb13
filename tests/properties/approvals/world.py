"""Everything that a history is played with: the dice, the scene, the server, and what was read and asked so far."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from tests.properties.approvals.answers import Sent
from tests.properties.approvals.dispatchers import BOT, Dispatchers
from tests.properties.approvals.hosts import ANSWERS, Hosts
from tests.properties.approvals.idle_loop import IdleLoop
from tests.properties.approvals.read_run import sha256
from tests.properties.approvals.reading import Reading
from tests.properties.approvals.scene import PATHS, TEXTS, Scene
from tests.properties.approvals.server import Server

MILLISECOND, SECOND = 1_000, 1_000_000
_ARGUMENTS = {
    sha256(json.dumps(arguments, separators=(",", ":"), sort_keys=True).encode()): arguments
    for path in PATHS
    for size in (1, 9)
    for arguments in [{"path": path, "size": size}]
}


class World:
    """One world. `is_calm`: its hosts answer, and nothing goes wrong with the disk."""

    def __init__(self, seed: int, loop: IdleLoop, directory: Path | None) -> None:
        self.rng = Random(seed)
        self.loop = loop
        self.scene = Scene.of(self.rng)
        self.hosts = Hosts(self._next_answer)
        self.dispatchers = Dispatchers(self.rng, BOT if self.scene.people.keys else "local")
        self.server = Server(loop, self.scene, self.hosts, self.dispatchers, directory)
        known = [made.known for made in self.scene.packages]
        self.reading = Reading(known, self.scene.people, _ARGUMENTS, TEXTS)
        self.counts: Counter[str] = Counter()
        self.sent: list[Sent] = []
        self.is_calm = self.rng.random() < 0.4
        self.is_over = False
        self.had_faults = False
        self.runs = 0
        self._requests = 0

    def one_of(self, *names: str) -> str:
        """One of them; without keys everybody is the same."""
        return self.rng.choice(names) if self.scene.people.keys else "local"

    def request_id(self) -> str:
        """Another one each time."""
        self._requests += 1
        return f"request-{self._requests}"

    def pass_time(self, microseconds: int) -> None:
        """Turns the clock; back where that is negative."""
        self.server.clock.advance(microseconds)
        if microseconds > 0:
            self.loop.pass_time(microseconds / SECOND)

    def ask(self, who: str, service: str, method: str, request: Any) -> Any:
        """Sends a request that is not about an approval."""
        return self.server.ask(who, service, method, request)

    def _next_answer(self) -> str:
        if self.is_over or self.is_calm:
            return "result"
        return self.rng.choice(["result"] * 6 + [*ANSWERS])
