"""U-Net of the Stable Diffusion 1.x and 2.x family; parameters are named as diffusers does."""

from supernet.backbones.stable_diffusion.unet import StableDiffusionUNet

__all__ = ["StableDiffusionUNet"]
