"""CallbackRegistry: who serves what and where, for as long as their leases last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.callbacks import MAX_PER_NAMESPACE, Callback, Health
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, check_caller_id
from runwright.core.principal import Principal, Role
from runwright.ports.callbacks import CallbackDialler, CallbackStore
from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog
from runwright.runtime.waiting import comes_before

_A_YEAR_US = 365 * 24 * 3600 * 1_000_000


class Registered(Struct, frozen=True):
    """A registration and how it was found to be."""

    callback: Callback
    health: Health


class CallbackRegistry:
    """Keeps registrations and tells the dialler of them. A registration belongs to the principal that made it."""

    def __init__(self, *, store: CallbackStore, dialler: CallbackDialler, clock: Clock, log: OperatorLog) -> None:
        self._store = store
        self._dialler = dialler
        self._clock = clock
        self._log = log
        self._known: dict[tuple[Namespace, str], Callback] = {}
        self._lock = asyncio.Lock()  # one change at a time: store, dialler and memory say the same
        self._sooner = asyncio.Event()
        self._due = 0
        self._expiring: asyncio.Task[None] | None = None

    async def load(self) -> int:
        """Takes up what is stored and still leased, before runs are recovered. Returns how many."""
        for callback in await self._store.load():
            self._known[(callback.namespace, callback.callback_id)] = callback
        await self._forget_expired()
        for callback in self._known.values():
            self._dialler.open(callback)
        self._expiring = asyncio.create_task(self._expire(), name="callback leases")
        return len(self._known)

    async def register(self, wanted: Callback) -> Registered:
        """Registers a callback, renews it or replaces it; durable on return.

        Raises INVALID_REQUEST, CALLBACK_ADDRESS_REFUSED, CALLBACK_TAKEN,
        CALLBACK_LIMIT and the journal's errors.
        """
        wanted.check()
        await self._dialler.examine(wanted)
        # A caller that leaves meanwhile must not leave store and memory saying different things.
        kept = await asyncio.shield(asyncio.ensure_future(self._keep(wanted)))
        return Registered(kept, self._dialler.health(kept))

    async def unregister(self, principal: Principal, callback_id: str) -> None:
        """Ends a registration of the principal's, or any for an admin. Raises CALLBACK_NOT_FOUND, CALLBACK_TAKEN."""
        key = (principal.namespace, check_caller_id("callback_id", callback_id))
        known = self._live(key)
        if known is None:
            told = f"There is no callback {callback_id}."
            raise AgentError(ErrorReason.CALLBACK_NOT_FOUND, told, metadata={"callback_id": callback_id})
        if known.owner != principal.name and Role.ADMIN not in principal.roles:
            raise _taken(callback_id)
        removing = self._remove(key, "callback unregistered", lambda held: held.owner == known.owner)
        await asyncio.shield(asyncio.ensure_future(removing))

    def page(
        self, namespace: Namespace, *, executor: str = "", after: str = "", limit: int
    ) -> tuple[Sequence[Registered], bool]:
        """Registrations of a namespace with an id above `after`, by id; and whether there are more."""
        ids = sorted(
            name
            for (owner, name), callback in self._known.items()
            if owner == namespace and name > after and executor in ("", callback.executor)
        )
        live = [found for name in ids if (found := self._live((namespace, name)))]
        return [Registered(one, self._dialler.health(one)) for one in live[:limit]], len(live) > limit

    async def close(self) -> None:
        """Ends the watch over leases, after what is under way; what is registered stays stored."""
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)
        async with self._lock:
            pass  # a change that began is written before the store closes

    def _live(self, key: tuple[Namespace, str]) -> Callback | None:
        known = self._known.get(key)
        return known if known and known.expires_at > self._clock.now() else None

    async def _keep(self, wanted: Callback) -> Callback:
        key = (wanted.namespace, wanted.callback_id)
        async with self._lock:
            known = self._live(key)
            if known is not None and known.owner != wanted.owner:
                raise _taken(wanted.callback_id)
            if known is None:
                self._require_room(wanted.namespace)
            kept = replace(wanted, expires_at=self._clock.now() + wanted.lease)
            await self._store.put(kept)
            self._known[key] = kept
            self._dialler.open(kept)
        if known is None or not known.is_renewed_by(kept):
            told = {"namespace": kept.namespace, "callback_id": kept.callback_id, "principal": kept.owner}
            self._log.info("callback registered", executor=kept.executor, address=kept.address, **told)
        if kept.expires_at < self._due:
            self._sooner.set()
        return kept

    def _require_room(self, namespace: Namespace) -> None:
        held = sum(1 for key in self._known if key[0] == namespace and self._live(key))
        if held >= MAX_PER_NAMESPACE:
            told = f"The namespace has {held} callbacks, and may have {MAX_PER_NAMESPACE}."
            raise AgentError(ErrorReason.CALLBACK_LIMIT, told, metadata={"limit": str(MAX_PER_NAMESPACE)})

    async def _remove(self, key: tuple[Namespace, str], event: str, still: Callable[[Callback], bool]) -> None:
        """Removes it, unless what was meant is no longer `still` what is held."""
        async with self._lock:
            gone = self._known.get(key)
            if gone is None or not still(gone):
                return
            await self._store.remove(*key)
            del self._known[key]
            self._dialler.drop(*key)
        self._log.info(event, namespace=gone.namespace, callback_id=gone.callback_id, principal=gone.owner)

    async def _expire(self) -> None:
        while True:
            now = self._clock.now()
            self._due = min((known.expires_at for known in self._known.values()), default=now + _A_YEAR_US)
            self._sooner.clear()
            if not await comes_before(self._sooner.wait(), self._clock, max(self._due, now + 1)):
                await self._forget_expired()

    async def _forget_expired(self) -> None:
        now = self._clock.now()
        for key in [key for key, known in self._known.items() if known.expires_at <= now]:
            try:
                await self._remove(key, "callback lease over", lambda held: held.expires_at <= now)
            except AgentError as error:
                # Its lease is over all the same: nothing is sent there, and the next start forgets it.
                self._log.error("callback cannot be forgotten", error, callback_id=key[1])
                self._known.pop(key, None)
                self._dialler.drop(*key)


def _taken(callback_id: str) -> AgentError:
    told = f"Callback {callback_id} belongs to another principal."
    return AgentError(ErrorReason.CALLBACK_TAKEN, told, metadata={"callback_id": callback_id})
