"""The spaces that come with the toolkit, and how any space is found by name."""
