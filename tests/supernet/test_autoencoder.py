"""The small autoencoder and VAEs of diffusers: trained, gone on with, opened, refused."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from search_spaces import InputError
from search_spaces.files.document import Json
from supernet import checkpoint
from supernet.autoencoders.autoencoder import ImageAutoencoder, load_autoencoder
from supernet.autoencoders.contract import Autoencoder
from supernet.autoencoders.fingerprint import encoded_picture, shown_blocks
from supernet.autoencoders.opening import open_autoencoder
from supernet.data.clips import Clips
from supernet.training.autoencoder_training import psnr_db, train_autoencoder
from supernet.training.training import state_path
from temporal_bundle.closeness import check_close
from temporal_bundle.made_with import other_autoencoder, other_picture

WEIGHTS = "diffusion_pytorch_model.safetensors"


class Waves:
    """Coloured waves, four frames of 16 x 24 pixels."""

    def clips(self, count: int, seed: int) -> Clips:
        generator = torch.Generator().manual_seed(seed)
        phase = torch.rand(count, 3, 4, 1, 1, generator=generator) * 6
        speed = torch.rand(count, 3, 1, 1, 1, generator=generator) / 2
        x = torch.sin(phase + speed * torch.arange(24) + 0.1 * torch.arange(16)[:, None])
        return Clips(x, torch.zeros(count, 1, 1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "ae.safetensors"
    train_autoencoder(Waves(), path, steps=60)
    return path


@pytest.mark.slow
@pytest.mark.kernels
def test_it_learns_to_show_what_it_saw(trained: Path) -> None:
    autoencoder = load_autoencoder(trained)
    assert psnr_db(autoencoder, Waves()) > psnr_db(ImageAutoencoder().eval(), Waves()) + 3
    clips = [Waves().clips(1, seed).x_BCTHW[0].movedim(0, 1) for seed in range(50)]
    latents = autoencoder.encode(torch.cat(clips))
    assert latents.shape == (200, 4, 2, 3)
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    assert mean.abs().max() < 0.25
    assert (spread - 1).abs().max() < 0.25, "about unit variance, channel by channel"
    assert autoencoder.decode(3 * latents).abs().max() <= 1
    assert not state_path(trained).exists()


@pytest.mark.slow
@pytest.mark.kernels
def test_a_stopped_training_ends_as_if_it_had_not_been(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "ae.safetensors"

    def stop(done: int, _: float) -> None:
        if done == 53:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_autoencoder(Waves(), path, 60, stop)
    assert not path.exists()
    with pytest.raises(InputError, match="an unfinished training of another seed"):
        train_autoencoder(Waves(), path, 60, seed=1)
    with pytest.raises(InputError, match="an unfinished training of another data"):
        train_autoencoder(Waves(), path, 60, notes={"data": "others"})
    seen: list[int] = []
    train_autoencoder(Waves(), path, 60, lambda done, _: seen.append(done))
    assert seen[0] == 51
    assert path.read_bytes() == trained.read_bytes()


@pytest.mark.slow
def test_bad_files_and_sides_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames of 20 x 24 pixels make no whole number .* by 8"):
        load_autoencoder(trained).encode(torch.zeros(1, 3, 20, 24))
    with pytest.raises(InputError, match=r"takes 3 colours \(RGB\); found 1"):
        load_autoencoder(trained).encode(torch.zeros(1, 1, 16, 24))
    with pytest.raises(InputError, match="no such file"):
        open_autoencoder(tmp_path / "none")
    path = tmp_path / "ae.safetensors"
    path.write_bytes(trained.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        open_autoencoder(path)
    found = checkpoint.read(trained)
    checkpoint.write(path, found.tensors, {"holds": "supernet"})
    with pytest.raises(InputError, match="holds a supernet, not an autoencoder"):
        open_autoencoder(path)
    silent = {**found.tensors, "whitened.running_var": torch.zeros(4)}
    checkpoint.write(path, silent, found.notes)
    with pytest.raises(InputError, match="have no variance"):
        open_autoencoder(path)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tiny VAE of diffusers, and the folder that it wrote."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16), norm_num_groups=4, latent_channels=4, scaling_factor=0.5,
        shift_factor=0.25,
    ).eval()  # fmt: skip
    folder = tmp_path_factory.mktemp("diffusers") / "vae"
    vae.save_pretrained(folder)
    return vae, folder


@pytest.mark.slow
@pytest.mark.kernels
def test_a_vae_of_diffusers_gives_what_diffusers_gives(theirs: tuple[Any, Path]) -> None:
    vae, folder = theirs
    ours = open_autoencoder(folder)
    assert (ours.channels, ours.factor) == (4, 4)
    x_NCHW = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        mean = vae.encode(x_NCHW).latent_dist.mean
        shown = vae.decode(mean).sample.clamp(-1, 1)
    latents = ours.encode(x_NCHW)
    check_close(latents, (mean - 0.25) * 0.5)
    check_close(ours.decode(latents), shown)
    with pytest.raises(InputError, match="both sides must divide by 4"):
        ours.encode(torch.zeros(1, 3, 18, 24))


@pytest.mark.kernels
def test_a_tiny_autoencoder_takes_latents_as_networks_have_them(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    parts: Json = {
        "encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8),
        "num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1),
    }  # fmt: skip
    tiny = diffusers.AutoencoderTiny(**parts).eval()
    tiny.save_pretrained(tmp_path / "tiny")
    ours = open_autoencoder(tmp_path / "tiny")
    assert (ours.channels, ours.factor, ours.scaling, ours.shift) == (4, 4, 1, 0)
    assert ours.distilled
    x_NCHW = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        wanted = tiny.encode(x_NCHW).latents
        shown = tiny.decode(wanted).sample.clamp(-1, 1)
    check_close(ours.encode(x_NCHW), wanted)
    check_close(ours.decode(wanted), shown)
    check_close(ours.decoder(wanted).clamp(-1, 1), shown)
    lopsided = diffusers.AutoencoderTiny(**parts, upsampling_scaling_factor=3)
    lopsided.save_pretrained(tmp_path / "lopsided")
    with pytest.raises(InputError, match="what it decodes, it encodes to other sides"):
        open_autoencoder(tmp_path / "lopsided")


@pytest.mark.kernels
def test_names_that_diffusers_used_to_write(theirs: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = theirs
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_bytes((folder / "config.json").read_bytes())
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        renamed = name
        for new, before in names.items():
            renamed = renamed.replace(f".{new}.", f".{before}.")
        square = renamed != name and tensor.dim() == 2
        weights[renamed] = tensor[..., None, None] if square else tensor
    save_file({n: t.half().contiguous() for n, t in weights.items()}, old / WEIGHTS)
    x_NCHW = torch.rand(1, 3, 16, 16)
    found, wanted = open_autoencoder(old).encode(x_NCHW), open_autoencoder(folder).encode(x_NCHW)
    check_close(found, wanted, share=0.01)  # weights of half precision


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was opened')",)


def test_folders_that_are_no_vae_are_refused(
    theirs: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = theirs
    folder = tmp_path / "vae"
    folder.mkdir()
    with pytest.raises(InputError, match=r"config.json is missing"):
        open_autoencoder(folder)
    config = json.loads((whole / "config.json").read_text())

    def refused(match: str, **changes: object) -> None:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(InputError, match=match):
            open_autoencoder(folder)

    refused(
        "is of class 'VQModel'; an AutoencoderKL or AutoencoderTiny is needed",
        _class_name="VQModel",
    )
    refused("is of class .*; an AutoencoderKL or", _class_name=["AutoencoderKL"])
    refused("scaling_factor: expected a number above 0", scaling_factor=0)
    refused("cannot be scaled by 1e-320", scaling_factor=1e-320)
    refused("cannot be scaled by 0.5 after a shift of -1e[+]30", shift_factor=-1e30)
    refused("diffusers makes no AutoencoderKL of it", block_out_channels="wide")
    refused("diffusers makes no AutoencoderKL of it", down_block_types=["Nonsense"] * 3)
    refused("scales each channel by itself", latents_mean=[0.1] * 4, latents_std=[2.0] * 4)
    refused("its weights are quantized", quantization_config={"quant_method": "bitsandbytes"})
    refused("a VAE of images has 3 colours", in_channels=1)
    refused("has no weights")
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    refused("a pickle, which may run code")
    weights = load_file(whole / WEIGHTS)
    save_file({n: t for n, t in weights.items() if "conv_in.bias" not in n}, folder / WEIGHTS)
    refused("lacks 2 tensors")
    first = next(iter(weights))
    save_file({**weights, first: torch.full_like(weights[first], np.nan)}, folder / WEIGHTS)
    refused("holds NaN or infinity")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    refused("pip install diffusers")


def noted(autoencoder: Autoencoder) -> Json:
    """What latents' folders say of an autoencoder."""
    latents = encoded_picture(autoencoder)
    return {
        "scaling": autoencoder.scaling, "shift": autoencoder.shift, "encodes": latents,
        "shows": shown_blocks(autoencoder, latents), "distilled": autoencoder.distilled,
    }  # fmt: skip


def test_an_autoencoder_is_known_by_what_it_encodes_and_shows() -> None:
    """Its weights in another precision are it, those of another seed are not."""
    torch.manual_seed(0)
    one, other = ImageAutoencoder().eval(), ImageAutoencoder().eval()
    own, latents = noted(one), encoded_picture(one)
    assert other_autoencoder(own, noted(other))
    assert other_picture(own, shown_blocks(other, latents))
    assert other_picture(own, shown_blocks(other, latents[:-16])), "of other channels"
    half = ImageAutoencoder().eval()
    half.load_state_dict(one.state_dict())
    half.bfloat16().float()
    assert not other_autoencoder(own, noted(half))
    assert not other_picture(own, shown_blocks(half, latents))
    assert not other_autoencoder({"scaling": 1.0, "shift": 0.0}, own), "an older note"
    assert not other_picture({"scaling": 1.0}, shown_blocks(other, latents)), "an older note"


@pytest.mark.slow
@pytest.mark.kernels
def test_a_decoder_that_was_distilled_serves(trained: Path, tmp_path: Path) -> None:
    """It learns from latents of clips, and is judged by those of a picture that it never saw."""
    diffusers = pytest.importorskip("diffusers")
    teacher = load_autoencoder(trained)
    torch.manual_seed(0)
    student = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(32,) * 4,
        num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4,
    )  # fmt: skip
    own, latents = noted(teacher), encoded_picture(teacher)
    student.save_pretrained(tmp_path / "begun")
    assert other_picture(own, shown_blocks(open_autoencoder(tmp_path / "begun"), latents))
    optimizer = torch.optim.Adam(student.decoder.parameters(), 3e-3)
    for seed in range(200):
        latents_NCHW = teacher.encode(Waves().clips(4, seed).x_BCTHW.movedim(1, 2).flatten(0, 1))
        loss = F.mse_loss(student.decoder(latents_NCHW), teacher.decode(latents_NCHW))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    student.save_pretrained(tmp_path / "student")
    found = open_autoencoder(tmp_path / "student")
    assert not other_picture(own, shown_blocks(found, latents))
    scaled = own | {"scaling": 0.18215}
    assert not other_autoencoder(scaled, {**noted(found), "encodes": latents})
