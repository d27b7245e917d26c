"""Evaluation of a model: bounds on the likelihood, use of the latent space, and quality of the text."""
