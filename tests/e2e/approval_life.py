"""A run in which approvals are edited, delegated, expire, and give a grant that two later calls use."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import approval_pb2, grant_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb

from tests.e2e.client import SECONDS, Caller, run_request
from tests.e2e.packages import Spec, asks, package, says, tool
from tests.e2e.test_approval_edit_kills import Killed, decide, until_listed
from tests.transport.known import Metadata

EDITED, DELEGATED, EXPIRED, GRANTED = "a1.1.1", "a1.2.1", "a1.3.1", "a1.4.1"
DISPATCHER = "chat"
# What runs, by call: as it was edited, and what expired is not there.
PERFORMED = {
    "c1.1": '{"to":"eve"}',
    "c1.2": '{"amount":7}',
    "c1.4": '{"under":"taxes"}',
    "c2.1": '{"under":"taxes"}',
    "c2.2": '{"under":"taxes"}',
}
USES = 3  # of the grant; two are used
_TOOLS = ("mail", "pay", "publish", "file")
_FILE = ("file", {"under": "taxes"})


def life() -> Spec:
    """Four calls side by side that ask, and two more that a grant answers."""
    first = asks(("mail", {"to": "ann"}), ("pay", {"amount": 7}), ("publish", {"page": 1}), _FILE)
    tools = [tool(name, "write", idempotent=True) for name in _TOOLS]  # a lost call is made again, with the same key
    spec = package("life", [first, asks(_FILE, _FILE), says("done")], *tools)
    del spec["policy"]
    rules = [{"when": f'tool.name == "{name}"', "then": "ask", "approval": name, "code": name} for name in _TOOLS]
    common = {"expires": "1h", "sets": [{"principals": ["ann"]}], "dispatchers": [DISPATCHER]}
    offer = {"scopes": ["run"], "matchers": ["exact_arguments"], "max_uses": USES, "max_time": "1h"}
    approvals = {
        "mail": common,
        "pay": {**common, "delegates": ["dan"]},
        "publish": {**common, "expires": "1s"},
        "file": {**common, "grants": offer},
    }
    return {**spec, "policies": [{"rules": rules}], "approvals": approvals}


@dataclass(frozen=True, slots=True)
class People:
    """The keys of whoever has a part in it."""

    caller: Metadata
    ann: Metadata
    dan: Metadata
    dispatcher: Metadata


async def register(call: Caller, people: People, address: str) -> None:
    """Registers the dispatcher for longer than the test goes on."""
    kind = callback_pb.CALLBACK_KIND_APPROVAL_DISPATCHER
    spec = callback_pb.CallbackSpec(callback_id="chat-1", executor=DISPATCHER, address=address, kind=kind)
    request = callback_pb.RegisterCallbackRequest(spec=spec, lease=Duration(seconds=3600))
    stub = CallbackRegistryServiceStub(call.channel)
    await stub.RegisterCallback(request, timeout=SECONDS, metadata=people.dispatcher)


async def live(killed: Killed, people: People, run_id: str) -> run_pb2.RunSnapshot:
    """Starts the run and decides on what it asks, as often as kills make it necessary, until it has ended."""
    start = runtime_pb.StartRunRequest(run=run_request(run_id))
    await killed.call(lambda call: call.stub.StartRun(start, timeout=SECONDS, metadata=people.caller))

    edited = await _listed(killed, run_id, people.ann, EDITED)
    edited.verdict, edited.arguments_json = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS, b'{"to":"eve"}'
    await decide(killed, people.ann, edited)

    handed_on = await _listed(killed, run_id, people.ann, DELEGATED)
    handed_on.verdict, handed_on.delegate_to = approval_pb2.APPROVAL_VERDICT_DELEGATE, "dan"
    await decide(killed, people.ann, handed_on)
    taken = await _listed(killed, run_id, people.dan, DELEGATED)
    taken.request_id = f"{run_id}-{DELEGATED}-dan"
    await decide(killed, people.dan, taken)

    granted = await _listed(killed, run_id, people.ann, GRANTED)
    grant = grant_pb2.GrantRequest(
        scope=grant_pb2.GRANT_SCOPE_RUN, matcher=grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS, uses=USES, valid_for="1h"
    )
    granted.grant.CopyFrom(grant)
    await decide(killed, people.ann, granted)

    wait = runtime_pb.WaitRequest(run_id=run_id, timeout=Duration(seconds=20))
    response = await killed.call(lambda call: call.stub.Wait(wait, timeout=SECONDS, metadata=people.caller))
    return response.run


async def _listed(killed: Killed, run_id: str, key: Metadata, name: str) -> pb.DecisionRequest:
    """What approves it, once it is pending for whoever has the key."""
    found = await until_listed(killed, run_id, key, name)
    approve = approval_pb2.APPROVAL_VERDICT_APPROVE
    return pb.DecisionRequest(
        approval_id=found.approval_id, digest=found.digest, verdict=approve, request_id=f"{run_id}-{name}"
    )
