"""Benchmarks: each measures the product side by side with its ceiling. `python -m bench [p1 p3 ...]`."""
