"""A task of one's own: any space, with a user's functions that evaluate and build its networks."""
