"""A scrape of a server's metrics, as Prometheus does it, and its log as a program reads it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterable
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.server_process import Server

SECONDS = 10.0
WITH_METRICS = ("--metrics", "127.0.0.1:0")


class Scrape:
    """What one scrape said."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)

    def value(self, sample: str, **labels: str) -> float:
        """The value of the sample of that name with exactly these labels; 0 when there is none."""
        found = [each for family in self.families for each in family.samples if each.name == sample]
        return next((each.value for each in found if each.labels == labels), 0.0)

    def total(self, sample: str, **labels: str) -> float:
        """The sum over all samples of that name with at least these labels."""
        found = [each for family in self.families for each in family.samples if each.name == sample]
        return sum(each.value for each in found if labels.items() <= each.labels.items())


def fetch(address: str) -> Scrape:
    """One scrape, over a socket. Blocks."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
        return Scrape(text_string_to_metric_families(answer.read().decode()))


async def scrape(server: Server) -> Scrape:
    """One scrape of the server's present life."""
    address = next(line["address"] for line in reversed(log_lines(server)) if line["message"] == "metrics served")
    return await asyncio.to_thread(fetch, address)


def log_lines(server: Server) -> list[dict[str, Any]]:
    """The lines of the server's log, all lives."""
    return [json.loads(line) for line in server.log.read_text().splitlines()]
