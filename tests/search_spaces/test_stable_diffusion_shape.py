"""What config.json says of a U-Net, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from search_spaces import (
    CONV1D,
    NONE,
    InputError,
    StableDiffusionShape,
    TemporalSpace,
    load,
    stable_diffusion_shape,
    temporal_space,
)

# As published with Stable Diffusion 1.5.
SD15: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}
# As published with BK-SDM-Tiny, less what is null or false.
TINY = {
    **SD15,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "class_embed_type": None,
    "dual_cross_attention": False,
    "layers_per_block": 1,
    "mid_block_type": None,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
}


def shape_of(folder: Path, config: object, **sizes: int) -> StableDiffusionShape:
    (folder / "config.json").write_text(json.dumps(config))
    return stable_diffusion_shape(folder, **sizes)


def test_slots_stand_after_each_block_before_the_resolution_changes(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, SD15, frames=8)
    assert [(s.name, s.channels, s.height, s.frames) for s in shape.slots()] == [
        ("down0", 320, 64, 8), ("down1", 640, 32, 8), ("down2", 1280, 16, 8), ("down3", 1280, 8, 8),
        ("mid", 1280, 8, 8),
        ("up3", 1280, 8, 8), ("up2", 1280, 16, 8), ("up1", 640, 32, 8), ("up0", 320, 64, 8),
    ]  # fmt: skip
    assert (shape.context_tokens, shape.context_channels) == (77, 768)


def test_a_unet_without_a_middle_has_no_slot_there(tmp_path: Path) -> None:
    names = [slot.name for slot in shape_of(tmp_path, TINY).slots()]
    assert names == ["down0", "down1", "down2", "up2", "up1", "up0"]


def test_odd_sizes_are_halved_upwards(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, TINY, height=36, width=19)
    assert [(s.height, s.width) for s in shape.slots()[:3]] == [(36, 19), (18, 10), (9, 5)]


def test_a_config_says_again_what_it_said(tmp_path: Path) -> None:
    for config in (SD15, TINY, {**SD15, "attention_head_dim": [5, 10, 20, 20]}):
        shape = shape_of(tmp_path, config)
        again = json.loads(json.dumps(shape.config()))
        assert {name: again[name] for name in config.keys() & again.keys()} == {
            name: config[name] for name in config.keys() & again.keys()
        }
        assert shape_of(tmp_path, again) == shape


def test_what_is_no_part_of_the_network_is_ignored(tmp_path: Path) -> None:
    """As diffusers' EMAModel.save_pretrained and other tools leave it."""
    average = {
        "decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 220000,
        "power": 0.6666666666666666, "update_after_step": 0, "use_ema_warmup": False,
    }  # fmt: skip
    others = {
        "_commit_hash": "39593d5650112b4cc580433f6b0435385882d819",
        "_name_or_path": "/some/where", "_use_default_values": ["dropout"],
        "gradient_checkpointing": True, "torch_dtype": "float16", "model_type": "unet",
    }  # fmt: skip
    assert shape_of(tmp_path, SD15 | average | others) == shape_of(tmp_path, SD15)


def test_a_space_on_it_is_a_file(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, TINY, frames=4, height=16, width=24, context_tokens=3)
    space = temporal_space("tiny", shape, (NONE, CONV1D))
    path = tmp_path / "space.json"
    path.write_text(json.dumps(space.to_json()))
    found = load(str(path))
    assert found == space
    assert isinstance(found, TemporalSpace)
    assert found.unet == shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**SD15, "addition_embed_type": "text_time"}, 'addition_embed_type is "text_time"'),
        ({**SD15, "class_embed_type": "timestep"}, "class_embed_type"),
        ({**SD15, "num_class_embeds": 1000}, "num_class_embeds is 1000"),
        ({**SD15, "time_cond_proj_dim": 256}, "time_cond_proj_dim"),
        ({**SD15, "dual_cross_attention": True}, "dual_cross_attention is true"),
        ({**SD15, "only_cross_attention": [True, False, False, False]}, "only_cross_attention"),
        ({**SD15, "act_fn": "gelu"}, 'act_fn is "gelu".* has "silu"'),
        ({**SD15, "some_new_field": 3}, "some_new_field is 3"),
        ({**SD15, "quantization_config": {"bits": 4}}, "quantization_config is"),
        ({**SD15, "decay_attention": 0.5}, "decay_attention is 0.5"),
        ({**SD15, "mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block_type is"),
        ({**SD15, "down_block_types": ["KDownBlock2D"] * 4}, "down_block_types is 'KDownBlock2D'"),
        ({**SD15, "up_block_types": ["UpBlock2D"] * 3}, "up_block_types .* each of the 4"),
        ({**SD15, "layers_per_block": [2, 2]}, "layers_per_block .* each of the 4"),
        ({**SD15, "layers_per_block": 0}, "layers_per_block .* whole numbers from 1"),
        ({**SD15, "transformer_layers_per_block": [[1], 1, 1, 1]}, "transformer_layers_per_block"),
        ({**SD15, "cross_attention_dim": [768, 768, 768, 768]}, "cross_attention_dim"),
        ({**SD15, "attention_head_dim": 7}, "attention_head_dim is 7"),
        ({**SD15, "norm_num_groups": 33}, "multiples of norm_num_groups, 33"),
        ({**SD15, "norm_eps": "small"}, "norm_eps"),
        ({**SD15, "block_out_channels": 320}, "block_out_channels"),
        ({**SD15, "block_out_channels": []}, "block_out_channels"),
        ({**SD15, "freq_shift": 160}, "freq_shift is 160"),
        ({**SD15, "in_channels": True}, "in_channels"),
        ({**SD15, "flip_sin_to_cos": 1}, "flip_sin_to_cos"),
        ({**SD15, "sample_size": None}, "no sample_size"),
        ({**SD15, "sample_size": "64"}, "no sample_size"),
        ({"_class_name": "AutoencoderKL", "in_channels": 3}, "describes 'AutoencoderKL'"),
        ({"_class_name": "FluxTransformer2DModel"}, "describes 'FluxTransformer2DModel'"),
        ({"in_channels": 4}, "describes None"),
        ([1, 2], "describes None"),
    ],
)
def test_other_families_are_refused_by_field(config: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        shape_of(tmp_path, config)
    assert str(tmp_path / "config.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        stable_diffusion_shape(tmp_path)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{")
    with pytest.raises(InputError, match="give .*unet"):
        stable_diffusion_shape(tmp_path)
    with pytest.raises(InputError, match="not valid JSON"):
        stable_diffusion_shape(tmp_path / "unet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "flux"}, "kind 'flux'"),
        ({"frames": 0}, "frames is 0"),
        ({"unknown": 1}, "broken"),
        ({"block_out_channels": None}, "block_out_channels"),
        ({"mid_block_type": ["a"]}, "mid_block_type"),
    ],
)
def test_a_broken_space_says_where(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = temporal_space("tiny", shape_of(tmp_path, TINY), (NONE, CONV1D)).to_json()
    path = tmp_path / "space.json"
    path.write_text(json.dumps({**content, "unet": {**content["unet"], **change}}))
    with pytest.raises(InputError, match=message) as error:
        load(str(path))
    assert str(path) in str(error.value)
