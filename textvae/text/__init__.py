"""Strings become numbers."""
