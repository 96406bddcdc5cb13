"""The pure core: values, tables and functions. No I/O, no clock, no randomness."""
