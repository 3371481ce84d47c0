"""Stable Diffusion's U-Nets, with guidance: a batch of two."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from latency import Workload
from published_networks.building import Build, Built


class SdUnet(nn.Module):
    """A U-Net of diffusers that gives a tensor and takes SDXL's conditions where it has them."""

    def __init__(self, **config: object) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel

        self.unet = UNet2DConditionModel(in_channels=4, out_channels=4, **config)

    def forward(
        self, x_BCHW: Tensor, time_B: Tensor, text_BTC: Tensor, *pooled_and_sizes: Tensor
    ) -> Tensor:
        names = ("text_embeds", "time_ids")
        added = dict(zip(names, pooled_and_sizes, strict=True)) if pooled_and_sizes else None
        result: Tensor = self.unet(x_BCHW, time_B, text_BTC, None, None, None, None, added).sample
        return result


def sd14() -> Built:
    """Stable Diffusion 1.4 (its published unet/config.json) at 512 px."""
    unet = SdUnet(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return unet, (torch.empty(2, 4, 64, 64), torch.empty(2), torch.empty(2, 77, 768))


def sd21() -> Built:
    """Stable Diffusion 2.1 base (its published unet/config.json) at 512 px."""
    unet = SdUnet(
        sample_size=64,
        cross_attention_dim=1024,
        attention_head_dim=[5, 10, 20, 20],
        use_linear_projection=True,
    )
    return unet, (torch.empty(2, 4, 64, 64), torch.empty(2), torch.empty(2, 77, 1024))


def sdxl() -> Built:
    """Stable Diffusion XL base (its published unet/config.json) at 768 px."""
    unet = SdUnet(
        sample_size=96,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[320, 640, 1280],
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    image = (torch.empty(2, 4, 96, 96), torch.empty(2), torch.empty(2, 77, 2048))
    return unet, (*image, torch.empty(2, 1280), torch.empty(2, 6))


def first_chunk(whole: Workload) -> Workload:
    """What runs until half of the weights were read, where ml-stable-diffusion cuts a U-Net in two.

    (python_coreml_stable_diffusion/chunk_mlprogram.py)
    """
    read_bytes, taken = 0, []
    for operation in whole.operations:
        taken.append(operation)
        read_bytes += operation.weight_bytes
        if 2 * read_bytes > whole.weight_bytes:
            break
    parameters = read_bytes // whole.number_bytes
    return replace(whole, operations=tuple(taken), parameters=parameters)


DIFFUSION: dict[str, Build] = {
    "SD 1.4 UNet": sd14,
    "SD 2.1-base UNet": sd21,
    "SDXL-base-ios UNet": sdxl,
}
CHUNKS = {"SD 1.4 UNet, chunk 1 of 2": "SD 1.4 UNet"}  # -> the whole
