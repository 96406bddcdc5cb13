"""The table at the end: what came of every case in every language."""

from __future__ import annotations

import pytest

from tests.conformance.languages import LANGUAGES

_RESULTS: dict[str, dict[str, str]] = {}
_REASONS: dict[str, str] = {}
EVERY = "*"  # a test that is about all languages together


def note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Keeps the outcome of a test that plays a case."""
    played = item.callspec.params if hasattr(item, "callspec") else {}
    name, language = str(played.get("case", item.name.partition("[")[0])), played.get("language", EVERY)
    if item.path.parent.name != "conformance" or not item.get_closest_marker("conformance"):
        return
    row = _RESULTS.setdefault(name, {})
    if report.failed:
        row[language] = "FAIL"
    elif hasattr(report, "wasxfail"):
        row[language] = "known"
        _REASONS[f"known  {name}, {language}"] = report.wasxfail
    elif report.skipped:
        row[language] = "skipped"
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _REASONS[f"skipped  {language}"] = why.removeprefix("Skipped: ")
    elif report.when == "call":
        row.setdefault(language, "ok")


def lines() -> list[str]:
    """The table, a line for each case, and under it why something was skipped or is known to fail."""
    if not _RESULTS:
        return []
    width = max(len(name) for name in _RESULTS)
    heads = "".join(f"{language:<12}" for language in LANGUAGES)
    found = ["", f"{'conformance':<{width}}  {heads}".rstrip()]
    for name, row in _RESULTS.items():
        shown = [row.get(language, row.get(EVERY, "")) for language in LANGUAGES]
        found.append(f"{name:<{width}}  {''.join(f'{cell:<12}' for cell in shown)}".rstrip())
    counts = [
        f"{language}: "
        + ", ".join(
            f"{sum(row.get(language, row.get(EVERY)) == word for row in _RESULTS.values())} {word}"
            for word in ("ok", "FAIL", "known", "skipped")
        )
        for language in LANGUAGES
    ]
    return [*found, "", *counts, *(f"{what}: {why}" for what, why in _REASONS.items())]
