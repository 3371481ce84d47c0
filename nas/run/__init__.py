"""A run folder, and the results that it holds."""
