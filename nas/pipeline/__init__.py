"""A search of any task, stage by stage: price, prepare, search, choose, deliver."""
