"""Recipes, and the trainer that trains models as they say."""
