"""A journal read from beside its server: doctor, backup."""
