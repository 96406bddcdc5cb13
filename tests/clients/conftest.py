"""The fixtures of the end-to-end tests, and their assertions, for programs in other languages."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.clients.cpp_build", "tests.clients.program")

from tests.e2e.conftest import executor, make_server  # noqa: E402

__all__ = ["executor", "make_server"]
