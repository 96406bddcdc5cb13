"""Settings of a server: one table of fields, and a loader for flags, environment, file and defaults."""

from runwright.settings.fields import FIELDS, Field
from runwright.settings.kinds import parse_executors
from runwright.settings.loader import Loaded, load
from runwright.settings.model import DEFAULT_LISTEN, Settings, is_loopback
from runwright.settings.values import Finding, Value

__all__ = [
    "DEFAULT_LISTEN",
    "FIELDS",
    "Field",
    "Finding",
    "Loaded",
    "Settings",
    "Value",
    "is_loopback",
    "load",
    "parse_executors",
]
