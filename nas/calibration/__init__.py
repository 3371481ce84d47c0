"""Profiles of devices, calibration from tables, and its report."""
