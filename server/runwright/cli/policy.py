"""`runwright policy simulate`: what rules would say, without anything being done."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_files import examine_package
from runwright.cli import sanitize
from runwright.cli.client import Client
from runwright.cli.errors import ExitCode, Problem, tell
from runwright.cli.output import Format, FormatOption
from runwright.cli.policy_walk import Walk, Walked, read_call
from runwright.core.errors import AgentError
from runwright.core.ids import DEFAULT_NAMESPACE, LOCAL_PRINCIPAL
from runwright.core.near import did_you_mean
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyOpinion, Verdict
from runwright.core.principal import Role
from runwright.runtime.policies import RunFacts

app = typer.Typer(
    name="policy", no_args_is_help=True, rich_markup_mode=None, help="See what policies would say, without effect."
)


@app.callback()
def policy() -> None:
    """See what policies would say, without effect."""


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Package file (YAML or JSON).")],
    call: Annotated[
        list[str] | None, typer.Option(metavar="TOOL={...}", help="A call to decide on; may be given more than once.")
    ] = None,
    run_id: Annotated[str, typer.Option("--run", metavar="RUN", help="A past run, walked again.")] = "",
    policies: Annotated[Path | None, typer.Option(help="The operator's policies, too.")] = None,
    principal: Annotated[
        str,
        typer.Option(metavar="[NAMESPACE/]NAME[:ROLE,...]", help="Who would ask for the calls, and whose rules hold."),
    ] = LOCAL_PRINCIPAL,
    tainted: Annotated[bool, typer.Option(help="As if the model had seen what an untrusted tool said.")] = False,
    result: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the calls would come to: text or JSON, for post_tool.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Says what the policies of a package would decide, and by which rule.

    Of calls that are given, or of everything that a past run came to; of a run it
    also says what was decided then. Nothing is called or written down.

    \b
    Example:
      runwright policy simulate examples/workspace/package.yaml --call list_files={}
    """
    if result is not None and not call:
        raise typer.BadParameter("Give the calls that it would be the result of.", param_hint="--result")
    if bool(call) == bool(run_id):
        raise typer.BadParameter("Give either calls or a run.", param_hint="--call, --run")
    try:
        namespace, name, roles = _principal(principal)
        with Walk(_valid(file), policies, namespace or DEFAULT_NAMESPACE) as walk:
            if run_id:
                _print(walk.run(Client.of(context).export(run_id)), output)
                return
            facts = RunFacts({}, "", "", name, roles)
            calls = [_call(text) for text in call or ()]
            for each in calls:
                _print(walk.call(facts, *each, tainted=tainted, result=result), output)
    except AgentError as error:
        raise Problem.refused(error) from None


def _principal(text: str) -> tuple[str, str, tuple[str, ...]]:
    """Namespace, name and roles; a role that there is not would make every rule about roles say something else."""
    who, _, listed = text.partition(":")
    namespace, _, name = who.rpartition("/")
    roles, known = tuple(filter(None, listed.split(","))), [role.value for role in Role]
    for role in roles:
        if role not in known:
            message = f"{sanitize.line(role)} is no role. {did_you_mean(role, known)}There are: {', '.join(known)}."
            raise typer.BadParameter(message, param_hint="--principal")
    return namespace, name, roles


def _call(text: str) -> tuple[str, JsonValue]:
    try:
        return read_call(text)
    except ValueError:
        message = f'{sanitize.line(text)} is no call. Write it as in read_file=\'{{"path": "a.txt"}}\'.'
        raise typer.BadParameter(message, param_hint="--call") from None


def _valid(file: Path) -> RuntimePackage:
    examined = examine_package(file, JsonSchemaChecker())
    for error in examined.found:
        tell(Problem.refused(error))
    if examined.package is None or examined.found:
        raise typer.Exit(ExitCode.USAGE)
    return examined.package


def _print(walked: Iterable[Walked], output: Format) -> None:
    for each in walked:
        if each.decision is None and not each.note and each.before is None:
            continue  # no policy is heard at that stage, nor was one then
        print(_as_json(each) if output is Format.JSON else sanitize.line(_as_line(each), most=None))


def _as_line(walked: Walked) -> str:
    subject = f"{walked.stage.name.lower()} {walked.subject}".rstrip()
    said = walked.note or (_opinion(walked.decision) if walked.decision else "no policy is heard")
    shadow = "".join(f"; in shadow mode {_opinion(each)}" for each in walked.shadow)
    before = ""
    if walked.before is not None:
        was = walked.before
        before = f"; then {_word(was.decision.verdict)} by {was.rule or was.policy_ref} ({was.decision.code})"
    return f"{subject}: {said}{shadow}{before}"


def _opinion(opinion: PolicyOpinion) -> str:
    return f"{_word(opinion.verdict)} by {opinion.rule or opinion.policy_ref} ({opinion.code})"


def _word(verdict: Verdict) -> str:
    return verdict.name.lower()


def _as_json(walked: Walked) -> str:
    opinions = [opinion for opinion in (walked.decision, *walked.shadow) if opinion is not None]
    said = [
        {
            "verdict": opinion.verdict.name,
            "policy": opinion.policy_ref,
            "rule": opinion.rule,
            "code": opinion.code,
            "decider": opinion.decider,
        }
        for opinion in opinions
    ]
    line = {
        "stage": walked.stage.name,
        "subject": walked.subject,
        "decision": said[0] if walked.decision else None,
        "shadow": said[1:] if walked.decision else said,
        "note": walked.note,
        "before": None
        if walked.before is None
        else {"verdict": walked.before.decision.verdict.name, "rule": walked.before.rule or walked.before.policy_ref},
    }
    return json.dumps(line)
