"""Adversarial fine-tuning of a temporal-nas bundle to a few denoising steps."""
