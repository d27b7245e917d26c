"""Vectors in, vectors out."""
