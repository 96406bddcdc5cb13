"""Approvers by the keys of the server, and by what the operator says of executors' names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from runwright.core.approval_delegation import Delegate
from runwright.core.approvals import ApprovalSeparation, ApproverSet
from runwright.core.executor_names import ExecutorNames
from runwright.core.ids import Namespace
from runwright.core.principal import Principal, Role

_DECIDES, _PERFORMS = frozenset({Role.APPROVER}), frozenset({Role.EXECUTOR})


class KnownPrincipals(Protocol):
    """Where everybody is known who has a credential that holds; the keys file."""

    def principals(self) -> Iterable[Principal]:
        """Everybody, of all namespaces, as of now."""


class KeyApprovers:
    """Decisions are for those with role approver; what else a package asks for comes on top."""

    separation = ApprovalSeparation.ENFORCED

    def __init__(self, known: KnownPrincipals, names: ExecutorNames) -> None:
        self._known = known
        self._names = names

    def replace_names(self, names: ExecutorNames) -> None:
        """Has the operator's word on executors' names be another from now on."""
        self._names = names

    def is_somebody(self, namespace: Namespace, sets: Sequence[ApproverSet], *, but: str = "") -> bool:
        """See the port."""
        return any(
            who.namespace == namespace and who.has_any(_DECIDES) and _is_in(who, sets) and not _is_barred(who, but)
            for who in self._known.principals()
        )

    def principal(self, namespace: Namespace, name: str, credential: str) -> Principal | None:
        """See the port."""
        wanted = (namespace, name, credential)
        known = self._known.principals()
        return next((who for who in known if (who.namespace, who.name, who.credential) == wanted), None)

    def may_perform(self, who: Principal, executor: str) -> bool:
        """Whoever the name belongs to; of a name that belongs to nobody, whoever may register executors at all.

        With whichever of their keys: nobody is somebody else with another one.
        """
        owners = self._names.principals(who.namespace, executor)
        if who.name == self._names.configured.get(executor):
            return True
        if owners and who.name not in owners:
            return False
        return who.has_any(_PERFORMS) or any(other.has_any(_PERFORMS) for other in self._keys_of(who))

    def has_owner(self, namespace: Namespace, executor: str) -> bool:
        """See the port."""
        return bool(self._names.principals(namespace, executor))

    def as_delegate(self, namespace: Namespace, name: str, executor: str) -> Delegate:
        """See the port. One key of theirs is enough for either."""
        anybody = Principal(name, namespace, frozenset())
        # What is done as a whole nobody performs but the server.
        may_perform = bool(executor) and self.may_perform(anybody, executor)
        return Delegate(name, any(who.has_any(_DECIDES) for who in self._keys_of(anybody)), may_perform)

    def _keys_of(self, who: Principal) -> Iterable[Principal]:
        """The same principal with each of their keys, as of now."""
        wanted = (who.namespace, who.name)
        return (each for each in self._known.principals() if (each.namespace, each.name) == wanted)


def _is_in(who: Principal, sets: Sequence[ApproverSet]) -> bool:
    roles = [role.value for role in who.roles]
    return any(each.has(who.name, roles) for each in sets)


def _is_barred(who: Principal, but: str) -> bool:
    """Four eyes are people's, and not those of whoever is named."""
    return bool(but) and (who.name == but or Role.DISPATCHER in who.roles)
