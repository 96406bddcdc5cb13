"""Kinds of callbacks, a row each, and what each alone says of itself. What they have in common is in `callbacks.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, TypeAlias

from msgspec import Struct

from runwright.core.errors import invalid_request
from runwright.core.principal import Role

MAX_TOOLS = 128
_TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


class CallbackKind(Enum):
    """What a callback is for. The numbers are those of `runwright.callback.v1.CallbackKind`."""

    TOOL_EXECUTOR = 1
    POLICY = 2


class KindRow(Struct, frozen=True):
    """What is true of a kind.

    `service` is the full name of the service that its host serves, `role` what
    the key of whoever registers it must have, `word` what people read.
    """

    service: str
    role: Role
    word: str


KINDS: Mapping[CallbackKind, KindRow] = {
    CallbackKind.TOOL_EXECUTOR: KindRow("runwright.callback.v1.ToolExecutorService", Role.EXECUTOR, "executor"),
    CallbackKind.POLICY: KindRow("runwright.callback.v1.PolicyService", Role.POLICY, "policy"),
}


class ToolExecutor(Struct, frozen=True):
    """What a tool executor says of itself: the names of the tools it performs; none: any."""

    kind: ClassVar[CallbackKind] = CallbackKind.TOOL_EXECUTOR
    tools: tuple[str, ...] = ()

    def serves(self, tool: str) -> bool:
        """True when the tool is among those it performs."""
        return not self.tools or tool in self.tools

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


class PolicyHost(Struct, frozen=True):
    """What a policy's host says of itself beside its name: nothing."""

    kind: ClassVar[CallbackKind] = CallbackKind.POLICY

    def check(self) -> None:
        """Whatever it says is right."""


# One struct for each kind.
Details: TypeAlias = ToolExecutor | PolicyHost
