"""JSON documents of this toolkit, read and written whole, and the error of bad input."""
