"""Cost models: the roofline, and the analytical one of amounts of work times unit costs."""
