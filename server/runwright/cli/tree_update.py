"""Events make a tree grow. Pure; what an event does to the tree, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from runwright._gen.runwright.v1 import approval_pb2, content_pb2, event_pb2, run_pb2
from runwright.cli import names, sanitize
from runwright.cli.tree import Call, RunTree, State
from runwright.core.approval_dispatches import NOTICE_EFFECT
from runwright.core.ids import CALL_EFFECT, POLICY_EFFECT, EffectId, effect_kind, question_subject
from runwright.core.images import IMAGE_TYPES
from runwright.wire.snapshots import inline_bytes

Contents = Mapping[str, content_pb2.InlineContent]

APPROVING = (approval_pb2.APPROVAL_VERDICT_APPROVE, approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS)


def update_tree(tree: RunTree, frame: event_pb2.EventFrame) -> None:
    """Takes one frame in. Events of kinds this client does not know change nothing but the cursor."""
    tree.cursor = frame.cursor or tree.cursor
    if frame.WhichOneof("item") != "event":
        return
    if tree.state is State.REQUESTED:
        tree.state = State.RUNNING  # also when the events begin in the middle of the run
    contents = contents_of(frame)
    if effect_kind(frame.event.effect_id) == CALL_EFFECT:
        _take_call(tree, frame.event, contents)
    elif effect_kind(frame.event.effect_id) == POLICY_EFFECT:
        _take_question(tree, frame.event)
    elif effect_kind(frame.event.effect_id) == NOTICE_EFFECT:
        return  # who is told of an approval changes nothing of what waits for it
    elif frame.event.effect_id:
        _take_round(tree, frame.event, contents)
    else:
        _take_run(tree, frame.event, contents)


def contents_of(frame: event_pb2.EventFrame) -> Contents:
    """The content that came with a frame, by digest."""
    return {content.ref.digest: content for content in frame.contents}


def excerpt(ref: content_pb2.ContentRef, contents: Contents) -> str:
    """Content as one line that a terminal has room for. See `whole`."""
    return sanitize.line(whole(ref, contents))


def whole(ref: content_pb2.ContentRef, contents: Contents) -> str:
    """Content as one line; its size when it was not sent along, and what it is when it is an image."""
    if ref.media_type in IMAGE_TYPES:
        return f"({ref.media_type}, {ref.size} bytes)"
    content = contents.get(ref.digest)
    if content is None or content.omitted:
        return f"({ref.size} bytes)"
    return sanitize.line(sanitize.decoded(inline_bytes(content)), most=None)


def _take_run(tree: RunTree, event: event_pb2.Event, contents: Contents) -> None:
    match event.WhichOneof("body"):
        case "run_started":
            tree.begin(event)
            tree.run_id, tree.agent = event.run_id, event.agent_id
            tree.package, tree.model = event.run_started.package_id, event.run_started.model
        case "context_assembled":
            tree.earlier = len(event.context_assembled.included)
        case "turn_started":
            tree.question = " ".join(excerpt(ref, contents) for ref in event.turn_started.input)
        case "approval_requested":
            waits = f"for approval {event.run_id}/{event.approval_requested.approval_id}"
            tree.state, tree.note = State.WAITING, waits
        case "approval_decided" | "approval_expired" | "approval_withdrawn" | "approval_superseded" if (
            tree.state is State.WAITING
        ):
            tree.state, tree.note = State.RUNNING, ""
        case "run_cancel_requested":
            tree.state, tree.note = State.CANCELLING, sanitize.line(event.run_cancel_requested.reason)
        case "run_completed":
            tree.end(event, State.DONE)
            ended = event.run_completed
            result = contents.get(ended.result.digest) or content_pb2.InlineContent(ref=ended.result, omitted=True)
            _close(tree, event, run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_COMPLETED, result=result), ended)
        case "run_failed":
            tree.end(event, State.FAILED, names.failure(event.run_failed.error))
            unknown = [_unknown(tree, effect_id) for effect_id in event.run_failed.unknown_effects]
            snapshot = run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_FAILED, open_effects=unknown)
            _close(tree, event, snapshot, event.run_failed)
        case "run_cancelled":
            tree.end(event, State.CANCELLED)
            unknown = [_unknown(tree, effect_id) for effect_id in event.run_cancelled.unknown_effects]
            snapshot = run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_CANCELLED, open_effects=unknown)
            _close(tree, event, snapshot, event.run_cancelled)


_Ended = event_pb2.RunCompleted | event_pb2.RunFailed | event_pb2.RunCancelled


def _close(tree: RunTree, event: event_pb2.Event, snapshot: run_pb2.RunSnapshot, ended: _Ended) -> None:
    snapshot.run_id = event.run_id
    snapshot.usage.CopyFrom(ended.usage)
    if not isinstance(ended, event_pb2.RunCompleted):
        snapshot.error.CopyFrom(ended.error)
    if not isinstance(ended, event_pb2.RunCancelled):
        snapshot.stop_reason = ended.stop_reason
    tree.outcome = snapshot


def _unknown(tree: RunTree, effect_id: str) -> run_pb2.OpenEffect:
    call = next((call for call in tree.calls if call.effect_id == effect_id), Call())
    return run_pb2.OpenEffect(
        effect_id=effect_id,
        tool=call.tool,
        attempt=call.attempt,
        state=run_pb2.EFFECT_STATE_UNKNOWN,
        idempotency_key=call.idempotency_key,
        executor_identity=call.identity,
    )


def _take_round(tree: RunTree, event: event_pb2.Event, contents: Contents) -> None:
    step = tree.round(event)
    match event.WhichOneof("body"):
        case "model_attempt_started":
            step.begin(event)
            tree.model = event.model_attempt_started.model or tree.model
        case "model_stream_delta":
            step.state, step.attempt = State.RUNNING, event.attempt
            step.delta_text.take(event)
        case "model_message_completed":
            said = event.model_message_completed
            step.tokens = (said.input_tokens, said.output_tokens)
            step.end(event, State.DONE, excerpt(said.text, contents) if said.HasField("text") else "")
        case "model_attempt_failed":
            step.end(event, State.FAILED, names.failure(event.model_attempt_failed.error))
        case "retry_scheduled":
            step.state, step.ended = State.WAITING, None


def _take_question(tree: RunTree, event: event_pb2.Event) -> None:
    """A question to a remote policy holds the call that it is about; one about the run has no row of its own."""
    subject = question_subject(EffectId(event.effect_id))
    call = tree.round(event).calls.get(subject) if subject is not None else None
    if call is None:
        return
    match event.WhichOneof("body"):
        case "policy_asked":
            call.state, call.note = State.WAITING, f"policy {sanitize.line(event.policy_asked.remote.policy)} is asked"
        case "policy_answered" if event.policy_answered.answer.HasField("defer_until"):
            call.note = f"deferred until {names.clock(event.policy_answered.answer.defer_until)}"
        case "policy_answered":
            call.state, call.note = State.REQUESTED, ""
        case "retry_scheduled":
            call.state, call.note = State.WAITING, names.reason(event.retry_scheduled.reason)


def _take_call(tree: RunTree, event: event_pb2.Event, contents: Contents) -> None:
    call = tree.call(event)
    match event.WhichOneof("body"):
        case "tool_requested":
            call.tool = sanitize.line(event.tool_requested.tool)
            call.arguments = excerpt(event.tool_requested.arguments, contents)
        case "subject_replaced" if event.subject_replaced.HasField("replacement"):
            call.arguments = excerpt(event.subject_replaced.replacement, contents)
        case "tool_started":
            call.begin(event)
            call.tool, call.executor = event.tool_started.tool, event.tool_started.executor
            call.idempotency_key = event.tool_started.idempotency_key
        case "retry_scheduled":
            call.state, call.note = State.WAITING, names.reason(event.retry_scheduled.reason)
        case "approval_requested":
            asked = event.approval_requested
            call.state, call.note = State.WAITING, f"for approval {event.run_id}/{asked.approval_id}"
        case "approval_decided" if event.approval_decided.verdict in APPROVING:
            call.state, call.note = State.WAITING, f"approved by {sanitize.line(event.approval_decided.decided_by)}"
        case "grant_used":
            call.state, call.note = State.WAITING, f"permitted by grant {event.grant_used.grant.grant_id}"
        case "reconcile_started":
            call.state, call.note = State.WAITING, f"asked what became of it, ask {event.reconcile_started.ask}"
        case "reconcile_ended":
            call.state, call.note = State.WAITING, names.reason(event.reconcile_ended.reason)
        case "tool_completed":
            call.tool = event.tool_completed.tool
            call.identity = event.tool_completed.executor_identity
            call.end(event, State.DONE, f"{event.tool_completed.result.size} bytes")
        case "tool_failed":
            call.tool = call.tool or sanitize.line(event.tool_failed.tool)
            call.identity = event.tool_failed.executor_identity
            call.end(event, State.FAILED, names.reason(event.tool_failed.reason))
        case "tool_denied":
            call.tool = event.tool_denied.tool
            call.end(event, State.DENIED, f"{event.tool_denied.policy_ref} {event.tool_denied.code}")
        case "tool_result_released" if event.tool_result_released.release == event_pb2.RESULT_RELEASE_WITHHELD:
            call.note = f"{call.note}, withheld: {event.tool_result_released.code}".removeprefix(", ")
        case "tool_result_released" if event.tool_result_released.release == event_pb2.RESULT_RELEASE_REPLACED:
            call.note = f"{call.note}, replaced".removeprefix(", ")
        case "tool_cancelled":
            call.tool = event.tool_cancelled.tool
            call.end(event, State.CANCELLED)
        case "tool_recovery_required":
            lost = event.tool_recovery_required
            call.tool, call.executor, call.idempotency_key = lost.tool, lost.executor, lost.idempotency_key
            call.identity = lost.executor_identity
            call.end(event, State.UNKNOWN, names.reason(lost.reason))
