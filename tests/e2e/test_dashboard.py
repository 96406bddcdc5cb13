"""The dashboard and the alerts: whatever they ask for is in a scrape of a real server, and Grafana knows their form."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import promql_parser as promql
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from runwright.transport.methods import METHODS

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.scraping import WITH_METRICS, scrape
from tests.e2e.server_process import ROOT
from tests.e2e.test_approval_kills import asking, decide, pending

DASHBOARD = ROOT / "deploy" / "grafana" / "runwright.json"
ALERTS = ROOT / "deploy" / "prometheus" / "runwright.yaml"
OF_PROMETHEUS = {"job", "instance"}  # the labels that it puts beside those of a scrape
SHOWN_LATER = {"code", "method", "instance", "job"}  # whose values come with what happens


def dashboard() -> dict[str, Any]:
    """The file as Grafana is given it."""
    return json.loads(DASHBOARD.read_text())  # type: ignore[no-any-return]


def panels() -> list[dict[str, Any]]:
    """Every panel but the titles of rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    """Every alert of every group."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    """What panels and alerts ask for, with a range in place of the one that Grafana puts there."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked = [query.replace("$__rate_interval", "5m") for query in asked]
    return [*asked, *(alert["expr"] for alert in alerts())]


def selectors(query: str) -> list[tuple[str, dict[str, str]]]:
    """The metrics of a query by name, with the values that labels are to have."""
    return parsed(query)[0]


def parsed(query: str) -> tuple[list[tuple[str, dict[str, str]]], set[str]]:
    """As `selectors`, and the labels that the query groups by."""
    found: list[promql.VectorSelector] = []
    grouped: set[str] = set()

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)

    promql.walk(promql.parse(query), visit)
    named = [(each.name, {matcher.name: matcher.value for matcher in each.matchers.matchers}) for each in found]
    return named, grouped


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    register_default_plugins()

    read = Dashboard.from_json(dashboard())

    assert json.loads(JSONEncoder().encode(read)) == dashboard(), "what Grafana's own models do not know is lost"
    assert (read.schema_version, read.uid, read.title) == (41, "runwright", "Runwright")
    assert [variable.name for variable in read.templating.list_val or []] == ["datasource", "job", "instance"]


def test_every_panel_has_a_title_a_unit_words_a_query_and_a_place_of_its_own() -> None:
    places = set()
    for panel in panels():
        assert panel["title"] and panel["description"] and panel["targets"], panel
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"]), panel["title"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & places, f"{panel['title']} lies over another panel"
        places |= cells
    assert {x for x, _ in places} == set(range(24))
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert sorted(numbers) == sorted(set(numbers))


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    names = [alert["alert"] for alert in alerts()]

    assert len(names) == len(set(names)) >= 15
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"]["summary"] and alert["annotations"]["description"]
        assert isinstance(promql.parse(alert["expr"]), promql.BinaryExpr), "a condition"


async def test_whatever_is_asked_for_is_in_a_scrape_of_a_real_server(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(asking(), options=WITH_METRICS)
    await server.start()
    await server.call.start("run-1")
    [approval] = await pending(server.call)
    await decide(server.call, approval)
    await server.call.settled("run-1")
    exported: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in (await scrape(server)).families:
        for sample in family.samples:
            labels = exported.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)

    used = set()
    for query in queries():
        named, grouped = parsed(query)
        for name, matchers in named:
            assert name in exported, query
            used.add(name)
            assert matchers.keys() <= exported[name].keys() | OF_PROMETHEUS, query
            for label in matchers.keys() - SHOWN_LATER:
                assert set(matchers[label].split("|")) <= exported[name][label], query
        labels_of_all = {label for name, _ in named for label in exported[name]}
        assert grouped <= labels_of_all | OF_PROMETHEUS, query

    bases = {re.sub("_(bucket|sum|count)$", "", name) for name in exported if name.startswith(("runwright_", "gen_ai"))}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    assert bases - shown == set(), "every metric of the server's own has a panel"


def test_methods_that_queries_name_are_served() -> None:
    paths = {method.path.lstrip("/") for method in METHODS}
    lasting = {method.path.lstrip("/") for method in METHODS if method.lasting}
    named = {matchers["method"] for query in queries() for _, matchers in selectors(query) if "method" in matchers}

    found = sorted((sorted(path for path in paths if re.fullmatch(name, path)) for name in named), key=len)

    service = "runwright.v1.ApprovalService/"
    assert found[:2] == [[service + "DecideApproval"], [service + "BatchDecide", service + "DecideApproval"]]
    [left_out] = found[2:]
    assert set(left_out) == lasting | {"runwright.v1.RuntimeService/ExportRun"}, "what takes as long as its reader"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_takes_the_alerts() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
