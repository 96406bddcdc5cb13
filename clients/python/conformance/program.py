"""The conformance program of the Python client: JSON lines in, JSON lines out, on the public client alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import betterproto2
from runwright_client import (
    Client,
    EventFilter,
    EventFrame,
    EventView,
    InputPart,
    OnBusy,
    RunFilter,
    RunwrightError,
    StreamScope,
    Subscription,
    Tls,
    ToolCall,
    ToolError,
    ToolServer,
    is_done,
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


class Reading:
    """A subscription that is read in the background."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.frames: list[EventFrame] = []
        self.cursor = subscription.cursor
        self._news = asyncio.Condition()
        self._error: RunwrightError | None = None
        self._is_over = False
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for frame in self.subscription:
                async with self._news:
                    self.frames.append(frame)
                    self._news.notify_all()
        except RunwrightError as error:
            self._error = error
        finally:
            self._is_over = True
            async with self._news:
                self._news.notify_all()

    async def read(self, args: Args) -> Args:
        """Takes frames: so many, or up to one of a kind, or to the end."""
        taken: list[EventFrame] = []
        timed_out = False
        try:
            async with asyncio.timeout(float(args.get("timeout_seconds", READ_SECONDS))), self._news:
                while not self._has_enough(taken, args):
                    if self.frames:
                        taken.append(self.frames.pop(0))
                        self.cursor = taken[-1].cursor
                    elif self._is_over:
                        break
                    else:
                        await self._news.wait()
        except TimeoutError:
            timed_out = True
        ended = self._is_over and not self.frames
        if ended and self._error is not None and not taken:
            raise self._error
        return {"frames": [shown(frame) for frame in taken], "ended": ended, "timed_out": timed_out}

    @staticmethod
    def _has_enough(taken: list[EventFrame], args: Args) -> bool:
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
            self.server.add(name, self._handler(behaviour))

    def release(self) -> None:
        """Lets the calls that wait, and all later ones, go on."""
        self._released.set()

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
            if behaviour.get("echo"):
                more = {"run_id": call.run_id, "turn_id": call.turn_id, "round": call.round}
                return {"arguments": arguments, "context": {**context, **more}}
            return behaviour.get("returns")

        return perform


class Program:
    """The operations, by their names."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._readings: dict[str, Reading] = {}
        self._tools: dict[str, Tools] = {}

    @property
    def client(self) -> Client:
        """The connected client."""
        assert self._client is not None, "connect first"
        return self._client

    async def connect(self, args: Args) -> Args:
        """Makes the client that all other operations use."""
        await self.close({})
        tls = Tls(**args["tls"]) if args.get("tls") else None
        self._client = Client.connect(args["address"], key=args.get("key", ""), tls=tls)
        return {}

    async def close(self, _: Args) -> Args:
        """Ends the client."""
        for name in list(self._readings):
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
            options["package"] = next(iter(options["package"].values()))
        if "budget" in args:
            options["budget"] = RunBudget.from_dict(args["budget"])
        if "on_busy" in args:
            options["on_busy"] = OnBusy[args["on_busy"].removeprefix("ON_BUSY_")]
        given = args["input"]
        parts = [given] if isinstance(given, str) else [InputPart.from_dict(part) for part in given]
        started = await self.client.start(parts, **options)
        return {"created": started.created, "run": shown(started.run)}

    async def snapshot(self, args: Args) -> Args:
        """A run as it stands."""
        return {"run": shown(await self.client.snapshot(args["run_id"]))}

    async def cancel(self, args: Args) -> Args:
        """Ends a run."""
        done = await self.client.cancel(args["run_id"], args.get("reason", ""), args.get("grace_seconds"))
        return {"run": shown(done.run), "barrier_seq": done.barrier_seq}

    async def wait(self, args: Args) -> Args:
        """Waits for a run's end."""
        run = await self.client.wait(args["run_id"], args.get("timeout_seconds"))
        return {"run": shown(run), "done": is_done(run)}

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
        self._readings[args["name"]] = Reading(
            self.client.subscribe(
                StreamScope.from_dict(args["scope"]),
                after=args.get("after", ""),
                live_only=bool(args.get("live_only")),
                filter=EventFilter.from_dict(args["filter"]) if "filter" in args else None,
                view=view_of(args),
                deltas=bool(args.get("deltas") or args.get("include_deltas")),
            )
        )
        return {}

    async def read(self, args: Args) -> Args:
        """Takes frames from a subscription."""
        return await self._readings[args["name"]].read(args)

    async def cursor(self, args: Args) -> Args:
        """The cursor of the last frame that was taken."""
        reading = self._readings[args["name"]]
        return {"cursor": reading.cursor, "reconnects": reading.subscription.reconnects}

    async def unsubscribe(self, args: Args) -> Args:
        """Leaves a subscription."""
        reading = self._readings.pop(args["name"])
        await reading.subscription.aclose()
        await asyncio.wait({reading.task})
        return {}

    async def serve_tools(self, args: Args) -> Args:
        """Serves tools, and registers them where the case says so."""
        tools = self._tools[args["name"]] = Tools(args["tools"])
        address = await tools.server.start(args.get("listen", "127.0.0.1:0"))
        if register := args.get("register"):
            await tools.server.register(
                self.client,
                register["executor"],
                callback_id=register.get("callback_id", ""),
                lease=float(register.get("lease_seconds", 60)),
            )
        return {"address": address}

    async def calls(self, args: Args) -> list[Args]:
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

    OPS = (
        "connect close start snapshot cancel wait list list_events server_info subscribe read cursor unsubscribe"
        " serve_tools calls release stop_tools"
    ).split()

    async def answer(self, request: Args) -> Args:
        """The answer to one request."""
        try:
            if request["op"] not in self.OPS:
                raise LookupError(f"no operation {request['op']}")
            return {"id": request["id"], "ok": await getattr(self, request["op"])(request.get("args") or {})}
        except RunwrightError as error:
            told = {name: getattr(error, name) for name in ("reason", "code", "metadata", "retryable", "message")}
            return {"id": request["id"], "error": {**told, "has_remedy": bool(error.remedy)}}
        except Exception as error:  # noqa: BLE001  # the runner is told of everything
            return {"id": request.get("id"), "error": {"reason": "PROGRAM", "message": repr(error)}}


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
