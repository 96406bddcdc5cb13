"""What `runwright doctor` looks at, one subject a file."""

from runwright.cli.checks.check import Check, Status

__all__ = ["Check", "Status"]
