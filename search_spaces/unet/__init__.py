"""U-Nets with slots, the operators that may stand there, and the space of both."""
