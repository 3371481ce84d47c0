"""The video U-Net of one architecture, and the supernet of all."""
