"""What every other folder may use: errors, files, processes, precision and the checking of options."""
