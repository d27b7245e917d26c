"""The commands of the program `textvae`, each a function whose arguments are its options."""
