"""Settings of a server: one table of fields, and a loader for flags, environment, file and defaults."""

from runwright.settings.fields import FIELDS, Field
from runwright.settings.kinds import parse_executors
from runwright.settings.loader import Loaded, load, settle_libraries
from runwright.settings.model import DEFAULT_LISTEN, Settings
from runwright.settings.providers import (
    DEFAULT_PROVIDER_TIMEOUT_SECONDS,
    ProviderSettings,
    parse_providers,
    provider_routes,
)
from runwright.settings.values import Finding, Value

__all__ = [
    "DEFAULT_LISTEN",
    "DEFAULT_PROVIDER_TIMEOUT_SECONDS",
    "FIELDS",
    "Field",
    "Finding",
    "Loaded",
    "ProviderSettings",
    "Settings",
    "Value",
    "load",
    "parse_executors",
    "parse_providers",
    "provider_routes",
    "settle_libraries",
]
