"""Build backbones: the image U-Net of any shape."""

from search_spaces import AnyUNetShape, StableDiffusionShape
from supernet.backbones.backbone import Backbone, ImageUNet
from supernet.backbones.stable_diffusion import StableDiffusionUNet


def build_backbone(shape: AnyUNetShape) -> Backbone:
    """Build the image U-Net of a shape, with weights as torch draws them."""
    if isinstance(shape, StableDiffusionShape):
        return StableDiffusionUNet(shape)
    return ImageUNet(shape)
