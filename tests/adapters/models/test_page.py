"""docs/models.md is true: its first example answers, its forms and recipes are settings that are taken."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_files import examine_package
from runwright.adapters.providers.model_parameters import parameters_problem
from runwright.core.outcomes import RunStatus
from runwright.settings import parse_providers
from runwright.settings.loader import load

from tests import builders as b
from tests.adapters.models.asking import provider_at
from tests.adapters.models.fake_vendor import fake_vendor
from tests.adapters.models.wires import OPENAI

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
RECIPES = re.findall(r"^\| [^|]+ \| (`[^|]+`[^|]*) \| [^|]+ \|$", PAGE.partition("## Recipes")[2], re.MULTILINE)
OPTIONS = [option for recipe in RECIPES for option in re.findall(r"`([a-z-]+=[^`]*)`", recipe)]


def block(form: str, containing: str) -> str:
    """The first block of that form that has these words."""
    return next(text for text in re.findall(rf"```{form}\n(.*?)```", PAGE, re.DOTALL) if containing in text)


async def test_the_first_example_answers(tmp_path: Path) -> None:
    file = tmp_path / "package.yaml"
    file.write_text(block("yaml", "format:"))
    examined = examine_package(file, JsonSchemaChecker())
    assert examined.package is not None and not examined.found
    async with fake_vendor(OPENAI.answer("A book.")) as vendor, provider_at(vendor, "openai") as provider:
        runtime = b.Bench(providers={"openai": provider}).runtime(examined.package)
        ended = await runtime.run_text(b.request())
        await runtime.close()

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "A book.")


def test_the_file_and_the_variables_are_settings(tmp_path: Path) -> None:
    file = tmp_path / "runwright.toml"
    file.write_text(block("toml", "[providers]"))
    assert set(tomllib.loads(file.read_text())["providers"]) == {"openai", "openai-eu", "ollama"}
    words = re.findall(r"(RUNWRIGHT_\w+)=(\S+)", block("console", "RUNWRIGHT_PROVIDERS"))

    assert load({}, file, {}).findings == []
    assert load({}, None, dict(words)).findings == []


@pytest.mark.parametrize("option", OPTIONS)
def test_a_recipe_is_taken(option: str) -> None:
    assert parse_providers([option], 1.0)


def test_there_are_recipes_for_those_who_are_named() -> None:
    assert {option.partition("=")[0] for option in OPTIONS} == {
        "openai", "openai-azure", "anthropic", "openai-gemini", "ollama-mistral", "ollama", "openai-vllm",
        "openai-openrouter", "openai-eu",
    }  # fmt: skip


def test_parameters_of_the_page_are_taken() -> None:
    for text in re.findall(r"^provider: (\{adapter: openai.*parameters.*\})$", PAGE, re.MULTILINE):
        assert parameters_problem("openai", yaml.safe_load(text)["parameters"]) is None
