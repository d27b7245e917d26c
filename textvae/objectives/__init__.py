"""Losses: pure functions of a model's output."""
