"""Compositions of the parts: the only readers of configurations."""
