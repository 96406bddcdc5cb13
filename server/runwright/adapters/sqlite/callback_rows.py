"""A registration as a row of the journal's file, and the check that says it is as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from msgspec.msgpack import Encoder

from runwright.core.callback_kinds import CallbackKind, Details, DispatcherHost, PolicyHost, ToolExecutor
from runwright.core.callbacks import Callback, Tls
from runwright.core.ids import Namespace

_TAG = "runwright-callback-v1"
_CHECKED = Encoder()
# `executor` is the name and `tools` what the kind alone says: both are older than kinds.
COLUMNS = (
    "namespace, callback_id, owner, executor, address, tools, ca_pem, server_name, credential, lease, expires_at, "
    "owner_key, max_calls_in_flight"
)


def row_of(callback: Callback) -> tuple[Any, ...]:
    """The values of COLUMNS."""
    tls = callback.tls
    return (
        callback.namespace,
        callback.callback_id,
        callback.owner,
        callback.name,
        callback.address,
        _text_of(callback.details),
        None if tls is None else tls.ca_pem,
        "" if tls is None else tls.server_name,
        callback.credential,
        callback.lease,
        callback.expires_at,
        callback.owner_key,
        callback.max_calls_in_flight,
    )


def check_of(row: Sequence[Any]) -> bytes:
    """What says that a registration is as it was written: over all of COLUMNS."""
    return hashlib.sha256(_CHECKED.encode((_TAG, *row))).digest()


def callback_of(row: Sequence[Any]) -> Callback:
    """The registration of a row of COLUMNS. Raises ValueError for a kind that is not known."""
    (
        namespace,
        callback_id,
        owner,
        name,
        address,
        details,
        ca_pem,
        server_name,
        credential,
        lease,
        expires_at,
        owner_key,
        max_calls_in_flight,
    ) = row
    return Callback(
        namespace=Namespace(namespace),
        callback_id=callback_id,
        owner=owner,
        name=name,
        address=address,
        details=_details_of(details),
        tls=None if ca_pem is None else Tls(ca_pem, server_name),
        credential=credential,
        lease=lease,
        expires_at=expires_at,
        owner_key=owner_key,
        max_calls_in_flight=max_calls_in_flight,
    )


def _text_of(details: Details) -> str:
    """As JSON: an object with the number of the kind, as `kind`.

    Of a tool executor that says no digests it is the list of its tools: so older servers wrote it, and read it.
    """
    match details:
        case ToolExecutor(digests=()):
            return json.dumps(details.tools)
        case ToolExecutor():
            said = {"kind": details.kind.value, "tools": details.tools, "digests": dict(details.digests)}
            return json.dumps(said)
        case PolicyHost() | DispatcherHost():
            return json.dumps({"kind": details.kind.value})


def _details_of(text: str) -> Details:
    found = json.loads(text)
    if isinstance(found, list):
        return ToolExecutor(tuple(found))
    if found.get("kind") == CallbackKind.POLICY.value:
        return PolicyHost()
    if found.get("kind") == CallbackKind.APPROVAL_DISPATCHER.value:
        return DispatcherHost()
    if found.get("kind") == CallbackKind.TOOL_EXECUTOR.value:
        return ToolExecutor(tuple(found["tools"]), tuple(sorted(found["digests"].items())))
    raise ValueError(f"callback kind {found.get('kind')}")
