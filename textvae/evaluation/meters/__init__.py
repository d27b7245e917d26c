"""The meters of an evaluation, one file each."""
