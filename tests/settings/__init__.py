"""Settings: their table and their sources."""
