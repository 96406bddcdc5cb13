"""Events as plain lines, one each: for pipes, logs, screen readers and `runwright events`. Pure."""

from __future__ import annotations

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright.cli import names, policy_lines, sanitize
from runwright.cli.approval_text import approval_event
from runwright.cli.dispatch_text import dispatch_event
from runwright.cli.grant_text import grant_event
from runwright.cli.tree import RunTree, Step
from runwright.cli.tree_update import Contents, contents_of, whole
from runwright.core.approval_dispatches import NOTICE_EFFECT
from runwright.core.ids import CALL_EFFECT, POLICY_EFFECT, effect_kind


def event_line(frame: event_pb2.EventFrame, tree: RunTree, width: int | None = None) -> str:
    """One event in one line, cut to a terminal's width; without a width all of it is said.

    `tree` has already taken the frame in; it knows when things began.
    """
    event, contents = frame.event, contents_of(frame)
    if effect_kind(event.effect_id) == CALL_EFFECT:
        call = tree.call(event)
        text = f"{event.effect_id} {call.tool} {_call(event, contents, call)}"
    elif effect_kind(event.effect_id) == POLICY_EFFECT:
        text = f"{event.effect_id} {policy_lines.question(event) or _unknown(event)}"
    elif effect_kind(event.effect_id) == NOTICE_EFFECT:
        text = f"{event.effect_id} {dispatch_event(event) or _unknown(event)}"
    elif event.effect_id:
        text = f"round {event.round}: {_model(event, contents, tree.round(event))}"
    else:
        text = _run(event, contents, tree)
    line = f"{names.time_of_day(event.time)} {f'#{event.seq}':<4} {sanitize.line(text, most=None)}"
    return line if width is None else sanitize.fit(line, width)


def _run(event: event_pb2.Event, contents: Contents, tree: RunTree) -> str:
    match event.WhichOneof("body"):
        case "run_started":
            started = event.run_started
            return f"run started: package {started.package_id}, model {started.model} ({started.provider})"
        case "context_assembled":
            seen, omitted = event.context_assembled.included, event.context_assembled.omitted_count
            left_out = f", {names.counted(omitted, 'run')} left out" if omitted else ""
            return f"context: {names.counted(len(seen), 'earlier turn')}{left_out}"
        case "turn_started":
            return "turn started: " + " ".join(whole(ref, contents) for ref in event.turn_started.input)
        case "policy_decided":
            return f"{policy_lines.stage(event.policy_decided.stage)} {policy_lines.decided(event.policy_decided)}"
        case "subject_replaced":
            return policy_lines.replaced(event.subject_replaced, contents)
        case "turn_completed":
            return "turn completed"
        case "turn_failed":
            return f"turn failed: {names.failure(event.turn_failed.error)}"
        case "run_cancel_requested":
            by = event.run_cancel_requested.requested_by
            # Nobody asked for it: what ends a run early goes the way of a cancel, with a reason of its own.
            return f"{f'cancel requested by {by}' if by else 'the run is being ended'}{_because(tree.note)}"
        case "run_completed":
            return f"run completed{_in(tree, event)}: {names.usage(event.run_completed.usage)}"
        case "run_failed":
            return f"run failed{_in(tree, event)}: {names.stop_reason(event.run_failed.stop_reason)}"
        case "run_cancelled":
            return f"run cancelled{_in(tree, event)}"
        case _:
            return approval_event(event) or _unknown(event)


def _model(event: event_pb2.Event, contents: Contents, step: Step) -> str:
    match event.WhichOneof("body"):
        case "model_attempt_started":
            requested = event.model_attempt_started
            over = f", model {requested.model} ({requested.provider})" if requested.route else ""
            return f"model asked, attempt {event.attempt}{over}"
        case "model_message_completed":
            said = event.model_message_completed
            asks = f"asks for {names.counted(said.tool_calls, 'tool call')}" if said.tool_calls else "answers"
            text = whole(said.text, contents) if said.HasField("text") else ""
            used = f"{said.input_tokens}+{said.output_tokens} tokens"
            return f"model {asks}{_in(step, event)}, {used}{_because(text)}"
        case "model_attempt_failed":
            return f"model failed{_in(step, event)}: {names.failure(event.model_attempt_failed.error)}"
        case "retry_scheduled":
            wait = names.seconds(event.retry_scheduled.not_before) - names.seconds(event.time)
            return f"model is asked again in {names.elapsed(wait)}: {names.reason(event.retry_scheduled.reason)}"
        case _:
            return _unknown(event)


def _call(event: event_pb2.Event, contents: Contents, step: Step) -> str:
    match event.WhichOneof("body"):
        case "tool_requested":
            return f"requested {whole(event.tool_requested.arguments, contents)}"
        case "policy_decided":
            return policy_lines.decided(event.policy_decided)
        case "subject_replaced":
            return policy_lines.replaced(event.subject_replaced, contents)
        case "tool_started":
            began, approved = event.tool_started, ""
            if began.approval_id or began.grant_id:
                by = began.approval_id or f"grant {began.grant_id}"
                approved = f", approved by {began.approved_by} ({by})"
            return f"started, attempt {event.attempt}, executor {began.executor}{approved}"
        case "retry_scheduled":
            planned = event.retry_scheduled
            return f"waits: {names.reason(planned.reason)}{_by(planned.executor_identity)}"
        case "tool_completed":
            return f"done{_in(step, event)}{_because(whole(event.tool_completed.result, contents))}"
        case "tool_failed":
            failed = event.tool_failed
            text = whole(failed.message, contents) if failed.HasField("message") else ""
            by = _by(failed.executor_identity)
            message = f"failed{_in(step, event)}: {names.reason(failed.reason)}{_because(text)}{by}"
            return f"{message}. {names.remedy(failed.reason)}".rstrip(". ") + "."
        case "tool_denied":
            return f"denied; the model is told ({event.tool_denied.code})"
        case "tool_result_released":
            return _released(event.tool_result_released)
        case "tool_cancelled":
            return "cancelled"
        case "grant_issued" | "grant_used" | "grant_superseded":
            return grant_event(event)
        case "effect_resolved":
            said = event.effect_resolved
            return f"resolved as {names.resolution(said.resolution)} by {said.resolved_by}{_because(said.reason)}"
        case "reconcile_started":
            asked = event.reconcile_started
            return f"executor {asked.executor} is asked what became of attempt {event.attempt}, ask {asked.ask}"
        case "reconcile_ended":
            return _reconciled(event)
        case "tool_recovery_required":
            lost = event.tool_recovery_required
            return f"UNKNOWN outcome, not repeated: {names.reason(lost.reason)}{_by(lost.executor_identity)}"
        case _:
            return approval_event(event) or _unknown(event)


def _reconciled(event: event_pb2.Event) -> str:
    ended = event.reconcile_ended
    if not ended.ask:
        lost = f"attempt {event.attempt} is lost: {names.reason(ended.reason)}{_by(ended.executor_identity)}"
        return f"{lost}; its executor is asked what became of it, until {names.clock(ended.give_up_at)}"
    again = ""
    if ended.HasField("next_ask_at"):
        wait = names.seconds(ended.next_ask_at) - names.seconds(event.time)
        again = f"; asked again in {names.elapsed(wait)}"
    return f"ask {ended.ask}: {names.reconcile_answer(ended.answer)}{_by(ended.executor_identity)}{again}"


def _released(said: event_pb2.ToolResultReleased) -> str:
    if said.release == event_pb2.RESULT_RELEASE_RELEASED:
        return "released to the model"
    if said.release == event_pb2.RESULT_RELEASE_REPLACED:
        return f"the model sees {said.replacement.size} other bytes in its place"
    return f"withheld from the model, which is told so, by {said.policy_ref} ({said.code}){_because(said.message)}"


def _unknown(event: event_pb2.Event) -> str:
    return f"event of kind {names.event_kind(event.kind)}, unknown to this client"


def _in(step: Step, event: event_pb2.Event) -> str:
    took = step.elapsed(names.seconds(event.time))
    return f" in {names.elapsed(took)}" if took is not None else ""


def _by(who: run_pb2.ExecutorIdentity) -> str:
    named = names.executor_identity(who)
    return f" ({named})" if named else ""


def _because(text: str) -> str:
    return f": {text}" if text else ""
