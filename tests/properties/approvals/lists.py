"""What lists show, held to what was read: to whoever may see it everything that is there, and nothing else."""

from __future__ import annotations

from typing import Any

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.transport.methods import APPROVALS

from tests.properties.approvals.world import World


async def look(world: World) -> None:
    """Somebody lists what is pending, and the grants that answer."""
    await world.loop.idle()
    if not world.had_faults:
        await _look_at_approvals(world)
        await _look_at_grants(world)


async def _look_at_approvals(world: World) -> None:
    people, who = world.scene.people, world.one_of("obi", "ann", "hal", "cal", "root")
    found = await _pages(world, who, "ListApprovals", pb.ListApprovalsRequest(page_size=2))
    if found is None:
        assert who in people.revoked or not people.has(who, "approver", "observer"), f"{who} is shown nothing"
        return
    expected = set()
    for name, (_, asked) in world.reading.pending().items():
        if not people.keys or asked.is_seen_by(people, who):
            expected.add(name)
    shown = {each.approval_id for page in found for each in page.approvals}
    assert shown == expected, f"{who} is shown {shown}, not {expected}"


async def _look_at_grants(world: World) -> None:
    found = await _pages(world, world.one_of("obi"), "ListGrants", pb.ListGrantsRequest(page_size=2))
    assert found is not None
    shown = {each.grant.grant_id: each.uses_left for page in found for each in page.grants}
    now, given = world.server.clock.now(), world.reading.grants.given
    expected = {name: each.grant.uses - each.used for name, each in given.items() if each.is_open(now)}
    assert shown == expected, f"grants {shown} are shown as open, not {expected}"


async def _pages(world: World, who: str, method: str, request: Any) -> list[Any] | None:
    """All pages; None for somebody who may not."""
    found = []
    while True:
        answer = world.ask(who, APPROVALS, method, request)
        await world.loop.idle()
        if answer.response is None:
            return None
        found.append(answer.response)
        request.page_token = answer.response.next_page_token
        if not request.page_token:
            return found
