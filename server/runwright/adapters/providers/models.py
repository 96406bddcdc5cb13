"""Real models behind the provider port; the vendors' libraries are an extra, loaded at the first call."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from runwright.adapters.providers.model_parameters import parameters_problem
from runwright.adapters.providers.model_route import ModelRoute
from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.provider import EmitText, ModelReply, ModelRequest

if TYPE_CHECKING:
    from runwright.adapters.providers.model_vendor import Vendor

_LIBRARIES = ("pydantic_ai", "openai", "anthropic")


class ModelsProvider:
    """Asks the models of one route. One HTTP request per call; nothing is tried again here."""

    def __init__(self, route: ModelRoute) -> None:
        self.route = route
        self._vendor: Vendor | None = None
        self._loading = asyncio.Lock()

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """Asks the model once. See the port."""
        problem = parameters_problem(self.route.kind, request.parameters)
        if problem:
            raise AgentError(
                ErrorReason.PROVIDER_REFUSED,
                f"The package's provider.parameters.{problem}.",
                metadata={"adapter": self.route.adapter, "class": "bad_request"},
            )
        vendor = self._vendor or await self._load()
        return await vendor.ask(request, emit)

    async def prepare(self) -> None:
        """Loads the vendor's library, which takes about a second."""
        if self._vendor is None:
            await self._load()

    async def close(self) -> None:
        """Lets go of the connections. The provider can be used again."""
        vendor, self._vendor = self._vendor, None
        if vendor is not None:
            await vendor.close()

    async def _load(self) -> Vendor:
        async with self._loading:
            if self._vendor is None:
                # The import takes about a second: other runs go on meanwhile.
                self._vendor = await asyncio.to_thread(_vendor, self.route)
            return self._vendor


def missing_libraries() -> tuple[str, ...]:
    """The libraries of the extra `models` that are not installed. Imports none of them."""
    return tuple(name for name in _LIBRARIES if find_spec(name) is None)


def _vendor(route: ModelRoute) -> Vendor:
    from runwright.adapters.providers.model_vendor import Vendor, warm_up  # noqa: PLC0415 - the extra may be missing

    warm_up(route.kind)
    return Vendor(route)
