"""Networks of images: those of timm, DETR and Depth-Anything."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published_networks.building import Build, Built, FirstOutput, fold_norms


def timm_network(name: str, size: int, classes: int = 1000, **options: object) -> Build:
    """A network of timm in its inference form, on one image of `size` pixels square."""

    def build() -> Built:
        import timm
        from timm.utils.model import reparameterize_model

        made = timm.create_model(name, num_classes=classes, **options).eval()
        return fold_norms(reparameterize_model(made)), (torch.empty(1, 3, size, size),)

    return build


def uform_image(size: str) -> Build:
    """UForm's image encoder: a ViT with layer scale that ends in 256 channels."""
    return timm_network(f"vit_{size}_patch16_224", 224, 256, init_values=1e-5)


def unmasked(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Without the mask that transformers makes when it exports: an image has no padding."""
    return args[:1], kwargs | {"attention_mask": None}


def depth_anything() -> Built:
    """Depth-Anything small, the size of Apple's package: 28 x 37 patches and a class token."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=384,
        num_attention_heads=6,
        out_features=["stage9", "stage10", "stage11", "stage12"],
        reshape_hidden_states=False,
        attn_implementation="sdpa",
    )
    network = DepthAnythingForDepthEstimation(DepthAnythingConfig(backbone_config=backbone))
    (encoder,) = (m for m in network.modules() if type(m).__name__ == "Dinov2Encoder")
    encoder.register_forward_pre_hook(unmasked, with_kwargs=True)
    embeddings = network.backbone.embeddings
    # Resized to the image when it is loaded.
    embeddings.position_embeddings = nn.Parameter(torch.empty(1, 28 * 37 + 1, 384))
    embeddings.interpolate_pos_encoding = lambda *_: embeddings.position_embeddings
    return FirstOutput(network), (torch.empty(1, 3, 392, 518),)


class Sines(nn.Module):
    """Positions of a grid, computed when the network was loaded."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.sines = nn.Buffer(torch.empty(1, width, side, side))

    def forward(self, **_: object) -> Tensor:
        return self.sines


class MaskHead(nn.Module):
    """The mask head of DETR, whose adapters see an image's features once, not once a query.

    (facebookresearch/detr, models/segmentation.py; transformers repeats the features first)
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor, attention_masks: Tensor, fpn_features: Any) -> Tensor:
        queries = attention_masks.shape[1]
        repeated = features.expand(queries, -1, -1, -1)
        x = self.head.conv2(self.head.conv1(torch.cat((repeated, attention_masks[0]), dim=1)))
        for stage, finer in zip(self.head.fpn_stages, fpn_features, strict=True):
            adapted = stage.fpn_adapter(finer)
            x = stage.refine(adapted + F.interpolate(x, adapted.shape[-2:], mode="nearest"))
        result: Tensor = self.head.output_conv(x)
        return result


class DetrMasks(nn.Module):
    """DETR for segmentation, from an image without padding to the masks of its queries."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        found = self.network(x_BCHW)
        return found.logits, found.pred_masks


def detr() -> Built:
    """DETR for panoptic segmentation with ResNet-50, on 448 px: 196 tokens, 100 queries."""
    from transformers import DetrConfig, DetrForSegmentation, ResNetConfig

    backbone = ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    config = DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        num_labels=250,
    )
    network = fold_norms(DetrForSegmentation(config))
    config._attn_implementation = "sdpa"  # noqa: SLF001 - the backbone refuses it by its public name
    network.mask_head = MaskHead(network.mask_head)
    network.detr.model.position_embedding = Sines(256, 14)
    return DetrMasks(network), (torch.empty(1, 3, 448, 448),)


IMAGES: dict[str, Build] = {
    **{
        f"FastViT-{size.upper()}": timm_network(f"fastvit_{size}", 256)
        for size in ("t8", "t12", "s12", "sa12", "sa24", "sa36", "ma36")
    },
    **{f"MobileOne-S{n}": timm_network(f"mobileone_s{n}", 224) for n in range(5)},
    **{
        f"EfficientFormerV2-{size.upper()}": timm_network(f"efficientformerv2_{size}", 224)
        for size in ("s0", "s1", "s2", "l")
    },
    **{
        f"EfficientFormer-{size.upper()}": timm_network(f"efficientformer_{size}", 224)
        for size in ("l1", "l3", "l7")
    },
    **{
        f"RepViT-M{size}": timm_network(f"repvit_m{size.replace('.', '_')}", 224)
        for size in ("0.9", "1.0", "1.1", "1.5", "2.3")
    },
    **{
        f"SwiftFormer-{size.upper()}": timm_network(f"swiftformer_{size}", 224)
        for size in ("xs", "s", "l1", "l3")
    },
    **{
        f"MobileCLIP-S{n}:image_encoder": timm_network(f"fastvit_mci{n}", 256, 512)
        for n in range(3)
    },
    "MobileCLIP-B:image_encoder": timm_network("vit_base_mci_224", 224, 512),
    "MobileNetv2-1.0": timm_network("mobilenetv2_100", 224),
    "ResNet50": timm_network("resnet50", 224),
    "MobileViTv2-1.0": timm_network("mobilevitv2_100", 256),
    "efficientnet_lite0": timm_network("efficientnet_lite0", 224),
    "ViT-B/16": timm_network("vit_base_patch16_224", 224),
    "UForm3-english-small:image_encoder": uform_image("small"),
    "UForm3-english-base:image_encoder": uform_image("base"),
    "Depth-Anything-Small": depth_anything,
    "DETR-ResNet50 segmentation": detr,
}
