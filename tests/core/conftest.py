"""The option that rewrites the transcripts: `pytest tests/core --regenerate`, then read the diff."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", default=False, help="rewrite tests/core/scenarios")


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    """True when transcripts are to be written instead of compared."""
    # When all of tests/ runs, this file is read too late for the command line to know the option.
    return bool(request.config.getoption("--regenerate", default=False))
