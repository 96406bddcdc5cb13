"""How a call differs from the one that was approved before it, as facts for people. Pure; escaped by whoever prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import previous_approval_pb2 as pb
from runwright.cli import names

FEW = 8  # differences where somebody is asked on a screen; the arguments stand below
_SHORT = 120  # characters of a value there
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]+\Z")
_WORDS: Mapping[int, str] = {
    pb.ARGUMENT_CHANGE_KIND_ADDED: "  added",
    pb.ARGUMENT_CHANGE_KIND_REMOVED: "  removed",
    pb.ARGUMENT_CHANGE_KIND_CHANGED: "  changed",
}
_NOT_COMPARED: Mapping[int, str] = {
    pb.APPROVAL_COMPARISON_FIRST: "no such call was approved before in this {scope}",
    pb.APPROVAL_COMPARISON_NOT_VISIBLE: "one was approved before in this {scope}; you do not see it",
    pb.APPROVAL_COMPARISON_UNAVAILABLE: "what was approved before in this {scope} cannot be read, or was removed",
}


def difference(approval: approval_pb2.Approval, most: int | None = None) -> Iterator[tuple[str, str]]:
    """What differs from the last approved call, a fact each: all of it, or `most` of them with short values."""
    if not approval.HasField("previous"):
        return
    previous, scope = approval.previous, "session" if approval.session_id else "run"
    if words := _NOT_COMPARED.get(previous.comparison):
        yield "difference", words.format(scope=scope)
        return
    earlier = f"{previous.approval_id}, approved by {previous.decided_by}, {names.clock(previous.decided_at)}"
    if not previous.changes:
        yield "difference", f"none: the arguments are those of {earlier}"
    else:
        yield "difference", f"from {earlier}"
        yield from _changes(approval.approval_id, previous, most)


def _changes(approval_id: str, previous: pb.PreviousApproval, most: int | None) -> Iterator[tuple[str, str]]:
    for change in previous.changes[:most]:
        yield _WORDS.get(change.kind, "  differs"), _change_words(change, None if most is None else _SHORT)
    hidden = len(previous.changes) - len(previous.changes[:most])
    if hidden:
        more = " at least" if previous.has_more else ""
        yield "  more", f"{hidden}{more} that are not shown here; `runwright approvals show {approval_id}` has them"
    elif previous.has_more:
        yield "  more", "THERE IS MORE that differs: read the arguments"


def _change_words(change: pb.ArgumentChange, most: int | None) -> str:
    where = change.pointer + ("..." if change.pointer_cut else "")
    # Names of arguments are a model's words: none passes for a value.
    where = where if _PLAIN.match(where) else json.dumps(where, ensure_ascii=False)
    before, after = (
        _value(change.before, most, is_cut=change.before_cut),
        _value(change.after, most, is_cut=change.after_cut),
    )
    values = " -> ".join(value for value in (before, after) if value)
    alike = f" (after {names.counted(change.skipped, 'character')} that are the same)" if change.skipped else ""
    return f"{where}: {values}{alike}{' (to be looked at)' if change.highlighted else ''}"


def _value(text: str, most: int | None, *, is_cut: bool) -> str:
    return text[:most] + ("..." if is_cut or len(text[:most]) < len(text) else "")
