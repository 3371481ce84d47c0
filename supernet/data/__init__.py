"""Clips: digits, videos and latents, and how they are split."""
