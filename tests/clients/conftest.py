"""The fixtures of the end-to-end tests, and their assertions, for programs in other languages."""

from __future__ import annotations

from tests.e2e.conftest import executor, make_server

__all__ = ["executor", "make_server"]
