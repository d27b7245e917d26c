"""What a model is worth: bounds, and how its latent space is used."""
