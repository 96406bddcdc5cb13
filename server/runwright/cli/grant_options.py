"""The options of `approvals approve` and `edit` for a grant to give with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from msgspec import Struct

from runwright._gen.runwright.v1 import grant_pb2


class ScopeOption(StrEnum):
    """For which runs a grant answers."""

    RUN = "run"
    SESSION = "session"
    AGENT_AND_PRINCIPAL = "agent_and_principal"
    NAMESPACE = "namespace"


GrantOption = Annotated[
    ScopeOption | None, typer.Option("--grant", help="Permit such calls from now on, too: for these runs.")
]
GrantWhereOption = Annotated[
    str, typer.Option("--grant-where", metavar="CEL", help="Calls whose `args` fulfil this. [default: the same ones]")
]
GrantAnyOption = Annotated[bool, typer.Option("--grant-any", help="Calls with any arguments.")]
GrantUsesOption = Annotated[
    int,
    typer.Option(
        "--grant-uses", min=0, metavar="COUNT", help="So many. [default: as many as are offered]", show_default=False
    ),
]
GrantForOption = Annotated[
    str, typer.Option("--grant-for", metavar="TIME", help="So long, as in 2h. [default: as long as is offered]")
]
GrantTaintedOption = Annotated[bool, typer.Option("--grant-tainted", help="Tainted calls, too.")]


class GrantOptions(Struct, frozen=True):
    """What was typed."""

    scope: ScopeOption | None
    where: str
    any_arguments: bool
    uses: int
    time: str
    tainted: bool

    def check(self) -> None:
        """Raises BadParameter for what does not fit together."""
        said = self.where or self.any_arguments or self.uses or self.time or self.tainted
        if self.scope is None and said:
            raise typer.BadParameter("say for which runs, as in --grant run", param_hint="--grant")
        if self.where and self.any_arguments:
            raise typer.BadParameter("either --grant-where or --grant-any", param_hint="--grant-any")

    def request(self, offer: grant_pb2.GrantOffer) -> grant_pb2.GrantRequest:
        """The grant that is asked for; what was not typed is as is offered."""
        assert self.scope is not None, "asked for where there is one"
        matcher = grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS
        if self.where:
            matcher = grant_pb2.GRANT_MATCHER_CONSTRAINTS
        elif self.any_arguments:
            matcher = grant_pb2.GRANT_MATCHER_ANY
        return grant_pb2.GrantRequest(
            scope=grant_pb2.GrantScope.Value(f"GRANT_SCOPE_{self.scope.name}"),
            matcher=matcher,
            condition=self.where,
            uses=self.uses or offer.max_uses or 1,
            valid_for=self.time or offer.max_time or "1h",
            tainted=self.tainted,
        )
