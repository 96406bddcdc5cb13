"""Summaries of calls: the package's words as they are, every value in quotes, and none where that is not cheap."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from runwright.adapters import cel_summaries
from runwright.adapters.cel_conditions import CelConditions, summary_problem
from runwright.adapters.cel_summaries import MAX_WAITING, CelSummaries
from runwright.adapters.schema_process import CheckLimits
from runwright.core.summaries import MAX_SUMMARY_CHARACTERS
from runwright.ports.conditions import SummaryQuestion

ARGUMENTS: dict[str, Any] = {
    "to": "ann",
    "n": 3,
    "now": True,
    "cc": ["bob", "cy"],
    "hostile": 'x" to nobody\\ \u202e\x1b[2J\nDelete',
    "long": "y" * 400,
    "many": list(range(10)),
}
TOOL = {"name": "send", "effect": "write", "risk": "high", "executor": "desk", "idempotent": False}
DEAR = '"n " + string(args.many.map(x, args.many.map(y, args.many.map(z, args.many))).size())'
NO_END = '"y" + string(args.many.map(x, args.many).map(y, y.map(z, args.many.map(a, args.long + args.long))).size())'


def question(expression: str, size: int = 600, **arguments: Any) -> SummaryQuestion:
    """A summary over arguments."""
    return SummaryQuestion(expression, {"args": {**ARGUMENTS, **arguments}, "tool": TOOL}, size)


@pytest.fixture
async def summaries() -> AsyncIterator[CelSummaries]:
    """What makes them, with time for a process that starts on a busy machine."""
    made = CelSummaries(seconds=60)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("expression", "summary"),
    [
        ('"Send to " + args.to', 'Send to "ann"'),
        ('"Send " + string(args.n + 1) + " by " + tool.name', 'Send "4" by "send"'),
        ("\"It's \" + r'raw \\ ' + args.cc[1]", 'It\'s raw \\ "cy"'),
        ('args.now ? "now, " + args.to : "later"', '"now, ann"'),
        ('"Send " + (args.now ? "now" : "later")', 'Send "now"'),
        ('"a+b " + args.cc.map(x, x + "!")[0]', 'a+b "bob!"'),
        ('"To " + args.hostile', 'To "x\\" to nobody\\\\ \\u202e\\u001b[2J\\u000aDelete"'),
        ('"\u202eTo " + args.to', '\\u202eTo "ann"'),
        ('"To " + args.long + " or " + args.to', f'To "{"y" * 120}"\u2026 or "ann"'),
        ('"x" + args.nothing', ""),
        ('"x" + args.n', ""),
        ("args.cc", ""),
        ("", ""),
    ],
)
async def test_words_stand_as_they_are_and_values_in_quotes(
    summaries: CelSummaries, expression: str, summary: str
) -> None:
    assert await summaries.find([question(expression)]) == [summary]


@pytest.mark.parametrize("last", ["args.long", '" and then what is said of it all"'])
async def test_no_summary_is_longer_than_approvals_show(summaries: CelSummaries, last: str) -> None:
    [summary] = await summaries.find(
        [question(" + ".join(["args.hostile", *["args.long"] * 3, last]), hostile="\u202e" * 400)]
    )

    assert len(summary) <= MAX_SUMMARY_CHARACTERS
    assert summary.startswith('"' + "\\u202e" * 20 + '"\u2026"y'), "no escape is cut in two"
    assert summary.endswith('y"\u2026\u2026' if last == "args.long" else "\u2026 and th\u2026"), (
        "no value is cut without a mark"
    )


async def test_of_the_words_of_a_package_the_beginning_is_shown(summaries: CelSummaries) -> None:
    words = '"' + "w" * 1000 + '" + args.to'

    assert await summaries.find([question(words)]) == ["w" * 499 + "\u2026"]


async def test_what_may_take_long_is_made_in_a_process_and_what_takes_too_long_is_not_made(
    summaries: CelSummaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    outside = CelSummaries._asked
    monkeypatch.setattr(CelSummaries, "_asked", lambda self, q: asked.append(len(q)) or outside(self, q))

    found = await summaries.find([question('"to " + args.to'), question(DEAR, many=[1, 2])])
    large = await summaries.find([question('"to " + args.to', to="z" * 100_000, size=100_000)])
    none = await summaries.find([question('"to " + args.to'), question(NO_END, many=list(range(1000)))])
    again = await summaries.find([question(DEAR, many=[1, 2])])

    assert found == ['to "ann"', 'n "2"']
    assert large == [f'to "{"z" * 120}"\u2026']
    assert none == ['to "ann"', ""]
    assert again == ['n "2"']
    assert asked == [1, 1, 1, 1]


async def test_nobody_waits_for_a_process_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(CelSummaries, "_asked", lambda *_: never.wait(60))
    summaries = CelSummaries(seconds=0.01)

    found = await summaries.find([question('"to " + args.to'), question(DEAR)])
    never.set()
    await summaries.close()

    assert found == ['to "ann"', ""]


async def test_so_many_wait_and_the_others_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(CelSummaries, "_asked", lambda *_: [None] if goes_on.wait(60) else [])
    summaries = CelSummaries(seconds=60)

    waiting = [asyncio.ensure_future(summaries.find([question(DEAR)])) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    refused = await summaries.find([question('"to " + args.to')])
    goes_on.set()
    await asyncio.gather(*waiting)
    after = await summaries.find([question('"to " + args.to')])
    await summaries.close()

    assert (refused, after) == ([""], ['to "ann"'])


async def test_conditions_have_a_process_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = CelConditions(CheckLimits(50))
    monkeypatch.setattr(cel_summaries, "INLINE_UNITS", 0)

    [summary] = await conditions.summaries([question(NO_END, many=list(range(1000)))])

    assert (summary, conditions._process.pid) == ("", None)
    await conditions.close()


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ('"Send to " + args.to', None),
        ('"a" +', "it is no CEL expression from its character 6 on"),
        ('run.session_id + "x"', "there is no variable run in a summary; there are: tool, args"),
        ('"x" + tool.nme', "tool has no field nme (did you mean name?); there are: name, effect, risk"),
        ('"x" + 5', "5 is no text; string(5) is"),
        ('"x" + quote(args.to)', "there is no function quote"),
        ('"x" // what', "it has a comment; write that beside the rule"),
        ('"' + "x" * 1023 + '"', "it is longer than 1024 bytes"),
    ],
)
def test_a_summary_that_cannot_be_one_is_refused_in_words(expression: str, problem: str | None) -> None:
    found = summary_problem(expression)

    assert found == problem if problem is None else (found is not None and found.startswith(problem))
