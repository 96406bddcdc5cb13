"""Registered callbacks: who serves what and where."""
