"""Functions of latent vectors: clusters, fitted priors, maps, neighbours, paths and a classifier."""
