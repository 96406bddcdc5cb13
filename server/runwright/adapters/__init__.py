"""What stands behind the ports on a real machine. Adapters never import the runtime."""
