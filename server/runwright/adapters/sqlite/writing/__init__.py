"""The writing thread: group commits."""
