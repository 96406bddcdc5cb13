"""Which grants may be given with an approval: proto ⇄ core."""

from __future__ import annotations

from runwright._gen.runwright.v1 import grant_pb2
from runwright.core.grant_rules import GrantsSpec
from runwright.core.grants import GrantMatcher, GrantOffer, GrantScope


def put_offer(message: grant_pb2.GrantOffer, offer: GrantOffer) -> None:
    """core → a message's own offer."""
    message.scopes.extend(grant_pb2.GrantScope.ValueType(each.value) for each in offer.scopes)
    message.matchers.extend(grant_pb2.GrantMatcher.ValueType(each.value) for each in offer.matchers)
    message.max_uses, message.max_time, message.tainted = offer.max_uses, offer.max_time, offer.tainted


def to_grants_spec(message: grant_pb2.GrantOffer) -> GrantsSpec:
    """proto → core, of a package."""
    fields = {
        "scopes": [GrantScope(each).name.lower() for each in message.scopes],
        "matchers": [GrantMatcher(each).name.lower() for each in message.matchers],
        "max_uses": message.max_uses,
        "max_time": message.max_time,
        "tainted": message.tainted,
    }
    return GrantsSpec.model_validate(fields)
