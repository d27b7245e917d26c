"""Ways to use a trained model: on strings, in scikit-learn, to write files of vectors, on Ray."""
