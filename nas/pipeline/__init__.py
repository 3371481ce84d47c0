"""The main job: measure, train, search, race, deliver."""
