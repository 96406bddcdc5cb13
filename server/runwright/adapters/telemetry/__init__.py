"""Metrics and traces; their libraries are extras, imported only where a setting asks for them."""
