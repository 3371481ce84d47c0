"""Folders of diffusers: opened, saved again, and refused when something is wrong with them."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_unets import small_shape, write_config

from nas.testing.operators import randomised
from search_spaces import (
    CONV1D,
    NONE,
    InputError,
    TemporalSpace,
    UNetShape,
    load,
    stable_diffusion_shape,
    temporal_space,
)
from supernet import (
    ImageUNet,
    Supernet,
    VideoUNet,
    build_backbone,
    checkpoint,
    load_backbone,
    load_supernet,
    open_backbone,
    save_backbone,
)
from temporal_bundle.closeness import check_close

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
SMALL_SHARDS = 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    backbone = randomised(build_backbone(small_shape(tmp_path / "config")))
    save_backbone(backbone, tmp_path / "unet")
    return tmp_path / "unet"


def test_a_folder_opens_as_it_was_saved(folder: Path, tmp_path: Path) -> None:
    first = open_backbone(folder)
    save_backbone(first, tmp_path / "again")
    again = open_backbone(tmp_path / "again")
    assert again.shape == first.shape
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert {f.name for f in folder.iterdir()} == {"config.json", WEIGHTS}
    assert not list(tmp_path.glob(".*")), "nothing temporary is left"


def test_large_weights_are_saved_in_shards(folder: Path, tmp_path: Path) -> None:
    backbone = open_backbone(folder)
    save_backbone(backbone, tmp_path / "shards", shard_bytes=SMALL_SHARDS)
    index = json.loads((tmp_path / "shards" / INDEX).read_text())
    assert len(set(index["weight_map"].values())) > 3
    assert index["metadata"]["total_size"] == sum(w.nbytes for w in backbone.parameters())
    again = open_backbone(tmp_path / "shards")
    for name, weight in backbone.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


@pytest.mark.kernels
def test_diffusers_opens_what_is_saved_and_gives_the_same(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    for name, shard_bytes in (("BK-SDM tiny", SMALL_SHARDS), ("BK-SDM v2, two stages", 10**9)):
        ours = randomised(build_backbone(small_shape(tmp_path / "config", name))).eval()
        save_backbone(ours, tmp_path / name, shard_bytes=shard_bytes)
        theirs = diffusers.UNet2DConditionModel.from_pretrained(
            str(tmp_path / name), local_files_only=True, low_cpu_mem_usage=False
        ).eval()
        assert theirs.config.mid_block_type == ours.shape.mid_block_type
        x_NCHW, context_NLC = torch.randn(2, 4, 9, 6), torch.randn(2, 5, 24)
        with torch.inference_mode():
            wanted = theirs(x_NCHW, torch.tensor([17, 900]), context_NLC).sample
            found = ours(x_NCHW, torch.tensor([0.017, 0.9]), context_NLC)
        check_close(found, wanted, name)
        theirs.save_pretrained(tmp_path / f"{name} by diffusers")
        again = open_backbone(tmp_path / f"{name} by diffusers", ours.shape).eval()
        with torch.inference_mode():
            check_close(again(x_NCHW, torch.tensor([0.017, 0.9]), context_NLC), found)


@pytest.mark.long
def test_a_moving_average_that_diffusers_saved_opens(folder: Path, tmp_path: Path) -> None:
    """Its config.json holds the average's settings beside the network's."""
    diffusers = pytest.importorskip("diffusers")
    training = pytest.importorskip("diffusers.training_utils")
    kind = diffusers.UNet2DConditionModel
    theirs = kind.from_pretrained(str(folder), local_files_only=True, low_cpu_mem_usage=False)
    average = training.EMAModel(theirs.parameters(), model_cls=kind, model_config=theirs.config)
    average.step(theirs.parameters())
    average.save_pretrained(str(tmp_path / "ema"))
    assert json.loads((tmp_path / "ema" / "config.json").read_text())["inv_gamma"] == 1.0
    for name, weight in open_backbone(tmp_path / "ema").state_dict().items():
        assert torch.equal(weight, open_backbone(folder).state_dict()[name])


def test_half_precision_is_read_and_kept(folder: Path) -> None:
    weights = {name: weight.half() for name, weight in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / "diffusion_pytorch_model.fp16.safetensors")
    (folder / WEIGHTS).unlink()
    for dtype, wanted in (
        (torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (None, torch.float16),
    ):  # fmt: skip
        backbone = open_backbone(folder, dtype=dtype)
        assert {weight.dtype for weight in backbone.parameters()} == {wanted}
        time, context = torch.tensor([0.5]), torch.zeros(1, 5, 24, dtype=wanted)
        with torch.inference_mode():
            assert backbone(torch.zeros(1, 4, 8, 6, dtype=wanted), time, context).dtype == wanted


def test_what_stands_there_is_not_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    backbone = open_backbone(folder)
    with pytest.raises(InputError, match="exists already"):
        save_backbone(backbone, folder)
    save_backbone(backbone, folder, overwrite=True, shard_bytes=SMALL_SHARDS)
    assert not (folder / WEIGHTS).exists(), "nothing of the old one is left"
    (folder / "README.md").touch()
    with pytest.raises(InputError, match=r"holds 'README.md' too"):
        save_backbone(backbone, folder, overwrite=True)
    with pytest.raises(InputError, match="not a plain folder"):
        save_backbone(backbone, folder / "README.md", overwrite=True)
    with pytest.raises(InputError, match="diffusers knows no ImageUNet"):
        save_backbone(ImageUNet(UNetShape(1, (8,), 2, 8, 8, 2, 10)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_space_takes_its_backbone_from_a_folder(folder: Path) -> None:
    space = small_space(folder)
    backbone = load_backbone(folder, space)
    assert backbone.shape == space.unet
    other = temporal_space(
        "wide", replace(stable_diffusion_shape(folder), cross_attention_dim=32), (NONE, CONV1D)
    )
    with pytest.raises(InputError, match="cross_attention_dim is 24, and 32 is wanted"):
        load_backbone(folder, other)
    digits = load("moving_digits")
    assert isinstance(digits, TemporalSpace)
    with pytest.raises(InputError, match="the space has another kind"):
        load_backbone(folder, digits)


def test_checkpoints_over_such_a_backbone_open_again(folder: Path, tmp_path: Path) -> None:
    space = small_space(folder)
    supernet = Supernet(space, open_backbone(folder, space.unet))
    notes = {"holds": "supernet", "space": space.to_json()}
    checkpoint.write(tmp_path / "supernet.safetensors", supernet.state_dict(), notes)
    found = load_supernet(tmp_path / "supernet.safetensors", space)
    for name, weight in supernet.state_dict().items():
        assert torch.equal(weight, found.state_dict()[name])
    architecture = space.uniform(space.parse_block("conv1d"))
    network = found.extract(architecture)
    checkpoint.write(tmp_path / "network.safetensors", network.state_dict(), notes)
    again = VideoUNet(space, architecture)
    read = checkpoint.read(tmp_path / "network.safetensors")
    checkpoint.load_weights(again, read.tensors, tmp_path)
    assert checkpoint.backbone_fits(space.unet, read.notes)


def small_space(folder: Path) -> TemporalSpace:
    shape = stable_diffusion_shape(folder, frames=3, height=8, width=6, context_tokens=5)
    return temporal_space("small", shape, (NONE, CONV1D))


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def pickled(folder: Path) -> None:
    without_weights(folder)
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))


def truncated(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{]")


def of_another_family(folder: Path) -> None:
    write_config(folder, addition_embed_type="text_time")


def changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = {name: weight.clone() for name, weight in load_file(folder / WEIGHTS).items()}
        change(weights)
        save_file(weights, folder / WEIGHTS)

    damage.__name__ = change.__name__
    return damage


def a_missing_tensor(weights: dict[str, torch.Tensor]) -> None:
    del weights["conv_in.bias"]


def an_extra_tensor(weights: dict[str, torch.Tensor]) -> None:
    weights["class_embedding.weight"] = torch.zeros(1)


def another_shape(weights: dict[str, torch.Tensor]) -> None:
    weights["conv_in.bias"] = torch.zeros(7)


def not_a_number(weights: dict[str, torch.Tensor]) -> None:
    weights["conv_in.bias"][3] = float("nan")


def whole_numbers(weights: dict[str, torch.Tensor]) -> None:
    weights["conv_in.bias"] = weights["conv_in.bias"].int()


def indexed(content: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        names = load_file(folder / WEIGHTS).keys()
        (folder / WEIGHTS).rename(folder / "part.safetensors")
        places: object = dict.fromkeys(names, content) if isinstance(content, str) else content
        (folder / INDEX).write_text(json.dumps({"weight_map": places}))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_config, r"config\.json: no such file"),
        (no_json, r"config\.json: not valid JSON"),
        (of_another_family, "addition_embed_type"),
        (without_weights, "has no weights"),
        (pickled, r"model\.bin: a pickle, which may run code"),
        (truncated, "not a whole safetensors file"),
        (empty, "not a whole safetensors file"),
        (changed(a_missing_tensor), r"lacks 1 tensors, first 'conv_in\.bias'"),
        (changed(an_extra_tensor), r"1 tensors too many, first 'class_embedding\.weight'"),
        (changed(another_shape), r"'conv_in\.bias' has shape \(7,\), the network wants \(32,\)"),
        (changed(not_a_number), r"'conv_in\.bias' holds NaN or infinity"),
        (changed(whole_numbers), r"'conv_in\.bias' holds torch\.int32"),
        (indexed("lost.safetensors"), r"lost\.safetensors: no such file, though the index names"),
        (indexed("../unet/part.safetensors"), "is no name of a safetensors file"),
        (indexed("/etc/part.safetensors"), "is no name of a safetensors file"),
        (indexed(".."), "is no name of a safetensors file"),
        (indexed([1, 2]), "not an index of shards"),
        (indexed({"conv_in.bias": 3}), "'3' is no name"),
        (indexed({"conv_in.lost": "part.safetensors"}), "lacks 'conv_in.lost', which the index"),
        (indexed({"conv_in.bias": "part.safetensors"}), "lacks .* tensors, first"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(
    damage: Callable[[Path], None], message: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        open_backbone(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_that_a_narrower_type_cannot_hold_are_named(folder: Path) -> None:
    changed(lambda weights: weights["conv_in.bias"].fill_(1e6))(folder)
    with pytest.raises(InputError, match=r"infinity in torch\.float16"):
        open_backbone(folder, dtype=torch.float16)
