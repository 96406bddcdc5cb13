"""Removing runs."""
