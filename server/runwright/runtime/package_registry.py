"""Packages that live in the service: put, looked at, listed, tagged, examined, resolved."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.core.ids import Namespace, RunId, RunKey, check_caller_id
from runwright.core.machine.decide import effective_budget
from runwright.core.package import MAX_TOOLS, BudgetSpec, RuntimePackage, ToolSpec
from runwright.core.package_findings import PackageFinding
from runwright.core.principal import Principal
from runwright.core.request import Budget, is_fingerprint
from runwright.core.stored_packages import (
    ChangeAnswer,
    ChangeOutcome,
    PackageChange,
    StoredPackage,
    WantedChange,
)
from runwright.ports.packages import MOST_SIDECAR_BYTES, PackageReader, PackageStore, ReadPackage
from runwright.ports.provider import ToolSpecification
from runwright.ports.tools import PlaceRequest
from runwright.runtime.package_lookup import PackageLookup
from runwright.runtime.packages import CataloguedPackage, PackageCatalogue, Selector
from runwright.runtime.ports import Ports

_FILE_TOKEN, _STORED_TOKEN = "file:", "put:"


class PackageOutline(Struct, frozen=True):
    """A package without what is in it; `put_at` is 0 for a file of the server's."""

    package_id: str
    fingerprint: str
    agent_id: str
    tags: Sequence[str] = ()
    put_by: str = ""
    put_at: int = 0


class PackageTag(Struct, frozen=True, kw_only=True):
    """Which tag to move: where it must point before, empty for nowhere and None for anywhere; the request's id."""

    tag: str = ""
    expected: str | None = None
    request_id: str = ""


class ChangedPackage(Struct, frozen=True):
    """What a put or a move of a tag came to."""

    outline: PackageOutline
    created: bool
    previous: str


class OutlinePage(Struct, frozen=True):
    """A page of packages; `next_token` is empty when nothing follows."""

    packages: Sequence[PackageOutline]
    next_token: str


class TagHistory(Struct, frozen=True):
    """A page of a tag's moves, newest first; `next_token` is empty when nothing follows."""

    moves: Sequence[PackageChange]
    next_token: str


class ResolvedPackage(Struct, frozen=True):
    """What a run of a package would be, and what it would miss in this server."""

    outline: PackageOutline
    effective: RuntimePackage
    tools: Sequence[ToolSpecification]
    missing_executors: Sequence[str]
    missing_adapters: Sequence[str]


class PackageRegistry:
    """Answers about the packages of one namespace: those that were put into it, and the files of the server."""

    def __init__(
        self,
        ports: Ports,
        files: PackageCatalogue,
        lookup: PackageLookup,
        store: PackageStore,
        reader: PackageReader,
    ) -> None:
        self._ports = ports
        self._files = files
        self._lookup = lookup
        self._store = store
        self._reader = reader

    async def put(
        self, who: Principal, document: str, tagged: PackageTag, sidecars: Sequence[bytes] = ()
    ) -> ChangedPackage:
        """Keeps a package, with its sidecars; durable on return.

        Raises INVALID_REQUEST, PACKAGE_INVALID for the first fault, PACKAGE_TAG_MOVED, PACKAGE_LIMIT,
        REQUEST_ID_CONFLICT, OVERLOADED and the journal's errors.
        """
        _check(tagged)
        read = await self.validate(document, sidecars)
        if (names := read.names) is None:
            raise _invalid(read.findings)
        now = self._ports.clock.now()
        stored = StoredPackage(
            namespace=who.namespace,
            fingerprint=names.fingerprint,
            package_id=names.package_id,
            agent_id=names.agent_id,
            put_by=who.name,
            put_at=now,
            canonical=read.stored,
        )
        changed = await self._change(
            WantedChange(
                namespace=who.namespace,
                fingerprint=names.fingerprint,
                principal=who.name,
                at=now,
                package=stored,
                tag=tagged.tag,
                expected=tagged.expected,
                request_id=tagged.request_id,
            )
        )
        subjects = (stored.package_id, stored.fingerprint, *((tagged.tag,) if tagged.tag else ()))
        self._note(AuditKind.PACKAGE_PUT, who, subjects)
        return changed

    async def tag(self, who: Principal, fingerprint: str, tagged: PackageTag) -> ChangedPackage:
        """Points a tag to a package that was put; durable on return.

        Raises INVALID_REQUEST, PACKAGE_NOT_FOUND, PACKAGE_TAG_MOVED, REQUEST_ID_CONFLICT and the journal's errors.
        """
        _check(tagged)
        check_caller_id("tag", tagged.tag)
        _check_fingerprint("fingerprint", fingerprint)
        changed = await self._change(
            WantedChange(
                namespace=who.namespace,
                fingerprint=fingerprint,
                principal=who.name,
                at=self._ports.clock.now(),
                tag=tagged.tag,
                expected=tagged.expected,
                request_id=tagged.request_id,
            )
        )
        self._note(AuditKind.PACKAGE_TAGGED, who, (tagged.tag, fingerprint))
        return changed

    async def get(self, namespace: Namespace, wanted: Selector) -> tuple[PackageOutline, CataloguedPackage]:
        """A package, whole. Raises PACKAGE_NOT_FOUND and the journal's errors."""
        found = await self._lookup.resolve(namespace, wanted)
        return await self._outline(namespace, found), found

    async def page(self, namespace: Namespace, *, package_id: str = "", token: str = "", limit: int) -> OutlinePage:
        """First the files in their order, then what was put, newest first. Raises INVALID_REQUEST."""
        wanted = [known for known in self._files.of(namespace) if not package_id or known.package.id == package_id]
        first, after = self._place(wanted, token)
        files = wanted[first : first + limit + 1]
        stored: list[StoredPackage] = []
        if len(files) <= limit:
            room = limit + 1 - len(files)
            stored = await self._store.page(namespace, package_id=package_id, after=after, limit=room)
        tags = await self._store.tags(
            namespace, [known.fingerprint for known in files] + [known.fingerprint for known in stored]
        )
        listed = [_of_file(known, tags.get(known.fingerprint, ())) for known in files]
        listed += [_of_stored(known, tags.get(known.fingerprint, ())) for known in stored]
        more = len(listed) > limit
        listed = listed[:limit]
        token = ""
        if more and listed:
            last = listed[-1]
            token = f"{_STORED_TOKEN if last.put_at else _FILE_TOKEN}{last.fingerprint}"
        return OutlinePage(listed, token)

    async def history(self, namespace: Namespace, tag: str, *, token: str = "", limit: int) -> TagHistory:
        """Where a tag points and has pointed. Raises INVALID_REQUEST, PACKAGE_NOT_FOUND for a tag nobody made."""
        check_caller_id("tag", tag)
        if token and not (token.isascii() and token.isdigit() and len(token) < 16):
            raise _no_token()
        moves = await self._store.history(namespace, tag, before=int(token) if token else None, limit=limit + 1)
        if not moves and not token:
            raise await self._lookup.missing(namespace, tag)
        more = len(moves) > limit
        moves = moves[:limit]
        return TagHistory(moves, str(moves[-1].number) if more else "")

    async def validate(self, document: str, sidecars: Sequence[bytes] = ()) -> ReadPackage:
        """What a text is, or everything that is wrong with it.

        Raises INVALID_REQUEST for no text at all, and for more sidecars than there may be; OVERLOADED.
        """
        if len(sidecars) > MAX_TOOLS or sum(map(len, sidecars)) > MOST_SIDECAR_BYTES:
            rule = f"at most {MAX_TOOLS} schemas, with {MOST_SIDECAR_BYTES} bytes together"
            raise invalid_request("sidecars", rule, "Send those that the package names, each once.")
        if not document.strip():
            raise invalid_request("document", "a package in YAML or JSON", "Send the text of a package file.")
        return await self._reader.read(document, sidecars)

    async def resolve(
        self, namespace: Namespace, wanted: Selector, *, budget: Budget, agent_id: str = ""
    ) -> ResolvedPackage:
        """What a run would be. Raises PACKAGE_NOT_FOUND, AGENT_MISMATCH and the journal's errors."""
        found = await self._lookup.resolve(namespace, wanted, agent_id)
        package = found.package
        limits = effective_budget(package, budget)
        lowered = BudgetSpec(rounds=limits.rounds, tool_calls=limits.tool_calls, parallel_calls=limits.parallel_calls)
        unserved = {tool.executor for tool in package.tools if not self._is_served(namespace, tool, found.fingerprint)}
        absent = {route.adapter for route in package.routes if route.adapter not in self._ports.providers}
        return ResolvedPackage(
            await self._outline(namespace, found),
            package.model_copy(update={"budget": lowered}),
            [ToolSpecification(tool.name, tool.description, package.model_schema(tool)) for tool in package.tools],
            sorted(unserved),
            sorted(absent),
        )

    def _is_served(self, namespace: Namespace, tool: ToolSpec, fingerprint: str) -> bool:
        tools, nobody = self._ports.tools, RunKey(namespace, RunId(""))
        requested = PlaceRequest(nobody, "", tool.executor, tool.name, tool.arguments_digest, fingerprint)
        return tools.knows(namespace, tool.executor) and tools.is_reachable(requested)

    async def _change(self, wanted: WantedChange) -> ChangedPackage:
        answer = await self._store.change(wanted)
        if answer.outcome not in (ChangeOutcome.MADE, ChangeOutcome.UNCHANGED):
            raise await self._refused(wanted, answer)
        stored = await self._store.get(wanted.namespace, wanted.fingerprint)
        assert stored is not None, "what a change was made of is there"
        tags = await self._store.tags(wanted.namespace, [wanted.fingerprint])
        outline = _of_stored(stored, tags.get(wanted.fingerprint, ()))
        return ChangedPackage(outline, answer.created, answer.previous)

    async def _refused(self, wanted: WantedChange, answer: ChangeAnswer) -> AgentError:
        match answer.outcome:
            case ChangeOutcome.TAG_ELSEWHERE:
                where = f"to {answer.previous}" if answer.previous else "nowhere"
                return AgentError(
                    ErrorReason.PACKAGE_TAG_MOVED,
                    f"Tag {wanted.tag} points {where}, not where the request expects it.",
                    metadata={"tag": wanted.tag, "fingerprint": answer.previous},
                )
            case ChangeOutcome.REQUEST_TAKEN:
                return AgentError(
                    ErrorReason.REQUEST_ID_CONFLICT,
                    f"Request id {wanted.request_id} was used for another package or tag.",
                    metadata={"request_id": wanted.request_id},
                )
            case ChangeOutcome.FULL | ChangeOutcome.TAGS_FULL:
                what = "packages" if answer.outcome is ChangeOutcome.FULL else "tags"
                return AgentError(
                    ErrorReason.PACKAGE_LIMIT,
                    f"The namespace keeps {answer.most} {what}, as many as it may.",
                    metadata={"limit": str(answer.most)},
                )
            case _:
                return await self._lookup.missing(wanted.namespace, wanted.fingerprint)

    async def _outline(self, namespace: Namespace, found: CataloguedPackage) -> PackageOutline:
        tags = (await self._store.tags(namespace, [found.fingerprint])).get(found.fingerprint, ())
        if self._files.of(namespace).find(Selector(fingerprint=found.fingerprint)) is not None:
            return _of_file(found, tags)
        stored = await self._store.get(namespace, found.fingerprint)
        return _of_stored(stored, tags) if stored is not None else _of_file(found, tags)

    def _place(self, files: Sequence[CataloguedPackage], token: str) -> tuple[int, str]:
        """From which file, and behind which stored package, a page begins. Raises INVALID_REQUEST."""
        if not token:
            return 0, ""
        if token.startswith(_STORED_TOKEN) and is_fingerprint(token.removeprefix(_STORED_TOKEN)):
            return len(files), token.removeprefix(_STORED_TOKEN)
        names = [known.fingerprint for known in files]
        if token.startswith(_FILE_TOKEN) and token.removeprefix(_FILE_TOKEN) in names:
            return names.index(token.removeprefix(_FILE_TOKEN)) + 1, ""
        raise _no_token()

    def _note(self, kind: AuditKind, who: Principal, subjects: tuple[str, ...]) -> None:
        entry = AuditEntry(kind=kind, principal=who.name, namespace=who.namespace, subjects=subjects)
        self._ports.audit.note(entry)


def _of_file(known: CataloguedPackage, tags: Sequence[str]) -> PackageOutline:
    return PackageOutline(known.package.id, known.fingerprint, known.package.agent.id, tags)


def _of_stored(stored: StoredPackage, tags: Sequence[str]) -> PackageOutline:
    return PackageOutline(stored.package_id, stored.fingerprint, stored.agent_id, tags, stored.put_by, stored.put_at)


def _check(tagged: PackageTag) -> None:
    for name, value in (("tag", tagged.tag), ("request_id", tagged.request_id)):
        if value:
            check_caller_id(name, value)
    if tagged.expected is not None and not tagged.tag:
        raise invalid_request(
            "expected_previous_fingerprint", "absent without a tag", "Name the tag that it is about, or leave it out."
        )
    if tagged.expected:
        _check_fingerprint("expected_previous_fingerprint", tagged.expected)


def _check_fingerprint(field: str, value: str) -> None:
    if not is_fingerprint(value):
        raise invalid_request(field, "sha256:TAG:HEX", "Copy it from `runwright package ls`.")


def _no_token() -> AgentError:
    return invalid_request(
        "page_token", "the next_page_token of a response of this server", "Leave it out to begin again."
    )


def _invalid(findings: Sequence[PackageFinding]) -> AgentError:
    first = findings[0]
    where = ", ".join(part for part in (first.path, first.place) if part)
    more = f" And {len(findings) - 1} more: ValidatePackage tells all." if len(findings) > 1 else ""
    return AgentError(
        ErrorReason.PACKAGE_INVALID,
        f"{where}: {first.expected}.{more}",
        metadata={"package": "", "path": first.path, "rule": first.expected},
        remedy=first.remedy,
    )
