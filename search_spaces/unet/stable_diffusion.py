"""The shape of a U-Net of the Stable Diffusion 1.x and 2.x family, as its config.json says it.

diffusers' `UNet2DConditionModel` has many more members; what lies outside the family is refused,
and so is what nobody knows here, as it may be part of a network. What surely is no part is ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.files.git_lfs import refuse_pointer
from search_spaces.unet.slots import Slot, is_size, slot_at

KIND = "stable_diffusion"
CLASS_NAME = "UNet2DConditionModel"
CONFIG = "config.json"
# The sizes of a clip, which config.json does not know.
CLIP = ("frames", "height", "width", "context_tokens")
SIZES = (*CLIP, "in_channels", "out_channels", "cross_attention_dim", "norm_num_groups")
FLAGS = ("use_linear_projection", "upcast_attention", "flip_sin_to_cos")
PER_STAGE = ("layers_per_block", "attention_head_dim", "transformer_layers_per_block")
WITH_ATTENTION = ("CrossAttnDownBlock2D", "UNetMidBlock2DCrossAttn", "CrossAttnUpBlock2D")
DOWN = ("CrossAttnDownBlock2D", "DownBlock2D")
MID = ("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None)
UP = ("CrossAttnUpBlock2D", "UpBlock2D")

# Fields that all of the family leave alone, with what they may be.
FIXED: Mapping[str, tuple[object, ...]] = {
    "act_fn": ("silu", "swish"),
    "addition_embed_type_num_heads": (64,),  # counts only where addition_embed_type is given
    "attention_type": ("default",),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "downsample_padding": (1,),
    "dropout": (0,),
    "mid_block_scale_factor": (1,),
    "resnet_out_scale_factor": (1,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
}

# What training tools leave in config.json beside the network: the state of a moving average
# (diffusers' EMAModel.save_pretrained), and how weights were kept or trained.
NO_NETWORK = {
    *("collected_params", "decay", "inv_gamma", "min_decay", "optimization_step", "power"),
    *("update_after_step", "use_ema_warmup", "ema_decay", "use_ema"),
    *("architectures", "dtype", "gradient_checkpointing", "model_type", "torch_dtype"),
    "transformers_version",
}


@dataclass(frozen=True)
class StableDiffusionShape:
    """A U-Net of diffusers and the clips it will see; fields are named as in config.json.

    What config.json gives once or per stage stands here per stage. `attention_head_dim` is how
    many heads there are, in spite of its name (diffusers, issue 2011). Height and width are the
    latents', and may be odd at any stage.
    """

    frames: int
    height: int
    width: int
    context_tokens: int
    block_out_channels: tuple[int, ...]
    down_block_types: tuple[str, ...]
    up_block_types: tuple[str, ...]
    mid_block_type: str | None
    layers_per_block: tuple[int, ...]
    attention_head_dim: tuple[int, ...]
    transformer_layers_per_block: tuple[int, ...]
    cross_attention_dim: int
    in_channels: int = 4
    out_channels: int = 4
    use_linear_projection: bool = False
    upcast_attention: bool = False  # kept for config.json: attention here never needs it
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    sample_size: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in SIZES:
            if not is_size(getattr(self, name)):
                raise _refused(name, getattr(self, name), "a whole number from 1")
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise _refused(name, getattr(self, name), "true or false")
        if not isinstance(self.norm_eps, float) or not 0 < self.norm_eps < 1:
            raise _refused("norm_eps", self.norm_eps, "a number between 0 and 1")
        self._check_stages()
        self._check_channels()

    def _check_stages(self) -> None:
        if not isinstance(self.block_out_channels, tuple) or not self.block_out_channels:
            raise _refused("block_out_channels", self.block_out_channels, "one or more stages")
        for name in ("block_out_channels", *PER_STAGE):
            if not all(is_size(value) for value in self._per_stage(name)):
                raise _refused(name, getattr(self, name), "whole numbers from 1")
        for name, known in (("down_block_types", DOWN), ("up_block_types", UP)):
            for block in self._per_stage(name):
                if block not in known:
                    raise _refused(name, block, " or ".join(known))
        if self.mid_block_type not in MID:
            listed = " or ".join(str(name or "null") for name in MID)
            raise _refused("mid_block_type", self.mid_block_type, listed)

    def _per_stage(self, name: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = getattr(self, name)
        stages = len(self.block_out_channels)
        if not isinstance(found, tuple) or len(found) != stages:
            raise _refused(name, found, f"one entry for each of the {stages} block_out_channels")
        return found

    def _check_channels(self) -> None:
        for channels, heads in zip(self.block_out_channels, self.attention_head_dim, strict=True):
            if channels % self.norm_num_groups:
                groups = f"multiples of norm_num_groups, {self.norm_num_groups}"
                raise _refused("block_out_channels", channels, groups)
            if channels % heads:
                wanted = f"a number of heads that divides {channels} channels"
                raise _refused("attention_head_dim", heads, wanted)
        waves = self.block_out_channels[0] // 2
        if self.block_out_channels[0] % 2 or self.freq_shift not in range(waves):
            raise _refused("freq_shift", self.freq_shift, f"0 to {waves - 1}, and even channels")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage, as `UNetShape` calls them."""
        return self.block_out_channels

    @property
    def context_channels(self) -> int:
        """Channels of a context token, as `UNetShape` calls them."""
        return self.cross_attention_dim

    def slots(self) -> tuple[Slot, ...]:
        """One slot after each block and before the resolution changes."""
        stages = range(len(self.block_out_channels))
        mid = [slot_at(self, "mid", stages[-1])] if self.mid_block_type else []
        down = [slot_at(self, "down", stage) for stage in stages]
        return (*down, *mid, *(slot_at(self, "up", stage) for stage in reversed(stages)))

    def to_json(self) -> Json:
        """As it stands in a space's document."""
        return {"kind": KIND, **asdict(self)}

    def config(self) -> Json:
        """As config.json says it."""
        found = {name: value for name, value in asdict(self).items() if name not in CLIP}
        for name in PER_STAGE:
            once, *others = found[name]
            if all(value == once for value in others):
                found[name] = once  # diffusers wants a number where all stages are alike
        return {"_class_name": CLASS_NAME, **found}


def stable_diffusion_shape(
    folder: Path,
    *,
    frames: int = 16,
    height: int | None = None,
    width: int | None = None,
    context_tokens: int = 77,
) -> StableDiffusionShape:
    """The shape of the U-Net in a folder of diffusers, of which only config.json is read.

    Height and width are the latents'; config.json's sample_size where none are given.

    Raises:
        InputError: no folder of such a U-Net, or one of another family.
    """
    path = folder / CONFIG
    refuse_pointer(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        inner = folder / "unet"
        hint = f"; give {inner}" if (inner / CONFIG).is_file() else ""
        raise InputError(f"{path}: no such file, so this is no folder of a U-Net{hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    try:
        return _from_config(config, frames, height, width, context_tokens)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def shape_from_json(content: Json) -> StableDiffusionShape:
    """A shape out of a space's document; TypeError where fields are missing or unknown."""
    return StableDiffusionShape(**{k: _tuples(v) for k, v in content.items() if k != "kind"})


def _from_config(
    config: Any, frames: int, height: int | None, width: int | None, context_tokens: int
) -> StableDiffusionShape:
    if not isinstance(config, dict) or config.get("_class_name") != CLASS_NAME:
        found = config.get("_class_name") if isinstance(config, dict) else None
        raise InputError(f"describes {found!r}, where a {CLASS_NAME} of diffusers is needed")
    known = {field.name for field in fields(StableDiffusionShape)} - set(CLIP)
    for name, value in config.items():
        if name not in known | NO_NETWORK and not name.startswith("_"):
            _check_fixed(name, value)
    given: dict[str, Any] = {name: _tuples(config[name]) for name in known & config.keys()}
    given = {**DEFAULTS, **given}
    channels = given["block_out_channels"]
    stages = len(channels) if isinstance(channels, tuple) else 1
    for name in PER_STAGE:
        if not isinstance(given[name], tuple):
            given[name] = (given[name],) * stages
    sides = given.get("sample_size")
    sides = sides if isinstance(sides, tuple) else (sides, sides)
    if (height is None or width is None) and not (len(sides) == 2 and all(map(is_size, sides))):
        raise InputError("has no sample_size: say which height and width the latents have")
    return StableDiffusionShape(
        frames=frames,
        height=height if height is not None else sides[0],
        width=width if width is not None else sides[1],
        context_tokens=context_tokens,
        **given,
    )


# What diffusers takes for granted where config.json is silent.
DEFAULTS: Mapping[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*(DOWN[0],) * 3, DOWN[1]),
    "up_block_types": (UP[1], *(UP[0],) * 3),
    "mid_block_type": MID[0],
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "transformer_layers_per_block": 1,
    "cross_attention_dim": 1280,
}


def _check_fixed(name: str, value: object) -> None:
    if value is None or value is False or value in FIXED.get(name, ()):
        return
    allowed = FIXED.get(name, (None,))[0]
    raise InputError(
        f"{name} is {json.dumps(value)[:60]}, where the Stable Diffusion 1.x and 2.x family has "
        f"{json.dumps(allowed)}: a U-Net of another family, which does not open"
    )


def _refused(name: str, found: object, wanted: str) -> InputError:
    return InputError(f"{name} is {repr(found)[:60]}, which must be {wanted}")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
