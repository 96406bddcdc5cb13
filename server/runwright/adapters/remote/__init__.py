"""Callback services, dialled by the runtime."""
