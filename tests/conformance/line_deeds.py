"""What the runner does to the connections between a client and what it talks to."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tests.conformance.links import Cut
from tests.conformance.stage import Stage


async def cut(stage: Stage, args: Mapping[str, Any]) -> Any:
    """Cuts what is connected now; `how` is rst, fin or half."""
    proxy = stage.proxies[args.get("proxy", "server")]
    return {"cut": proxy.cut(args.get("how", "rst"))}


async def plan_cuts(stage: Stage, args: Mapping[str, Any]) -> None:
    """Cuts the connections to come: `cuts` one by one, or `count` of them after `bytes` drawn by `seed`."""
    cuts = [Cut(**one) for one in args.get("cuts", ())]
    if "seed" in args:
        draw = random.Random(args["seed"])
        low, high = args["bytes"]
        hows = ("rst", "fin", "half")
        cuts += [Cut(how=draw.choice(hows), after_bytes=draw.randint(low, high)) for _ in range(args["count"])]
    stage.proxy.plan(*cuts)


async def proxy_counts(stage: Stage, _: Mapping[str, Any]) -> Any:
    """How many connections there were through the proxy so far, and how many were cut."""
    return {"connections": stage.proxy.connections, "cuts": stage.proxy.cuts}


async def cuts_since(stage: Stage, args: Mapping[str, Any]) -> Any:
    """How many connections were cut since there had been so many cuts."""
    return {"cuts": stage.proxy.cuts - args["cuts"]}


async def open_proxy(stage: Stage, args: Mapping[str, Any]) -> Any:
    """A further proxy, in front of what a program serves."""
    return {"address": await stage.open_proxy(args["name"], args["to"])}


async def swallow(stage: Stage, args: Mapping[str, Any]) -> Any:
    """What is connected now stays so, and nothing passes on it any more."""
    return {"swallowed": stage.proxies[args.get("proxy", "server")].swallow()}


async def resume(stage: Stage, _: Mapping[str, Any]) -> None:
    """Lets flow what a cut of the kind `pause` has stopped."""
    stage.proxy.resume()
