"""Losses: pure functions of what a model returns."""
