"""Search spaces: choices, architectures, and their encodings as numbers."""
