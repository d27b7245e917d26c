"""Code that every other folder may use: errors, files, processes, precision and checks of options."""
