"""The conformance program of the Python client: JSON lines in, JSON lines out, on the public client alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import betterproto2

from runwright_client import (
    ApprovalNotification,
    ApprovalState,
    ApprovalVerdict,
    CannotSay,
    Client,
    DecisionRequest,
    Dispatched,
    DispatcherServer,
    EventFilter,
    EventFrame,
    EventView,
    GrantRequest,
    GrantState,
    InputPart,
    Keepalive,
    NotPerformed,
    OnBusy,
    Performed,
    PolicyDecision,
    PolicyQuestion,
    PolicyServer,
    Resolution,
    RunFilter,
    RunwrightError,
    StreamScope,
    Subscription,
    Tls,
    ToolCall,
    ToolError,
    ToolServer,
    allow,
    defer,
    deny,
    interrupt,
    package_fingerprint,
    replace_arguments,
    replace_text,
)
from runwright_client import Budget as RunBudget

Args = dict[str, Any]
READ_SECONDS = 20.0


def shown(message: betterproto2.Message) -> Args:
    """A message as proto JSON, with snake_case names."""
    return message.to_dict(casing=betterproto2.Casing.SNAKE)


def view_of(args: Args) -> EventView:
    """The view that is asked for, by its name with or without the prefix."""
    return EventView[str(args.get("view", "SUMMARY")).removeprefix("EVENT_VIEW_")]


async def read(subscription: Subscription, args: Args) -> Args:
    """Takes frames: so many, or up to one of a kind, or to the end."""
    taken: list[EventFrame] = []
    ended = timed_out = False
    try:
        async with asyncio.timeout(float(args.get("timeout_seconds", READ_SECONDS))):
            while not has_enough(taken, args):
                taken.append(await anext(subscription))
    except StopAsyncIteration:
        ended = True
    except TimeoutError:
        timed_out = True
    except RunwrightError:  # what came before it is handed over first; asked again, the subscription raises again
        if not taken:
            raise
    return {"frames": [shown(frame) for frame in taken], "ended": ended, "timed_out": timed_out}


def has_enough(taken: list[EventFrame], args: Args) -> bool:
    """True once what was asked for has been taken."""
    if "until_kind" in args:
        wanted = str(args["until_kind"]).removeprefix("EVENT_KIND_")
        return bool(taken) and taken[-1].event is not None and taken[-1].event.kind.name == wanted
    return not args.get("until_end") and len(taken) >= int(args.get("count", 1))


class Tools:
    """A tool server whose tools behave as the case says."""

    def __init__(self, behaviours: dict[str, Args]) -> None:
        self.server = ToolServer()
        self.calls: list[Args] = []
        self._released = asyncio.Event()
        self.registration: Client | None = None
        for name, behaviour in behaviours.items():
            is_odd = behaviour.get("raises") == "odd"
            handler = self._stopping if is_odd else self._handler(behaviour)
            reconcile = self._reconciler(behaviour) if "reconcile" in behaviour else None
            self.server.add(name, handler, reconcile=reconcile, **behaviour.get("declared", {}))

    def release(self) -> None:
        """Lets the calls that wait, and all later ones, go on."""
        self._released.set()

    def _stopping(self, arguments: Any, call: ToolCall) -> Any:
        """Raises what a future does not take, in a thread."""
        raise StopIteration("a secret that must not leave this process")

    def _reconciler(self, behaviour: Args) -> Callable[[Any, ToolCall], Any]:
        def look(arguments: Any, call: ToolCall) -> Any:
            context = {"tool": call.tool, "call_id": call.call_id, "attempt": call.attempt}
            noted = {**context, "idempotency_key": call.idempotency_key, "arguments": arguments}
            self.calls.append({**noted, "cancelled": False, "asked": True})
            match behaviour["reconcile"]:
                case "performed":
                    return Performed(behaviour.get("returns"))
                case "not_performed":
                    return NotPerformed("It is not in the ledger.")
                case "cannot_say":
                    return CannotSay("The ledger is away.")
                case "odd":
                    return behaviour.get("returns")
                case _:
                    raise RuntimeError("a secret that must not leave this process")

        return look

    def _handler(self, behaviour: Args) -> Callable[[Any, ToolCall], Awaitable[Any]]:
        async def perform(arguments: Any, call: ToolCall) -> Any:
            context = {
                "tool": call.tool,
                "call_id": call.call_id,
                "attempt": call.attempt,
                "idempotency_key": call.idempotency_key,
            }
            noted = {**context, "arguments": arguments, "cancelled": False}
            self.calls.append(noted)
            try:
                if behaviour.get("waits"):
                    await self._released.wait()
            except asyncio.CancelledError:
                noted["cancelled"] = True
                raise
            if "fails" in behaviour:
                raise ToolError(behaviour["fails"])
            if behaviour.get("raises"):
                raise RuntimeError("a secret that must not leave this process")
            if behaviour.get("unencodable"):
                return {"secret": object()}
            if behaviour.get("echo"):
                more = {
                    "run_id": call.run_id,
                    "turn_id": call.turn_id,
                    "round": call.round,
                    "deadline": call.deadline.isoformat() if call.deadline else "",
                    "package_fingerprint": call.package_fingerprint,
                }
                return {"arguments": arguments, "context": {**context, **more}}
            return behaviour.get("returns")

        return perform


class Program:
    """The operations, by their names."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._tools: dict[str, Tools] = {}
        self._policies: dict[str, PolicyServer] = {}
        self._dispatchers: dict[str, tuple[DispatcherServer, list[Args]]] = {}

    @property
    def client(self) -> Client:
        """The connected client."""
        assert self._client is not None, "connect first"
        return self._client

    async def connect(self, args: Args) -> Args:
        """Makes the client that all other operations use."""
        await self.close({})
        tls = Tls(**args["tls"]) if args.get("tls") else None
        pings = args.get("keepalive")
        keepalive = Keepalive(pings["interval_seconds"], pings["timeout_seconds"]) if pings else None
        self._client = Client.connect(args["address"], key=args.get("key", ""), tls=tls, keepalive=keepalive)
        return {}

    async def close(self, _: Args) -> Args:
        """Ends the client."""
        for name in list(self._subscriptions):
            await self.unsubscribe({"name": name})
        if self._client is not None:
            await self._client.close()
        self._client = None
        return {}

    async def start(self, args: Args) -> Args:
        """Starts a run."""
        names = ("run_id", "session_id", "turn_id", "agent_id", "package", "labels")
        options: Args = {name: args[name] for name in names if name in args}
        if isinstance(options.get("package"), dict):
            named: Args = options["package"]
            options["package"] = f"@{named['tag']}" if "tag" in named else next(iter(named.values()))
        if "budget" in args:
            options["budget"] = RunBudget.from_dict(args["budget"])
        if "on_busy" in args:
            options["on_busy"] = OnBusy[args["on_busy"].removeprefix("ON_BUSY_")]
        value = args["input"]
        parts = [value] if isinstance(value, str) else [InputPart.from_dict(part) for part in value]
        started = await self.client.start(parts, **options)
        return {"created": started.created, "run": shown(started.run)}

    async def snapshot(self, args: Args) -> Args:
        """A run as it stands."""
        return {"run": shown(await self.client.snapshot(args["run_id"]))}

    async def cancel(self, args: Args) -> Args:
        """Ends a run."""
        done = await self.client.cancel(args["run_id"], args.get("reason", ""), args.get("grace_seconds"))
        return {"run": shown(done.run), "barrier_seq": done.barrier_seq}

    async def resolve_effect(self, args: Args) -> Args:
        """Says what became of a call."""
        told = args.get("result")
        resolved = await self.client.resolve_effect(
            args["run_id"],
            args["effect_id"],
            args["attempt"],
            Resolution[args["resolution"].removeprefix("RESOLUTION_")],
            result=None if told is None else told.encode(),
            message=args.get("message", ""),
            reason=args.get("reason", ""),
            request_id=args.get("request_id", ""),
        )
        return {"run": shown(resolved.run), "resolution": shown(resolved.decision), "resolved": resolved.resolved}

    async def unknown_effects(self, args: Args) -> Args:
        """Lists the calls of a run whose outcome is unknown."""
        found = []
        async with contextlib.aclosing(self.client.unknown_effects()) as listed:
            async for unknown in listed:
                if unknown.run.run_id == args["run_id"]:
                    found.append(shown(unknown.effect))
        return {"effects": found}

    async def list_approvals(self, args: Args) -> Args:
        """Lists approvals, over all pages."""
        filters = ("mine", "agent_id", "tool", "risk", "run_id", "page_size")
        named = {name: args[name] for name in filters if name in args}
        if "requested_before" in args:
            named["requested_before"] = datetime.fromisoformat(args["requested_before"])
        states = [ApprovalState[name.removeprefix("APPROVAL_STATE_")] for name in args.get("states", ())]
        async with contextlib.aclosing(self.client.list_approvals(states=states, **named)) as listed:
            return {"approvals": [shown(approval) async for approval in listed]}

    async def get_approval(self, args: Args) -> Args:
        """Looks at an approval."""
        return {"approval": shown(await self.client.get_approval(args["approval_id"]))}

    async def decide_approval(self, args: Args) -> Args:
        """Decides on an approval."""
        fields = ("message", "note", "on_behalf_of", "request_id", "arguments", "delegate_to")
        words = {name: args[name] for name in fields if name in args}
        verdict = ApprovalVerdict[args["verdict"].removeprefix("APPROVAL_VERDICT_")]
        grant = GrantRequest.from_dict(args["grant"]) if "grant" in args else None
        made = await self.client.decide_approval(args["approval_id"], args["digest"], verdict, grant=grant, **words)
        return {"approval": shown(made.approval), "decided": made.decided}

    async def batch_decide(self, args: Args) -> Args:
        """Decides on several approvals."""
        decisions = [DecisionRequest.from_dict(each) for each in args["decisions"]]
        return {"results": [shown(result) for result in await self.client.batch_decide(decisions)]}

    async def list_grants(self, args: Args) -> Args:
        """All grants that are wanted, over all pages."""
        states = [GrantState[name.removeprefix("GRANT_STATE_")] for name in args.get("states", ())]
        words = {name: args[name] for name in ("tool", "agent_id", "run_id", "issuer", "page_size") if name in args}
        return {"grants": [shown(grant) async for grant in self.client.list_grants(states=states, **words)]}

    async def revoke_grant(self, args: Args) -> Args:
        """Takes a grant back."""
        made = await self.client.revoke_grant(args["grant_id"], note=args.get("note", ""))
        return {"grant": shown(made.grant), "revoked": made.revoked}

    async def watch_approvals(self, args: Args) -> Args:
        """Takes so many updates, and leaves."""
        found: list[Args] = []
        watching = self.client.watch_approvals(after=args.get("after", ""), mine=args.get("mine", False))
        async with asyncio.timeout(READ_SECONDS), contextlib.aclosing(watching) as updates:
            async for update in updates:
                found.append({"approval": shown(update.approval), "cursor": update.cursor})
                if len(found) == args["count"]:
                    break
        return {"updates": found}

    async def wait(self, args: Args) -> Args:
        """Waits for a run's end."""
        run = await self.client.wait(args["run_id"], args.get("timeout_seconds"))
        return {"run": shown(run), "done": run.done}

    async def put_package(self, args: Args) -> Args:
        """Puts a package."""
        options = {name: args[name] for name in ("tag", "expected_previous", "request_id", "sidecars") if name in args}
        return shown(await self.client.put_package(args["document"], **options))

    async def get_package(self, args: Args) -> Args:
        """A package, whole."""
        return shown(await self.client.get_package(args["package"]))

    async def list_packages(self, args: Args) -> Args:
        """Lists packages."""
        listed = self.client.list_packages(args.get("package_id", ""), page_size=int(args.get("page_size", 0)))
        return {"packages": [shown(package) async for package in listed]}

    async def tag_package(self, args: Args) -> Args:
        """Moves a tag."""
        options = {name: args[name] for name in ("expected_previous", "request_id") if name in args}
        return shown(await self.client.tag_package(args["tag"], args["fingerprint"], **options))

    async def tag_history(self, args: Args) -> Args:
        """Lists where a tag has pointed."""
        listed = self.client.tag_history(args["tag"], page_size=int(args.get("page_size", 0)))
        return {"moves": [shown(move) async for move in listed]}

    async def validate_package(self, args: Args) -> Args:
        """Everything that is wrong with a package."""
        return shown(await self.client.validate_package(args["document"], sidecars=args.get("sidecars", ())))

    async def resolve_package(self, args: Args) -> Args:
        """What a run would be."""
        budget = RunBudget.from_dict(args["budget"]) if "budget" in args else None
        found = await self.client.resolve_package(args.get("package", ""), budget=budget)
        return shown(found)

    async def package_fingerprint(self, args: Args) -> Args:
        """The fingerprint of a package, without a server."""
        return {"fingerprint": package_fingerprint(json.loads(args["document"]))}

    async def list(self, args: Args) -> Args:
        """Lists runs."""
        wanted = RunFilter.from_dict(args["filter"]) if "filter" in args else None
        runs = []
        limit = int(args.get("limit", 1_000_000))
        async with contextlib.aclosing(self.client.list(wanted, page_size=int(args.get("page_size", 0)))) as listed:
            async for run in listed:
                runs.append(shown(run))
                if len(runs) >= limit:
                    break
        return {"runs": runs}

    async def list_events(self, args: Args) -> Args:
        """Lists events."""
        frames = self.client.list_events(
            StreamScope.from_dict(args["scope"]),
            after=args.get("after", ""),
            filter=EventFilter.from_dict(args["filter"]) if "filter" in args else None,
            view=view_of(args),
            page_size=int(args.get("page_size", 0)),
        )
        return {"frames": [shown(frame) async for frame in frames]}

    async def server_info(self, _: Args) -> Args:
        """Describes the server."""
        return shown(await self.client.server_info())

    async def subscribe(self, args: Args) -> Args:
        """Opens a subscription under a name."""
        subscription = self.client.subscribe(
            StreamScope.from_dict(args["scope"]),
            after=args.get("after", ""),
            live_only=bool(args.get("live_only")),
            filter=EventFilter.from_dict(args["filter"]) if "filter" in args else None,
            view=view_of(args),
            deltas=bool(args.get("deltas") or args.get("include_deltas")),
            through_repair=bool(args.get("through_repair")),
            until_done=bool(args.get("until_done")),
        )
        self._subscriptions[args["name"]] = await subscription.__aenter__()
        return {}

    async def read(self, args: Args) -> Args:
        """Takes frames from a subscription."""
        return await read(self._subscriptions[args["name"]], args)

    async def cursor(self, args: Args) -> Args:
        """The cursor of the last frame that was taken."""
        subscription = self._subscriptions[args["name"]]
        return {"cursor": subscription.cursor, "reconnects": subscription.reconnects}

    async def unsubscribe(self, args: Args) -> Args:
        """Leaves a subscription."""
        await self._subscriptions.pop(args["name"]).aclose()
        return {}

    async def serve_tools(self, args: Args) -> Args:
        """Serves tools, and registers them where the case says so."""
        tools = Tools(args["tools"])
        address = await tools.server.start(args.get("listen", "127.0.0.1:0"))
        if register := args.get("register"):
            try:
                await tools.server.register(
                    self.client,
                    register["executor"],
                    callback_id=register.get("callback_id", ""),
                    lease=float(register.get("lease_seconds", 60)),
                    max_calls=register.get("max_calls", 0),
                    schema_digests=register.get("schema_digests", True),
                )
            except RunwrightError:
                await tools.server.stop()
                raise
        self._tools[args["name"]] = tools
        return {"address": address}

    async def calls(self, args: Args) -> Any:
        """The calls that have come."""
        return self._tools[args["name"]].calls

    async def release(self, args: Args) -> Args:
        """Lets waiting calls go on."""
        self._tools[args["name"]].release()
        return {}

    async def stop_tools(self, args: Args) -> Args:
        """Ends a tool server."""
        await self._tools.pop(args["name"]).server.stop(grace=float(args.get("grace_seconds", 0)))
        return {}

    async def serve_policy(self, args: Args) -> Args:
        """Serves a policy that answers by the step of the call, and registers it."""
        answers = args.get("answers", {})

        def decide(question: PolicyQuestion) -> PolicyDecision:
            assert question.call is not None
            says = answers.get(str(json.loads(question.call.arguments_json).get("step")), {"verdict": "allow"})
            code, message = says.get("code", ""), says.get("message", "")
            match says["verdict"]:
                case "deny":
                    return deny(code, message)
                case "interrupt":
                    return interrupt(code, message)
                case "replace":
                    return replace_arguments(says["arguments"], code)
                case "replace_text":
                    return replace_text(says["text"], code)
                case "defer" if question.effect_id.endswith(".1"):
                    return defer(float(says["seconds"]), code)
                case "fail":
                    raise RuntimeError("as the case has it")
            return allow(code)

        server = PolicyServer(decide)
        await server.start()
        await server.register(self.client, args["policy"], callback_id=args.get("callback_id", ""))
        self._policies[args["name"]] = server
        return {"address": server.address}

    async def serve_dispatcher(self, args: Args) -> Args:
        """Serves a dispatcher that notes what it is told and answers by what that is, and registers it."""
        told: list[Args] = []

        def telling(method: str) -> Callable[[ApprovalNotification], Dispatched]:
            says = args.get("says", {}).get(method, {})

            def tell(what: ApprovalNotification) -> Dispatched:
                told.append({"method": method, "told": shown(what)})
                if says.get("fails_first") and sum(each["method"] == method for each in told) == 1:
                    raise RuntimeError("as the case has it")
                verdict = (
                    ApprovalVerdict[says["verdict"].removeprefix("APPROVAL_VERDICT_")] if "verdict" in says else None
                )
                words = {name: says[name] for name in ("reference", "message", "note", "on_behalf_of") if name in says}
                return Dispatched(verdict=verdict, **words)

            return tell

        server = DispatcherServer(telling("dispatch"), update=telling("update"), withdraw=telling("withdraw"))
        await server.start()
        await server.register(self.client, args["dispatcher"], callback_id=args.get("callback_id", ""))
        self._dispatchers[args["name"]] = (server, told)
        return {"address": server.address}

    async def stop_dispatcher(self, args: Args) -> Args:
        """Ends a dispatcher."""
        await self._dispatchers.pop(args["name"])[0].stop(grace=0)
        return {}

    async def told(self, args: Args) -> Sequence[Args]:
        """What a dispatcher was told, as it came."""
        return tuple(self._dispatchers[args["name"]][1])

    async def stop_policy(self, args: Args) -> Args:
        """Ends a policy server."""
        await self._policies.pop(args["name"]).stop(grace=0)
        return {}

    async def resume(self, args: Args) -> Args:
        """Has what a policy has deferred go on."""
        asked = {name: args[name] for name in ("reason", "request_id") if name in args}
        resumed = await self.client.resume(args["run_id"], args["effect_id"], **asked)
        return {"run": shown(resumed.run), "resumed": resumed.resumed}

    async def answer(self, request: Args) -> Args:
        """The answer to one request."""
        try:
            if request["op"] not in OPS:
                raise LookupError(f"no operation {request['op']}")
            return {"id": request["id"], "ok": await getattr(self, request["op"])(request.get("args") or {})}
        except RunwrightError as error:
            message = {name: getattr(error, name) for name in ("reason", "code", "metadata", "retryable", "message")}
            message |= {"has_remedy": bool(error.remedy), "retry_after_seconds": error.retry_after}
            return {"id": request["id"], "error": message}
        except Exception as error:  # noqa: BLE001  # the runner is told of everything
            return {"id": request.get("id"), "error": {"reason": "PROGRAM", "message": repr(error)}}


OPS = {name for name in vars(Program) if not name.startswith("_")} - {"answer", "client"}


async def main() -> None:
    """Answers requests, several at once, until standard input ends."""
    program = Program()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def answered(line: bytes) -> None:
        print(json.dumps(await program.answer(json.loads(line))), flush=True)

    async with asyncio.TaskGroup() as group:
        running = set()
        while line := await lines.readline():
            task = group.create_task(answered(line))
            running.add(task)
            task.add_done_callback(running.discard)
        for task in running:
            task.cancel()
    for tools in program._tools.values():
        await tools.server.stop(grace=0)
    await program.close({})


if __name__ == "__main__":
    asyncio.run(main())
