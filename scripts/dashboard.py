"""Writes deploy/grafana/runwright.json from `dashboard_panels.py`; `--check` fails when it is stale."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import GraphDrawStyle, LegendDisplayMode, StackingMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

sys.path.insert(0, str(Path(__file__).resolve().parent))
from dashboard_panels import ROWS, Panel

FILE = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "runwright.json"
SELECTOR = 'job=~"$job", instance=~"$instance"'
RANGE = "$__rate_interval"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH, HEIGHT, NUMBER_HEIGHT = 24, 8, 4


def _target(ref: str, legend: str, expression: str) -> prometheus.Dataquery:
    query = expression.replace("$s", SELECTOR).replace("$range", RANGE)
    return prometheus.Dataquery().ref_id(ref).expr(query).legend_format(legend).datasource(SOURCE)


def _panel(wanted: Panel, number: int, span: int) -> stat.Panel | timeseries.Panel:
    made: stat.Panel | timeseries.Panel
    if wanted.is_number:
        made = stat.Panel().height(NUMBER_HEIGHT)
    else:
        made = timeseries.Panel().height(HEIGHT).draw_style(GraphDrawStyle.LINE)
        made.legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(True))
        if wanted.is_stacked:
            made.fill_opacity(20).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    made.id(number).title(wanted.title).description(wanted.says).unit(wanted.unit).span(span).datasource(SOURCE).min(0)
    for ref, (legend, expression) in zip("ABCD", wanted.queries.items(), strict=False):
        made.with_target(_target(ref, legend, expression))
    return made


def _variable(name: str, of: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).query(f"label_values({of}, {name})").datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).include_all(True).all_value(".*").multi(True)


def page() -> str:
    """The file's text."""
    made = dashboard.Dashboard("Runwright").uid("runwright").tags(["runwright"]).editable().time("now-6h", "now")
    made.description("A Runwright server: its runs, approvals, models, tools, calls, journal and process.")
    made.refresh("30s").timezone("browser")
    made.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
    made.with_variable(_variable("job", "runwright_build_info"))
    made.with_variable(_variable("instance", 'runwright_build_info{job=~"$job"}'))
    numbers = count(1)
    for title, panels in ROWS.items():
        made.with_row(dashboard.Row(title).id(next(numbers)))
        side_by_side = len(panels) if panels[0].is_number else 2 if len(panels) == 4 else 3
        for each in panels:
            made.with_panel(_panel(each, next(numbers), WIDTH // side_by_side))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        FILE.write_text(page())
    elif FILE.read_text() != page():
        sys.exit("deploy/grafana/runwright.json is stale: run `make gen`")
