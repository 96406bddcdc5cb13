"""The reading thread: the journal's questions, every answer checked."""
