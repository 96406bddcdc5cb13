"""Kinds of callbacks, a row each, and what each alone says of itself. What they have in common is in `callbacks.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, TypeAlias

from msgspec import Struct

from runwright.core.errors import invalid_request
from runwright.core.principal import Role
from runwright.core.schema_digests import is_schema_digest

MAX_TOOLS = 128
_TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


class CallbackKind(Enum):
    """What a callback is for. The numbers are those of `runwright.callback.v1.CallbackKind`."""

    TOOL_EXECUTOR = 1
    POLICY = 2
    APPROVAL_DISPATCHER = 3


class KindRow(Struct, frozen=True):
    """What is true of a kind.

    `service` is the full name of the service that its host serves, `role` what
    the key of whoever registers it must have, `word` what people read.
    """

    service: str
    role: Role
    word: str

    @property
    def owners_setting(self) -> str:
        """The setting by which the operator says whose names of this kind are."""
        return f"{self.word}_owners"


KINDS: Mapping[CallbackKind, KindRow] = {
    CallbackKind.TOOL_EXECUTOR: KindRow("runwright.callback.v1.ToolExecutorService", Role.EXECUTOR, "executor"),
    CallbackKind.POLICY: KindRow("runwright.callback.v1.PolicyService", Role.POLICY, "policy"),
    CallbackKind.APPROVAL_DISPATCHER: KindRow(
        "runwright.callback.v1.ApprovalDispatcherService", Role.DISPATCHER, "dispatcher"
    ),
}


class ToolExecutor(Struct, frozen=True):
    """What a tool executor says of itself: the names of the tools it performs, none for any, and digests of schemas.

    `digests` are pairs of a tool and the digest of the schema that it has there; a tool without one: any schema.
    """

    kind: ClassVar[CallbackKind] = CallbackKind.TOOL_EXECUTOR
    tools: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()

    def serves(self, tool: str) -> bool:
        """True when the tool is among those it performs."""
        return not self.tools or tool in self.tools

    def other_schema(self, tool: str, schema_digest: str) -> str:
        """The digest of the tool's schema here if it is another than that; empty if it is that, or nobody says.

        Nothing is another than an empty one, which stands for any schema: an ask is about a call that was made already.
        """
        if not schema_digest:
            return ""
        said = next((digest for name, digest in self.digests if name == tool), "")
        return said if said != schema_digest else ""

    def check(self) -> None:
        """Raises INVALID_REQUEST naming the first field that breaks its rule."""
        if len(self.tools) > MAX_TOOLS:
            raise invalid_request(
                "spec.tools",
                f"at most {MAX_TOOLS} names",
                "Leave it empty for any tool, or register several callbacks.",
            )
        for index, tool in enumerate(self.tools):
            if not _TOOL.match(tool):
                rule = "a tool's name: 1 to 64 letters, digits, _ and -, the first a letter or _"
                raise invalid_request(f"spec.tools[{index}]", rule, "Name tools as the package does.")
        self._check_digests()

    def _check_digests(self) -> None:
        if len(self.digests) > MAX_TOOLS:
            raise invalid_request("spec.tool_digests", f"at most {MAX_TOOLS} entries", "Register several callbacks.")
        seen: set[str] = set()
        for index, (tool, digest) in enumerate(self.digests):
            if not (_TOOL.match(tool) and self.serves(tool)) or tool in seen:
                rule = "a tool that the callback performs, each once"
                raise invalid_request(f"spec.tool_digests[{index}].tool", rule, "Name it in spec.tools, too.")
            seen.add(tool)
            if not is_schema_digest(digest):
                remedy = "Make it as docs/packages.md says, or leave the entry out: any schema will do then."
                raise invalid_request(f"spec.tool_digests[{index}].schema_digest", "sha256: and 64 hex digits", remedy)


class PolicyHost(Struct, frozen=True):
    """What a policy's host says of itself beside its name: nothing."""

    kind: ClassVar[CallbackKind] = CallbackKind.POLICY

    def check(self) -> None:
        """Whatever it says is right."""


class DispatcherHost(Struct, frozen=True):
    """What a dispatcher of approvals says of itself beside its name: nothing."""

    kind: ClassVar[CallbackKind] = CallbackKind.APPROVAL_DISPATCHER

    def check(self) -> None:
        """Whatever it says is right."""


# One struct for each kind.
Details: TypeAlias = ToolExecutor | PolicyHost | DispatcherHost
