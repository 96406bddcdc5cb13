"""proto ⇄ core, both directions, nothing else."""
