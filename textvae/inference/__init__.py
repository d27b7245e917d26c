"""What is computed with a trained model: bounds on log p(x), refined posteriors, filled blanks."""
