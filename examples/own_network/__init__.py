"""A network of one's own: what a user writes to have it searched."""
