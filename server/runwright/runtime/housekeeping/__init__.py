"""What goes on beside the runs: retention, disk space, readiness."""
