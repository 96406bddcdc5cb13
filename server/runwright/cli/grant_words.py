"""A grant as somebody types it where an approval is asked for: `session 5 2h`."""

from __future__ import annotations

import re

from runwright._gen.runwright.v1 import grant_pb2
from runwright.cli.grant_options import GrantOptions, ScopeOption

HOW = "run, session, agent_and_principal or namespace; then, if you like, any, a number of uses, and a time such as 2h"
_TIME = re.compile(r"[0-9]+[smhd]\Z")


def parse_grant(typed: str, offer: grant_pb2.GrantOffer) -> grant_pb2.GrantRequest | str:
    """The grant that is asked for; what is not typed is as is offered. A text says what was not understood."""
    scope, has_any, uses, time = ScopeOption.RUN, False, 0, ""
    for word in typed.lower().split():
        if word in ScopeOption.__members__.values():
            scope = ScopeOption(word)
        elif word == "any":
            has_any = True
        elif word.isdecimal() and 0 < int(word) < 2**32:
            uses = int(word)
        elif _TIME.match(word):
            time = word
        else:
            return f"{word!r} is none of: {HOW}"
    return GrantOptions(scope, "", has_any, uses, time, tainted=False).request(offer)
