"""Streams: replay from the journal, then the live end."""
