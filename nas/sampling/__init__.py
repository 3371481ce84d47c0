"""Sampling: prompts to clips by a bundle's network, and clips as files that people look at."""
