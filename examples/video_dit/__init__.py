"""A small diffusion transformer for video, its search space, and a supernet of its user's own."""
