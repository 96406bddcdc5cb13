"""CallbackRegistry: who serves what and where, for as long as their leases last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.callback_kinds import CallbackKind
from runwright.core.callbacks import MAX_PER_NAMESPACE, Callback, Health, UnusedTool
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, check_caller_id
from runwright.core.name_owners import NameOwners
from runwright.core.principal import Principal, Role
from runwright.ports.audit import Audit, NoAudit
from runwright.ports.callbacks import CallbackDialer, CallbackStore
from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog
from runwright.runtime.callbacks.registration_rules import RegistrationRules
from runwright.runtime.waiting import comes_before

_A_YEAR_US = 365 * 24 * 3600 * 1_000_000
# How often keys are looked at, and how often what could not be removed from the store is tried again.
CHECK_KEYS_US = 500_000
FORGET_AGAIN_US = 10_000_000
_REGISTER = "/runwright.callback.v1.CallbackRegistryService/RegisterCallback"


Key: TypeAlias = tuple[Namespace, str]


class Registered(Struct, frozen=True):
    """A registration, how it was found to be, and the tools that it is not used for."""

    callback: Callback
    health: Health
    unused: Sequence[UnusedTool] = ()


class CallbackRegistry:
    """Keeps registrations and tells the dialer of them.

    A registration belongs to the principal that made it. It ends with its
    lease, or within a second of the key it was made with.
    """

    def __init__(
        self,
        *,
        store: CallbackStore,
        dialer: CallbackDialer,
        clock: Clock,
        log: OperatorLog,
        rules: RegistrationRules | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._store = store
        self._dialer = dialer
        self._clock = clock
        self._log = log
        self._rules = rules or RegistrationRules()
        self._audit = audit or NoAudit()
        self._known: dict[Key, Callback] = {}
        self._stale: set[Key] = set()  # ended, and still in the store
        self._lock = asyncio.Lock()  # one change at a time: store, dialer and memory say the same
        self._sooner = asyncio.Event()
        self._due = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def load(self) -> int:
        """Takes up what is stored and may still stand, before runs are recovered. Returns how many."""
        stored = await self._store.load()
        # Should two have one name, the one that was renewed first.
        now = self._clock.now()
        for callback in sorted(stored, key=lambda one: (one.expires_at - one.lease, one.callback_id)):
            # A clock that was set back makes no lease longer than it was asked for.
            self._known[_key(callback)] = replace(callback, expires_at=min(callback.expires_at, now + callback.lease))
        self._end_expired()
        self._end_keyless()
        self._end_nameless()
        await self._forget_stale()
        for callback in self._known.values():
            self._dialer.open(callback)
        self._tasks.append(asyncio.create_task(self._expire(), name="callback leases"))
        if self._rules.authenticator is not None:
            self._tasks.append(asyncio.create_task(self._check_keys(), name="callback keys"))
        return len(self._known)

    async def register(self, wanted: Callback) -> Registered:
        """Registers a callback, renews it or replaces it; durable on return.

        Raises INVALID_REQUEST, CALLBACK_ADDRESS_REFUSED, CALLBACK_TAKEN,
        CALLBACK_LIMIT, UNAUTHENTICATED and the journal's errors.
        """
        wanted.check()
        self._require_allowed(wanted)  # before a name is looked up for somebody who may not have it
        await self._dialer.examine(wanted)
        # A caller that leaves meanwhile must not leave store and memory saying different things.
        retained = await asyncio.shield(asyncio.ensure_future(self._keep(wanted)))
        return self._registered(retained)

    async def unregister(self, principal: Principal, callback_id: str) -> None:
        """Ends a registration of the principal's, or any for an admin. Raises CALLBACK_NOT_FOUND, CALLBACK_TAKEN."""
        key = (principal.namespace, check_caller_id("callback_id", callback_id))
        known = self._live(key)
        if known is None:
            message = f"There is no callback {callback_id}."
            raise AgentError(ErrorReason.CALLBACK_NOT_FOUND, message, metadata={"callback_id": callback_id})
        if known.owner != principal.name and Role.ADMIN not in principal.roles:
            raise _taken(callback_id)
        removing = self._remove(key, "callback unregistered", lambda held: held.owner == known.owner)
        await asyncio.shield(asyncio.ensure_future(removing))

    def page(
        self, namespace: Namespace, *, named: tuple[CallbackKind, str] | None = None, after: str = "", limit: int
    ) -> tuple[Sequence[Registered], bool]:
        """Registrations of a namespace with an id above `after`, by id; and whether there are more.

        `named`: only those of that kind and name.
        """
        ids = sorted(
            callback_id
            for (owner, callback_id), callback in self._known.items()
            if owner == namespace and callback_id > after and named in (None, (callback.kind, callback.name))
        )
        live = [found for callback_id in ids if (found := self._live((namespace, callback_id)))]
        return [self._registered(one) for one in live[:limit]], len(live) > limit

    async def replace_names(self, names: Mapping[CallbackKind, NameOwners]) -> None:
        """Has the operator's word on names be another. What it does not cover is ended, as by the next start."""
        self._rules = replace(self._rules, names=names)
        self._end_nameless()
        async with self._lock:
            self._end_nameless()  # what was on its way to the disk, by the word before
        await self._forget_stale()

    async def close(self) -> None:
        """Ends the watch over leases and keys, after what is under way; what is registered stays stored."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._lock:
            pass  # a change that began is written before the store closes

    def _registered(self, callback: Callback) -> Registered:
        return Registered(callback, self._dialer.health(callback), self._dialer.unused(callback))

    def _live(self, key: Key) -> Callback | None:
        known = self._known.get(key)
        return known if known and known.expires_at > self._clock.now() else None

    def _all_live(self) -> list[Callback]:
        now = self._clock.now()
        return [known for known in self._known.values() if known.expires_at > now]

    async def _keep(self, wanted: Callback) -> Callback:
        key = _key(wanted)
        async with self._lock:
            known = self._require_allowed(wanted)
            retained = replace(wanted, expires_at=self._clock.now() + wanted.lease)
            await self._store.put(retained)
            self._stale.discard(key)
            self._known[key] = retained
            self._dialer.open(retained)
        if known is None or not known.is_renewed_by(retained):
            fields = {"namespace": retained.namespace, "callback_id": retained.callback_id, "principal": retained.owner}
            self._log.info(
                "callback registered", kind=retained.kind.name, name=retained.name, address=retained.address, **fields
            )
        if retained.expires_at < self._due:
            self._sooner.set()
        return retained

    def _require_allowed(self, wanted: Callback) -> Callback | None:
        """Raises what forbids it now; returns the registration in whose place it comes, if there is one."""
        known = self._live(_key(wanted))
        if known is not None and known.owner != wanted.owner:
            raise _taken(wanted.callback_id)
        self._rules.require(wanted, self._all_live())
        if known is None:
            self._require_room(wanted.namespace)
        return known

    def _require_room(self, namespace: Namespace) -> None:
        held = sum(1 for key in self._known if key[0] == namespace and self._live(key))
        if held >= MAX_PER_NAMESPACE:
            message = f"The namespace has {held} callbacks, and may have {MAX_PER_NAMESPACE}."
            raise AgentError(ErrorReason.CALLBACK_LIMIT, message, metadata={"limit": str(MAX_PER_NAMESPACE)})

    async def _remove(self, key: Key, event: str, still: Callable[[Callback], bool]) -> None:
        """Removes it, unless what was meant is no longer `still` what is held."""
        async with self._lock:
            gone = self._known.get(key)
            if gone is None or not still(gone):
                return
            await self._store.remove(*key)
            self._known.pop(key, None)  # it may have ended by itself meanwhile
            self._dialer.drop(*key)
        self._log.info(event, namespace=gone.namespace, callback_id=gone.callback_id, principal=gone.owner)

    def _end(self, ending: Callback, event: str, audit: AuditEntry | None = None) -> None:
        """Ends what may not stand any more, at once and whatever the disk does; `_forget` is left to be done."""
        key = _key(ending)
        del self._known[key]
        self._dialer.drop(*key)
        self._stale.add(key)
        fields = {"namespace": ending.namespace, "callback_id": ending.callback_id, "principal": ending.owner}
        self._log.info(event, **fields)
        if audit is not None:
            self._audit.note(audit)

    async def _forget_stale(self) -> None:
        for key in list(self._stale):
            await self._forget(key)

    async def _forget(self, key: Key) -> None:
        """Removes from the store what has ended, its credential with it, unless it was registered anew meanwhile."""
        try:
            async with self._lock:
                if key in self._stale:
                    await self._store.remove(*key)
                    self._stale.discard(key)
        except AgentError as error:
            # Tried again, by the next start too.
            self._log.error("callback cannot be forgotten", error, callback_id=key[1])
            self._sooner.set()

    async def _expire(self) -> None:
        while True:
            now = self._clock.now()
            times = [known.expires_at for known in self._known.values()]
            times += [now + FORGET_AGAIN_US] if self._stale else []
            self._due = min(times, default=now + _A_YEAR_US)
            self._sooner.clear()
            if not await comes_before(self._sooner.wait(), self._clock, max(self._due, now + 1)):
                self._end_expired()
                await self._forget_stale()

    def _end_expired(self) -> None:
        now = self._clock.now()
        for known in [known for known in self._known.values() if known.expires_at <= now]:
            self._end(known, "callback lease over")

    async def _check_keys(self) -> None:
        while True:
            await self._key_check_due()
            try:
                if self._end_keyless():
                    await self._forget_stale()
            except Exception as error:  # noqa: BLE001 - whoever looks after keys must not stop for a fault
                self._log.error("keys of callbacks cannot be checked", error)

    async def _key_check_due(self) -> None:
        pause = asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + CHECK_KEYS_US))
        try:
            # A wall clock that is set back must not put the end of somebody's authority off.
            await asyncio.wait({pause}, timeout=CHECK_KEYS_US / 1_000_000)
        finally:
            pause.cancel()
            await asyncio.gather(pause, return_exceptions=True)

    def _end_keyless(self) -> bool:
        keyless = [known for known in self._known.values() if not self._rules.has_key(known)]
        for known in keyless:
            ended = _entry(AuditKind.CREDENTIAL_REVOKED, known, ErrorReason.UNAUTHENTICATED)
            self._end(known, "callback ended: its key is not valid any more", ended)
        return bool(keyless)

    def _end_nameless(self) -> None:
        """Of what older servers or other settings let in: a name that is somebody else's. The first one stays."""
        accepted: list[Callback] = []
        for known in list(self._known.values()):
            if self._rules.owns_name(known, accepted):
                accepted.append(known)
            else:
                ended = _entry(AuditKind.REGISTRATION_REFUSED, known, ErrorReason.CALLBACK_TAKEN)
                self._end(known, "callback ended: its name is another's", ended)


def _entry(kind: AuditKind, callback: Callback, reason: ErrorReason) -> AuditEntry:
    return AuditEntry(
        kind=kind,
        principal=callback.owner,
        namespace=callback.namespace,
        method=_REGISTER,
        reason=reason.name,
        subjects=(callback.callback_id,),
    )


def _key(callback: Callback) -> Key:
    return (callback.namespace, callback.callback_id)


def _taken(callback_id: str) -> AgentError:
    message = f"Callback {callback_id} belongs to another principal."
    return AgentError(ErrorReason.CALLBACK_TAKEN, message, metadata={"callback_id": callback_id})
