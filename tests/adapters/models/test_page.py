"""docs/models.md is true: its first example answers, its forms and recipes are settings that are taken."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from runwright.adapters.providers.model_parameters import parameters_problem
from runwright.settings import parse_providers
from runwright.settings.loader import load

from tests.adapters.models.fake_vendor import fake_vendor
from tests.adapters.models.wires import OPENAI
from tests.docs.blocks import blocks_of

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
BLOCKS = list(blocks_of("docs/models.md"))
RECIPES = re.findall(r"^\| [^|]+ \| (`[^|]+`[^|]*) \| [^|]+ \|$", PAGE.partition("## Recipes")[2], re.MULTILINE)
OPTIONS = [option for recipe in RECIPES for option in re.findall(r"`([a-z-]+=[^`]*)`", recipe)]


def block(form: str, containing: str) -> str:
    """The first block of that form that has these words."""
    return next(text for text in re.findall(rf"```{form}\n(.*?)```", PAGE, re.DOTALL) if containing in text)


async def test_the_first_example_answers(tmp_path: Path) -> None:
    (tmp_path / "package.yaml").write_text(block("yaml", "format:"))
    serve, *questions = [command for each in BLOCKS if each.run_by for command in each.commands][1:]
    async with fake_vendor(OPENAI.answer("A book."), OPENAI.answer("Hello.")) as vendor:
        server = await started(f"{serve}@{vendor.url}/v1 --listen 127.0.0.1:0", tmp_path)
        assert server.stdout is not None
        try:
            async with asyncio.timeout(60):
                while not (line := (await server.stdout.readline()).decode()).startswith("runwright serving on "):
                    assert line, "it ended"
                address = line.split()[-1]
                message = [await said(command, tmp_path, address) for command in questions]
        finally:
            server.terminate()
            await server.wait()

    assert "A book." in message[0]
    assert "COMPLETED" in message[1]
    assert "Hello." in message[2]
    assert [requested.body["model"] for requested in vendor.requested] == ["gpt-5-mini", "gpt-5-mini"]


async def started(command: str, folder: Path, address: str = "") -> asyncio.subprocess.Process:
    """A command of the page, in the folder, with a key in its environment and, for `chat`, a line to say."""
    words = [sys.executable, "-m", "runwright", *shlex.split(command.removeprefix(".venv/bin/runwright"))]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-of-nobody", **({"RUNWRIGHT_SERVER": address} if address else {})}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *words, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )


async def said(command: str, folder: Path, address: str) -> str:
    """What a command prints that succeeds."""
    process = await started(command, folder, address)
    message, _ = await process.communicate(b"Hello?\n")
    assert process.returncode == 0, message.decode()
    return message.decode()


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
