"""Measurement sources: each is a small module that times things on one kind of device."""
