"""Which registrations may stand: whose key made them, and whose the name is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.callbacks import Callback
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.name_owners import NameOwners
from runwright.core.principal import Principal
from runwright.ports.access import Authenticator


class RegistrationRules(Struct, frozen=True):
    """The operator's rules. Without an `authenticator` there are no keys, and nothing made with one may stand.

    Of the names of a kind that is not in `names` the operator says nothing.
    """

    names: Mapping[CallbackKind, NameOwners] = field(default_factory=dict)
    authenticator: Authenticator | None = None

    def has_key(self, callback: Callback) -> bool:
        """True while the key that a registration was made with is valid and has the role of its kind."""
        if self.authenticator is None:
            return not callback.owner_key
        maker = Principal(callback.owner, callback.namespace, frozenset(), callback.owner_key)
        return self.authenticator.still_has(maker, KINDS[callback.kind].role)

    def _has_any_key(self, callback: Callback) -> bool:
        """True when the key is valid, and has a role that registers something else."""
        if self.authenticator is None:
            return False
        maker = Principal(callback.owner, callback.namespace, frozenset(), callback.owner_key)
        return any(self.authenticator.still_has(maker, row.role) for row in KINDS.values())

    def owns_name(self, callback: Callback, live: Iterable[Callback]) -> bool:
        """True when its owner may have its name beside what is registered now. Each kind has names of its own."""
        named = self._named(callback)
        if named:
            return callback.owner in named
        name = (callback.namespace, callback.kind, callback.name)
        return all(one.owner == callback.owner for one in live if (one.namespace, one.kind, one.name) == name)

    def _named(self, callback: Callback) -> Sequence[str]:
        """The principals that the operator names for its name; empty where the operator says nothing."""
        owners = self.names.get(callback.kind)
        return owners.principals(callback.namespace, callback.name) if owners else ()

    def require(self, callback: Callback, live: Iterable[Callback]) -> None:
        """Raises UNAUTHENTICATED or CALLBACK_TAKEN for what may not stand beside what is registered now."""
        if not self.has_key(callback):
            if self._has_any_key(callback):
                row = KINDS[callback.kind]
                message = f"Registering as {row.word} takes a key with the role {row.role.value}."
                raise AgentError(ErrorReason.ROLE_MISSING, message, metadata={"role": row.role.value})
            expected = "a credential that is still valid"
            message = "The credential of this call was revoked or has expired."
            raise AgentError(ErrorReason.UNAUTHENTICATED, message, metadata={"expected": expected})
        if not self.owns_name(callback, live):
            raise _name_taken(callback, is_named=bool(self._named(callback)))


def _name_taken(callback: Callback, *, is_named: bool) -> AgentError:
    """The name is another's: by the operator's word, or for as long as somebody else holds a lease under it."""
    row = KINDS[callback.kind]
    metadata = {"callback_id": callback.callback_id, "executor": callback.name, "field": "spec.executor"}
    if is_named:
        message = f"The {row.word} name {callback.name} belongs to others, by the server's {row.owners_setting}."
        remedy = f"Register with a key of theirs, or have the operator name {callback.owner} there, too."
    else:
        message = f"The {row.word} name {callback.name} belongs to another principal, who holds a lease under it."
        remedy = (
            f"Use another name, have its owner unregister it, or have the operator say in {row.owners_setting} "
            "whose it is."
        )
    return AgentError(ErrorReason.CALLBACK_TAKEN, message, remedy=remedy, metadata=metadata)
