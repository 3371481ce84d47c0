"""Text encoders: from captions to the states of their tokens, which a video network attends to."""
