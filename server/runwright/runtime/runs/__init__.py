"""Live runs: who drives them, what is parked or held, and how a start takes them up."""
