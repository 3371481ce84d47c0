"""A tiny VideoMAE and a tiny VAE with weights at random, in folders as their libraries save them.

    python tiny_encoder.py FOLDER

writes FOLDER/encoder, and FOLDER/vae for clips of one channel, as if they were latents. They
understand nothing, and tell different clips apart.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

FRAMES, SIDE, FEATURES = 4, 16, 12
SCALING, SHIFT = 0.5, 0.25
SIZES = {
    "image_size": SIDE, "patch_size": 8, "num_frames": FRAMES, "hidden_size": FEATURES,
    "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
DECODER_SIZES = {
    "decoder_hidden_size": 8, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}  # fmt: skip
PREPROCESSOR = {
    "image_processor_type": "VideoMAEImageProcessor", "do_normalize": True, "do_rescale": True,
    "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "resample": 2,
    "rescale_factor": 1 / 255, "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
}  # fmt: skip


def write_video_encoder(folder: Path, kind: str = "VideoMAEForPreTraining") -> Any:
    """A model of transformers, saved; published VideoMAEs have such a head, too."""
    import transformers

    owner = kind.partition("For")[0]
    more = DECODER_SIZES if owner == "VideoMAE" else {}
    model = getattr(transformers, kind)(getattr(transformers, f"{owner}Config")(**SIZES, **more))
    at_random(model)
    model.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return model


def write_vae(folder: Path, channels: int) -> Any:
    """An AutoencoderKL of diffusers, saved: pixels are twice as many a side as latents."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[4, 4], norm_num_groups=2, layers_per_block=1,
        latent_channels=channels, scaling_factor=SCALING, shift_factor=SHIFT,
    )  # fmt: skip
    at_random(vae)
    vae.eval().save_pretrained(folder)
    return vae


def at_random(model: torch.nn.Module) -> None:
    """Weights that are the same each time, and biases that are not zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


if __name__ == "__main__":
    write_video_encoder(Path(sys.argv[1]) / "encoder")
    write_vae(Path(sys.argv[1]) / "vae", channels=1)
