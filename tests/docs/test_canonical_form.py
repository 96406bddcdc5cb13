"""The table of the canonical form in docs/packages.md has every field of the format, and says which came later."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.e2e.server_process import ROOT

TABLE = ROOT / "clients/python/src/runwright_client/_package_form.py"  # generated from the model


def of_the_format() -> Iterator[tuple[str, bool]]:
    """Every field that holds no further ones, by path, and whether it is younger than v0."""
    form: dict[str, Any] = json.loads(TABLE.read_text().partition('r"""')[2].rpartition('"""')[0])

    def fields(part: str, before: str, younger: bool) -> Iterator[tuple[str, bool]]:
        for name, says in form["parts"][part].items():
            came_later = younger or "younger" in says
            if name == "fallbacks":  # each as `provider`, as the table says
                yield name, came_later
            elif "part" in says:
                yield from fields(says["part"], f"{before}{name}.", came_later)
            elif "list_of" in says:
                # A list that came later is left out as a whole: of its fields it is said which came after it.
                yield f"{before}{name}", came_later
                yield from fields(says["list_of"], f"{before}{name}[].", False)
            elif "map_of" in says:
                yield f"{before}{name}", came_later  # likewise
                yield from fields(says["map_of"], f"{before}{name}.*.", False)
            else:
                yield f"{before}{name}", came_later

    return fields(form["top"], "", False)


def of_the_page() -> Iterator[tuple[str, bool]]:
    """The same, as the table has it."""
    _, _, page = (ROOT / "docs/packages.md").read_text().partition("| field | default | |\n")
    rows = page.partition("\n\n")[0].splitlines()[1:]
    for row in rows:
        names, _, rest = row.removeprefix("| ").partition(" | ")
        before = ""
        for name in re.findall(r"`([^`]+)`", names):
            path = f"{before}{name}" if name.startswith(".") else name
            before = path.rpartition(".")[0]
            yield path, "**y**" in rest


def test_every_field_of_the_format_is_in_the_table_of_the_canonical_form() -> None:
    assert sorted(of_the_page()) == sorted(of_the_format())
