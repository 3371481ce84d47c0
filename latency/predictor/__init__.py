"""Devices: calibrated predictors, shipped ones, and batches of predictions."""
