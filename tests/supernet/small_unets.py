"""Narrow U-Nets of the Stable Diffusion family, as config.json says them."""

import json
from pathlib import Path
from typing import Any

from search_spaces import StableDiffusionShape, stable_diffusion_shape

DOWN, UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
BASE: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 16,
    "block_out_channels": [32, 64, 64, 64],
    "down_block_types": [DOWN, DOWN, DOWN, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", UP, UP, UP],
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
}
TINY = {
    "block_out_channels": [32, 64],
    "down_block_types": [DOWN, DOWN],
    "up_block_types": [UP, UP],
    "mid_block_type": None,
    "layers_per_block": 1,
}
# What tells the members of the family apart.
FAMILY: dict[str, dict[str, Any]] = {
    "SD 1.5": {},
    "SD 2.1": {
        "attention_head_dim": [2, 4, 8, 8],
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "BK-SDM base": {"layers_per_block": 1},
    "BK-SDM small": {"layers_per_block": 1, "mid_block_type": None},
    "BK-SDM tiny": TINY,
    "BK-SDM v2, two stages": {
        **TINY,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "attention_head_dim": [2, 8],
        "use_linear_projection": True,
    },
    "uneven": {
        "layers_per_block": [1, 2, 1, 3],
        "transformer_layers_per_block": [1, 2, 1, 1],
        "mid_block_type": "UNetMidBlock2D",
        "freq_shift": 1,
        "flip_sin_to_cos": False,
    },
}


def write_config(folder: Path, **changes: Any) -> Path:
    """A folder with a config.json alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**BASE, **changes}))
    return folder


def small_shape(folder: Path, name: str = "BK-SDM tiny", **sizes: int) -> StableDiffusionShape:
    """The shape of a member of the family, for clips of 3 frames."""
    write_config(folder, **FAMILY[name])
    sizes = {"frames": 3, "height": 8, "width": 6, "context_tokens": 5, **sizes}
    return stable_diffusion_shape(folder, **sizes)
