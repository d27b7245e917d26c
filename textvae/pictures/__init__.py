"""Pictures: places, matrices and sentences become files to look at."""
