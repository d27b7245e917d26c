"""Models: they put the modules together. Only this folder reads configurations."""
