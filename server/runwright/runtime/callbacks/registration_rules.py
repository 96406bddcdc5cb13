"""Which registrations may stand: whose key made them, and whose the executor's name is."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from runwright.core.callbacks import Callback
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.executor_names import ExecutorNames
from runwright.core.principal import Principal, Role
from runwright.ports.access import Authenticator


class RegistrationRules(Struct, frozen=True):
    """The operator's rules. Without an `authenticator` there are no keys, and nothing made with one may stand."""

    names: ExecutorNames = ExecutorNames()
    authenticator: Authenticator | None = None

    def has_key(self, callback: Callback) -> bool:
        """True while the key that a registration was made with is valid and has the role."""
        if self.authenticator is None:
            return not callback.owner_key
        maker = Principal(callback.owner, callback.namespace, frozenset(), callback.owner_key)
        return self.authenticator.still_has(maker, Role.EXECUTOR)

    def owns_name(self, callback: Callback, live: Iterable[Callback]) -> bool:
        """True when its owner may have its executor's name beside what is registered now."""
        named = self.names.principals(callback.namespace, callback.executor)
        if named:
            return callback.owner in named
        name = (callback.namespace, callback.executor)
        return all(one.owner == callback.owner for one in live if (one.namespace, one.executor) == name)

    def require(self, callback: Callback, live: Iterable[Callback]) -> None:
        """Raises UNAUTHENTICATED or CALLBACK_TAKEN for what may not stand beside what is registered now."""
        if not self.has_key(callback):
            expected = "a credential that is still valid"
            message = "The credential of this call was revoked or has expired."
            raise AgentError(ErrorReason.UNAUTHENTICATED, message, metadata={"expected": expected})
        if not self.owns_name(callback, live):
            metadata = {"callback_id": callback.callback_id, "executor": callback.executor}
            message = f"The executor name {callback.executor} belongs to another principal."
            raise AgentError(ErrorReason.CALLBACK_TAKEN, message, metadata=metadata)
