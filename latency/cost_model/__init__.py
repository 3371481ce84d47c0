"""The analytical cost model: amounts of work times unit costs, and the roofline."""
