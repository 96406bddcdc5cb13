"""The servers of the cases: one real process and one proxy for each group, alive for as long as the session."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
from runwright.adapters.package_files import load_package

from tests.adapters.models.fake_vendor import FakeVendor, fake_vendor
from tests.conformance.proxy import Proxy
from tests.conformance.specs import packages
from tests.e2e.packages import write
from tests.e2e.server_process import SERVE, Server
from tests.transport.known import add_key, certificate

VENDOR_KEY = "RUNWRIGHT_CONFORMANCE_VENDOR_KEY"


class Stage:
    """One group's server. Its address is the proxy's, so that it stays while servers come and go."""

    def __init__(self, name: str, spec: dict[str, Any], folder: Path) -> None:
        self.name = name
        self.spec = spec
        self.folder = folder
        self.keys: dict[str, str] = {}
        self.keys_file = folder / "keys.json"
        self.tls: dict[str, str] = {}
        self.proxies: dict[str, Proxy] = {}
        self.calls: list[grpc.aio.Call] = []  # that the runner has open
        self.vendor: FakeVendor | None = None
        self.server: Server
        self.turn = asyncio.Lock()  # one play at a time
        self._exits = AsyncExitStack()
        self._data_count = 0

    @property
    def proxy(self) -> Proxy:
        """The one in front of the server."""
        return self.proxies["server"]

    @property
    def names(self) -> dict[str, Any]:
        """What cases may write as `${...}`."""
        prints = {path.stem: load_package(path).fingerprint() for path in self.server.packages}
        return {"address": self.proxy.address, "keys": self.keys, "tls": self.tls, "fingerprints": prints}

    async def open(self) -> None:
        """Starts everything."""
        self.folder.mkdir(parents=True)
        paths = [write(self.folder, packages()[name]) for name in self.spec["packages"]]
        self.server = Server(self.folder / "data", paths, {}, *await self._options(), program=self._program)
        await self.server.start()
        await self.open_proxy("server", self.server.address)

    @property
    def _program(self) -> tuple[str, ...]:
        return (self.spec["program"],) if "program" in self.spec else SERVE

    async def _options(self) -> list[str]:
        settings = dict(self.spec.get("settings", {}))
        for name, entry in self.spec.get("keys", {}).items():
            self.keys[name] = add_key(self.keys_file, **{"name": name, **entry})
            settings["keys"] = str(self.keys_file)
        if "tls" in self.spec:
            settings |= self._certificates(is_mutual=self.spec["tls"] == "mutual")
        if "vendor" in self.spec:
            self.vendor = await self._exits.enter_async_context(fake_vendor())
            os.environ[VENDOR_KEY] = "secret"
            settings["providers.openai"] = f"{VENDOR_KEY}@{self.vendor.url}"
        config = self.folder / "runwright.toml"
        # JSON's texts, numbers, booleans and lists of texts are TOML's.
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        return ["--config", str(config)]

    def _certificates(self, *, is_mutual: bool) -> dict[str, str]:
        folder = self.folder / "tls"
        cert, key = certificate(folder, "server")
        settings = {"tls_cert": str(cert), "tls_key": str(key)}
        self.tls = {"ca": str(cert), "other_ca": str(certificate(folder, "stranger")[0])}
        if is_mutual:
            authority, _ = certificate(folder, "authority")
            client, client_key = certificate(folder, "client", authority="authority")
            self.tls |= {"cert": str(client), "key": str(client_key)}
            settings["tls_client_ca"] = str(authority)
        return settings

    async def open_proxy(self, name: str, target: str) -> str:
        """Puts a proxy in front of an address."""
        proxy = self.proxies[name] = Proxy(target)
        await proxy.open()
        return proxy.address

    async def ready(self) -> None:
        """Makes the stage what the next case expects, whatever the last one left."""
        while self.calls:
            self.calls.pop().cancel()
        for name in [name for name in self.proxies if name != "server"]:
            await self.proxies.pop(name).close()
        self.proxy.heal()
        if not self.server.is_running:
            await self.restart()

    async def restart(self) -> None:
        """Starts another life of the server behind the same address."""
        await self.server.start()
        self.proxy.target = self.server.address

    def other_journal(self) -> None:
        """The next life begins with an empty data directory."""
        self._data_count += 1
        self.server.data = self.folder / f"data-{self._data_count}"

    def copy_journal(self) -> Path:
        """A copy of the data directory of a server that does not run."""
        copy = self.folder / "copied-data"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.server.data, copy)
        return copy

    async def close(self) -> None:
        """Ends everything. Fails when a server wrote to standard error what nobody meant to be there."""
        for proxy in self.proxies.values():
            await proxy.close()
        await self.server.close()
        await self._exits.aclose()
        os.environ.pop(VENDOR_KEY, None)
        assert self.server.foreign_output() == []
