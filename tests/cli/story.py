"""Frames of a run, made up event by event: a tenth of a second apart, each with its cursor."""

from __future__ import annotations

from typing import Any

from runwright._gen.runwright.v1 import content_pb2, error_pb2, event_pb2, policy_pb2, run_pb2

RUN = "run-1"
START = 1_700_000_000  # 22:13:20 UTC


class Story:
    """The frames so far, in order."""

    def __init__(self) -> None:
        self.frames: list[event_pb2.EventFrame] = []

    def add(self, effect_id: str = "", attempt: int = 0, texts: tuple[str, ...] = (), **body: Any) -> Story:
        """Adds one event; `texts` are sent along as content, as in the full view."""
        (name,) = body
        seq = 1 + sum(not frame.sub_sequence for frame in self.frames)
        event = event_pb2.Event(
            seq=seq,
            kind=event_pb2.EventKind.Value(f"EVENT_KIND_{name.upper()}"),
            run_id=RUN,
            agent_id="analyst",
            round=int(effect_id[1:].partition(".")[0]) if effect_id else 0,
            effect_id=effect_id,
            attempt=attempt,
            **body,
        )
        event.time.FromMilliseconds(START * 1000 + 100 * (seq - 1))
        frame = event_pb2.EventFrame(cursor=f"cursor-{seq}", event=event, position=seq)
        frame.contents.extend(content_pb2.InlineContent(ref=ref(text), data=text.encode()) for text in texts)
        self.frames.append(frame)
        return self

    def begin(self, question: str = "Where is it?") -> Story:
        """The run, its turn and the first model request."""
        started = event_pb2.RunStarted(package_id="workspace", provider="demo", model="demo-1")
        self.add(run_started=started)
        self.add(turn_started=event_pb2.TurnStarted(input=[ref(question)]), texts=(question,))
        return self.ask_model("m1")

    def ask_model(self, effect_id: str) -> Story:
        """A model request begins."""
        return self.add(effect_id, 1, model_attempt_started=event_pb2.ModelAttemptStarted())

    def delta(self, effect_id: str, text: str, offset: int, attempt: int = 1, time: float = 0.05) -> Story:
        """A piece of the model's text, so many seconds after the last event; it has no place among the events."""
        last = self.frames[-1]
        event = event_pb2.Event(
            kind=event_pb2.EVENT_KIND_MODEL_STREAM_DELTA,
            run_id=RUN,
            round=int(effect_id[1:]),
            effect_id=effect_id,
            attempt=attempt,
            model_stream_delta=event_pb2.ModelStreamDelta(text=text, offset=offset),
        )
        event.time.FromMilliseconds(last.event.time.ToMilliseconds() + int(time * 1000))
        self.frames.append(event_pb2.EventFrame(cursor=last.cursor, event=event, sub_sequence=last.sub_sequence + 1))
        return self

    def model_says(self, effect_id: str, text: str = "", calls: int = 0) -> Story:
        """The model answers."""
        said = event_pb2.ModelMessageCompleted(tool_calls=calls, input_tokens=12, output_tokens=8)
        if text:
            said.text.CopyFrom(ref(text))
        return self.add(effect_id, 1, texts=(text,) if text else (), model_message_completed=said)

    def request(self, call: str, tool: str, arguments: str = "{}") -> Story:
        """The model asks for a tool, and policy allows it."""
        requested = event_pb2.ToolRequested(tool=tool, arguments=ref(arguments))
        allowed = event_pb2.PolicyDecided(
            verdict=policy_pb2.POLICY_VERDICT_ALLOW, policy_ref="builtin:read-only", code="effect.read"
        )
        return self.add(call, texts=(arguments,), tool_requested=requested).add(call, policy_decided=allowed)

    def start(self, call: str, tool: str, attempt: int = 1) -> Story:
        """An attempt of a call begins."""
        started = event_pb2.ToolStarted(tool=tool, executor="workspace", idempotency_key=f"key-{call}")
        return self.add(call, attempt, tool_started=started)

    def result(self, call: str, tool: str, text: str, attempt: int = 1) -> Story:
        """The call is performed."""
        return self.add(
            call, attempt, texts=(text,), tool_completed=event_pb2.ToolCompleted(tool=tool, result=ref(text))
        )

    def lose(self, call: str, tool: str) -> Story:
        """Nobody knows what became of the call."""
        lost = event_pb2.ToolRecoveryRequired(
            tool=tool, executor="workspace", idempotency_key=f"key-{call}", reason=error_pb2.ERROR_REASON_EXECUTOR_LOST
        )
        return self.add(call, 1, tool_recovery_required=lost)

    def complete(self, answer: str) -> Story:
        """The run ends with an answer."""
        used = run_pb2.Usage(rounds=2, tool_calls=1, input_tokens=24, output_tokens=16)
        self.add(turn_completed=event_pb2.TurnCompleted())
        ended = event_pb2.RunCompleted(stop_reason=run_pb2.STOP_REASON_END_TURN, result=ref(answer), usage=used)
        return self.add(texts=(answer,), run_completed=ended)


def ref(text: str) -> content_pb2.ContentRef:
    """A reference to a text; the digest is made up, and the same for the same text."""
    return content_pb2.ContentRef(digest=f"sha256:{text.encode().hex()}", size=len(text.encode()))


def one_tool(answer: str = "It is in a.txt.") -> Story:
    """A whole run: one call, two rounds, one answer."""
    story = Story().begin().model_says("m1", "I look.", calls=1)
    story.request("c1.1", "list_files").start("c1.1", "list_files").result("c1.1", "list_files", '{"files":[]}')
    return story.ask_model("m2").model_says("m2", answer).complete(answer)


def stuck() -> Story:
    """A run with a call of which nobody knows what became."""
    story = Story().begin().model_says("m1", calls=1).request("c1.1", "send").start("c1.1", "send")
    return story.lose("c1.1", "send")


def bookmark(cursor: str, position: int) -> event_pb2.EventFrame:
    """A frame without an event."""
    return event_pb2.EventFrame(cursor=cursor, position=position, bookmark=event_pb2.Bookmark())


def failure(reason: error_pb2.ErrorReason.ValueType = error_pb2.ERROR_REASON_BUDGET_EXHAUSTED) -> error_pb2.AgentError:
    """A failure with its words."""
    return error_pb2.AgentError(reason=reason, message="The budget is used up.", remedy="Raise it.")
