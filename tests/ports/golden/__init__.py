"""Golden journals: one for each version whose bytes are on somebody's disk, and what makes one."""
