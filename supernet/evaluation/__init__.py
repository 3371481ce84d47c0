"""Validation losses, races between networks, and metrics of generated clips."""
