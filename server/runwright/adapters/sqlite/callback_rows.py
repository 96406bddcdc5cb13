"""A registration as a row of the journal's file, and the check that says it is as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from msgspec.msgpack import Encoder

from runwright.core.callbacks import Callback, Tls
from runwright.core.ids import Namespace

_TAG = "runwright-callback-v1"
_CHECKED = Encoder()
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
        callback.executor,
        callback.address,
        json.dumps(callback.tools),
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
    """The registration of a row of COLUMNS."""
    (
        namespace,
        callback_id,
        owner,
        executor,
        address,
        tools,
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
        executor=executor,
        address=address,
        tools=tuple(json.loads(tools)),
        tls=None if ca_pem is None else Tls(ca_pem, server_name),
        credential=credential,
        lease=lease,
        expires_at=expires_at,
        owner_key=owner_key,
        max_calls_in_flight=max_calls_in_flight,
    )
