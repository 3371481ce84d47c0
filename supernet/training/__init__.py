"""Training loops: the image U-Net, the supernet by its recipes, the autoencoder."""
