"""Tables of measured networks or blocks: columns, rows, and the space that they span."""
