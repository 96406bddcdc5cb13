"""What the runtime needs from outside, one Protocol per file."""
