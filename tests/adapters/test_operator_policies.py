"""The operator's policies: what the file says, for whom, and what is wrong with it in the words of who writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from runwright.adapters.operator_policies import read_operator_policies
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace

FILE = """format: runwright-policies-v0
namespaces:
  "*":
    - rules: [{when: 'tool.effect == "process"', then: deny, code: no_processes}]
  team-b:
    - rules: [{stage: run_start, when: '!("admin" in principal.roles)', then: deny}]
"""

TOLD = """format: runwright-policies-v0
dispatchers:
  "*": [chat]
  team-b: [chat, pager, desk]
"""


def written(tmp_path: Path, text: str) -> Path:
    """The file."""
    path = tmp_path / "policies.yaml"
    path.write_text(text)
    return path


def test_what_is_for_everybody_is_heard_before_what_is_for_one_namespace(tmp_path: Path) -> None:
    rules = read_operator_policies(written(tmp_path, FILE))

    everybody, team = rules[Namespace("*")], rules[Namespace("team-b")]
    assert len(everybody.policies) == 1
    assert team.policies[:1] == everybody.policies and len(team.policies) == 2
    assert everybody.digest != team.digest and everybody.digest.startswith("sha256:")


def test_a_digest_is_that_of_what_is_said_not_of_how_it_is_written(tmp_path: Path) -> None:
    before = read_operator_policies(written(tmp_path, FILE))
    same = read_operator_policies(written(tmp_path, FILE.replace("[{when", "[ {  when")))
    other = read_operator_policies(written(tmp_path, FILE.replace("no_processes", "no_process")))

    assert before == same
    assert before[Namespace("*")].digest != other[Namespace("*")].digest


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (FILE.replace("then: deny, code", "than: deny, code"), "namespaces.*.0.rules.0.then"),
        (FILE.replace("tool.effect", "toll.effect"), "there is no variable toll"),
        (FILE.replace("principal.roles", "args.roles"), "there is no variable args at this stage"),
        (FILE.replace("v0", "v7"), "runwright-policies-v0"),
        (
            FILE.replace("team-b", '"team b"'),
            "by name, letters, digits and . _ : @ -, or * for all",
        ),
        ("namespaces: [", "line 1"),
        ("", "format"),
        # Nothing of what follows may be passed over: a rule that is not read is not heard.
        (FILE.replace("team-b", '"*"'), "without repeated keys"),
        (FILE.replace("then: deny, code", "then: deny, then: allow, code"), "without repeated keys"),
        (FILE + "  team-c: &a []\n  team-d: *a\n", "without aliases"),
        (FILE + "  team-c: !!python/object:os.system []\n", "without tags"),
        (FILE + "  ? [a]\n  : []\n", "whose keys are texts"),
        (FILE + "  team-c: [{rules: [{then: deny, code: " + "9" * 500 + "}]}]\n", "digits"),
        ("format: runwright-policies-v0\nnamespaces: {a: [{builtin: read-only, rules: [{then: deny}]}]}", "either"),
        ("format: runwright-policies-v0\nnamespaces: {a: [{rules: [{stage: input, then: ask}]}]}", "another verdict"),
        ("format: runwright-policies-v0\nnamespaces: {a: [{rules: [{then: ask, approval: w}]}]}", "no `approval` here"),
        ("format: runwright-policies-v0\nnamespaces: {a: [{remote: compliance, on_failure: allow}]}", "Remove it"),
        (
            "format: runwright-policies-v0\nnamespaces: {a: [{remote: compliance, stages: [model_request]}]}",
            "Have it decide on what goes into a request",
        ),
        ("format: runwright-policies-v0\nnamespaces: {a: [{rules: [{then: defer}]}]}", "Have a remote policy say so"),
        ("format: runwright-policies-v0\n", "namespaces, dispatchers, or both"),
        (TOLD.replace("chat", "a chat"), "dispatchers.*.0"),
        (TOLD.replace("team-b", '"team b"'), "by name, letters, digits and . _ : @ -, or * for all"),
        (TOLD.replace("pager, desk", "pager, pager"), "each dispatcher of namespace team-b once"),
        (TOLD.replace("pager", "one, two, pager"), "at most 4 dispatchers for namespace team-b, those of * counted"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, wrong: str, said: str) -> None:
    with pytest.raises(AgentError) as caught:
        read_operator_policies(written(tmp_path, wrong))

    assert caught.value.reason is ErrorReason.INVALID_REQUEST
    assert "policies.yaml" in caught.value.message
    assert said in caught.value.message + caught.value.remedy


def test_more_rules_than_are_heard_are_refused(tmp_path: Path) -> None:
    rules = "[" + ", ".join(["{then: deny}"] * 129) + "]"
    text = f'format: runwright-policies-v0\nnamespaces: {{"*": [{{rules: {rules}}}], a: [{{rules: {rules}}}]}}\n'

    with pytest.raises(AgentError, match="at most 256 rules"):
        read_operator_policies(written(tmp_path, text))


def test_whom_approvals_are_told_by_is_said_by_namespace_like_rules(tmp_path: Path) -> None:
    rules = read_operator_policies(written(tmp_path, FILE + TOLD.partition("\n")[2].replace("team-b", "team-c")))

    told = {name: each.dispatchers for name, each in rules.items()}
    assert told == {"*": ("chat",), "team-b": ("chat",), "team-c": ("chat", "pager", "desk")}
    assert rules[Namespace("team-c")].policies == rules[Namespace("*")].policies


def test_a_file_of_dispatchers_alone_has_no_rules(tmp_path: Path) -> None:
    rules = read_operator_policies(written(tmp_path, TOLD))

    assert {(each.policies, each.digest) for each in rules.values()} == {((), "")}
    assert rules[Namespace("team-b")].dispatchers == ("chat", "pager", "desk")
