"""The commands of the program `textvae`. Each is a function whose parameters are the command's options."""
