"""A trained model for people with strings, for scikit-learn, for files of vectors, for Ray."""
