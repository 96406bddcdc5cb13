"""Runwright: a durable, policy-governed runtime for agent runs."""

__version__ = "0.1.0"
