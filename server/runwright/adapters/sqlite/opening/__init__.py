"""What an open journal stands on: its file and schema, the head anchor, the lock and the `-wal` file."""
