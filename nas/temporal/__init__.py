"""The main job: temporal blocks on an image U-Net, told apart by a weight-sharing supernet."""
