"""Passes over torch.fx graphs that take out reshapes and transposes."""
