"""`--video-encoder`: a Fréchet distance on the features of a network of the user's."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Call
from safetensors.torch import load_file, save_file
from tiny_encoder import (
    FEATURES,
    FRAMES,
    PREPROCESSOR,
    SCALING,
    SHIFT,
    SIDE,
    at_random,
    write_vae,
    write_video_encoder,
)
from toy import bars

from adversarial_finetune.errors import InputError
from adversarial_finetune.evaluation import EncodedData
from adversarial_finetune.video_encoder import open_video_encoder
from temporal_bundle import sha256
from temporal_bundle.closeness import check_close

FEW = ("--stage-one-steps", "2", "--stage-two-steps", "2", "--clips-per-step", "2")
JUDGED = ("--clips", "12", "--classifier-steps", "2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder, and the model of transformers that was saved there."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    return folder, write_video_encoder(folder).videomae


@pytest.fixture
def encoder(model: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(model[0], tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def tuned(bundle: Path, clips: Path, call: Call) -> Path:
    """A bundle with tuned weights, and their run in `run`."""
    assert call("train", bundle, "--data", clips, "--out", "run", *FEW)[0] == 0
    return bundle


def pictures(count: int, colours: int = 3, side: int = SIDE, frames: int = FRAMES) -> torch.Tensor:
    """Clips (N, C, T, H, W) of bytes, from 0 to 255."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, colours, frames, side, side), generator=generator).float()


def features(folder: Path, x_NCTHW: torch.Tensor, decoder: Path | None = None) -> torch.Tensor:
    return open_video_encoder(folder, x_NCTHW.shape[1], "cpu", decoder).features([x_NCTHW])


def changed(file: Path, **fields: Any) -> None:
    """A JSON file with some fields otherwise."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@torch.no_grad()
def test_features_are_those_of_transformers(model: tuple[Path, Any]) -> None:
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    folder, own = model
    processor = VideoMAEImageProcessorPil.from_pretrained(folder)
    encoder = open_video_encoder(folder, 3, "cpu")
    for side in (SIDE, SIDE // 2, SIDE * 3):
        seen = pictures(10, side=side)
        frames = [list(each.permute(1, 2, 3, 0).byte().numpy()) for each in seen]
        wanted = torch.cat([processor(each, return_tensors="pt").pixel_values for each in frames])
        pixels = encoder.preprocessing.pixels(seen / 127.5 - 1)
        # Theirs are rounded to bytes once they were resized.
        byte = 1 / 255 / min(PREPROCESSOR["image_std"])  # type: ignore[type-var]
        assert (pixels - wanted).abs().max() < (1e-4 if side == SIDE else 1.01 * byte), side
        check_close(features(folder, seen / 127.5 - 1), own(pixels).last_hidden_state.mean(1))


def test_grey_clips_of_any_length_and_shape_are_seen(model: tuple[Path, Any]) -> None:
    grey = pictures(2, colours=1, side=6, frames=7)[..., :5] / 127.5 - 1
    found = features(model[0], grey)
    assert found.shape == (2, FEATURES)
    assert torch.equal(features(model[0], grey.expand(-1, 3, -1, -1, -1)), found)
    check_close(features(model[0], grey[:, :, [0, 2, 4, 6]]), found)
    assert torch.equal(features(model[0], grey * 3), features(model[0], (grey * 3).clamp(-1, 1)))


def test_a_set_has_no_distance_to_itself(model: tuple[Path, Any]) -> None:
    encoder = open_video_encoder(model[0], 1, "cpu")
    one, other = (bars(24, seed)[0].float() for seed in (0, 1))
    data = EncodedData(encoder, encoder.features([one]))
    told: list[int] = []
    near, same = data.distance([other], told.append), data.distance([one], told.append)
    far = data.distance([-other.roll(3, -1)], told.append)
    assert abs(same) < 1e-6 * far
    assert near < 1e-3 * far  # bars that move as well, and bars that are dark
    assert told[:3] == [8, 16, 24]


def test_it_stands_beside_the_classifiers(
    tuned: Path, clips: Path, encoder: Path, call: Call
) -> None:
    asked = ("evaluate", "run", tuned, "--data", clips, *JUDGED)
    code, printed, said = call(*asked, "--video-encoder", encoder)
    assert code == 0, said
    assert "by encoder" in printed.splitlines()[0]
    assert "of videomae" in printed
    assert f"12 clips for {FEATURES} features: the covariance is singular" in printed
    found = json.loads(Path("run/figures.json").read_text())
    assert json.loads((tuned / "finetuned.json").read_text())["figures"] == found
    told = found["video_encoder"]
    assert told["sha256"] == sha256(encoder / "model.safetensors")
    assert (told["model_type"], told["features"], told["clips"]) == ("videomae", FEATURES, 12)
    assert told["pooling"] == "mean of the last hidden state"
    rows = found["samplers"]
    assert rows[0]["sampler"] == "other clips of it"
    assert min(row["frechet_video_encoder"] for row in rows) == rows[0]["frechet_video_encoder"]
    assert call(*asked, "--clips", "20", "--json")[0] == 0
    found = json.loads(Path("run/figures.json").read_text())
    assert "video_encoder" not in found
    assert {row["frechet_video_encoder"] for row in found["samplers"]} == {None}


def test_an_ablation_is_judged_by_one_encoder(
    bundle: Path, clips: Path, encoder: Path, call: Call
) -> None:
    one = ("--variants", "spatial heads only", "--seeds", "0", *FEW, *JUDGED)
    asked = ("ablate", bundle, "--data", clips, "--out", "ablation", *one)
    code, printed, said = call(*asked, "--video-encoder", encoder, "--json")
    assert code == 0, said
    found = json.loads(printed)
    assert found["video_encoder"]["model_type"] == "videomae"
    assert all(row["frechet_video_encoder"] > 0 for row in found["rows"])
    code, _, said = call(*asked)
    assert (code, said.count("\n")) == (2, 1)
    assert "was judged with video_encoder" in said


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "part"),
    [("VideoMAEForVideoClassification", "videomae"), ("TimesformerForVideoClassification", "")],
)
def test_other_heads_and_kinds_are_taken(kind: str, part: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    saved = write_video_encoder(tmp_path, kind)
    own = getattr(saved, part or "timesformer")
    encoder = open_video_encoder(tmp_path, 3, "cpu")
    seen = pictures(3) / 127.5 - 1
    wanted = own(encoder.preprocessing.pixels(seen)).last_hidden_state.mean(1)
    check_close(encoder.features([seen]), wanted)


def test_nothing_of_the_folder_is_executed(model: tuple[Path, Any], encoder: Path) -> None:
    changed(
        encoder / "config.json",
        auto_map={"AutoModel": "modeling_evil.Evil"},
        quantization_config={"quant_method": "bitsandbytes"},
        attn_implementation="somebody/kernels",
        _attn_implementation="somebody/kernels",
    )
    (encoder / "modeling_evil.py").write_text("raise SystemExit")
    (encoder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    seen = pictures(2) / 127.5 - 1
    assert torch.equal(features(encoder, seen), features(model[0], seen))


def test_weights_that_would_stay_at_random_are_refused(encoder: Path) -> None:
    file = encoder / "model.safetensors"
    whole = load_file(file)
    one = "encoder.layer.1.layernorm_after.weight"
    body, beyond = f"videomae.{one}", f"videomae.{one.replace('1', '2')}"
    cases: dict[str, dict[str, torch.Tensor]] = {
        "holds no weights for 1 of its tensors": {n: t for n, t in whole.items() if n != body},
        "holds no weights for 32 of its tensors": {f"net.{n}": t for n, t in whole.items()},
        "no place for 1 of its weights, first 'videomae.encoder.layer.2": whole
        | {beyond: torch.zeros(9)},
        "no place for 1 of its weights, first 'encoder.layer.1": whole | {body: torch.zeros(3)},
        "NaN or infinite": whole | {body: whole[body] / 0},
    }
    for says, weights in cases.items():
        save_file(weights, file)
        with pytest.raises(InputError, match=says) as caught:
            open_video_encoder(encoder, 3, "cpu")
        assert "\n" not in str(caught.value)
    save_file(whole, file)
    changed(encoder / "config.json", image_size=[SIDE, SIDE, SIDE])
    with pytest.raises(InputError, match="sees no frames of height, width and 3 colours"):
        open_video_encoder(encoder, 3, "cpu")
    file.write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="is short, or no safetensors file"):
        open_video_encoder(encoder, 3, "cpu")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"config": {"model_type": "vivit"}}, "takes videomae or timesformer"),
    "a list": ({"config": {"model_type": ["videomae"]}}, "takes videomae or timesformer"),
    "pickles": ({"weights": "pytorch_model.bin"}, "holds no model.safetensors"),
    "parts": ({"weights": "model.safetensors.index.json"}, "holds no model.safetensors"),
    "no weights": ({"weights": None}, "holds no model.safetensors"),
    "no config": ({"config": None}, "config.json is missing"),
    "no deviation": ({"preprocessor": {"image_std": [0, 1, 1]}}, "std above 0"),
    "words": ({"preprocessor": {"image_mean": "imagenet"}}, "3 numbers each"),
    "shifted": ({"preprocessor": {"rescale_factor": 1 / 127.5}}, "not in [0, 1]"),
}


def write_folder(
    folder: Path,
    config: dict[str, Any] | None = {"model_type": "videomae"},  # noqa: B006
    weights: str | None = "model.safetensors",
    preprocessor: dict[str, Any] | None = None,
) -> Path:
    """A folder that is refused before any weights are read, without transformers."""
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if weights is not None:
        save_file({"any": torch.zeros(1)}, folder / weights)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def test_what_is_no_encoder_is_refused_in_one_line_before_anything_is_written(
    tuned: Path, clips: Path, call: Call
) -> None:
    def files() -> dict[Path, float]:
        folders = (Path("run"), tuned)
        return {file: file.stat().st_mtime for each in folders for file in each.iterdir()}

    before = files()
    cases = {
        name: (("--video-encoder", write_folder(Path(name), **parts)), says)
        for name, (parts, says) in REFUSED.items()
    }
    cases["nowhere"] = ("--video-encoder", "nowhere"), "nowhere: is no folder of a video encoder"
    cases["alone"] = ("--decoder", "nowhere"), "is for --video-encoder, which is not given"
    for name, (flags, says) in cases.items():
        code, printed, said = call("evaluate", "run", tuned, "--data", clips, *JUDGED, *flags)
        assert (code, printed, said.count("\n")) == (2, "", 1), name
        assert says in said, name
    assert files() == before


def test_latents_want_a_decoder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "encoder")
    with pytest.raises(InputError, match=r"clips of 4 channels are latents, .* --decoder"):
        open_video_encoder(folder, 4, "cpu")


@torch.no_grad()
def test_latents_are_seen_as_what_they_decode_to(model: tuple[Path, Any], tmp_path: Path) -> None:
    vae = write_vae(tmp_path, channels=2)
    latents = torch.randn(2, 2, FRAMES, 8, 8)
    frames = latents.transpose(1, 2).flatten(0, 1) / SCALING + SHIFT
    decoded = vae.decode(frames).sample.unflatten(0, (2, FRAMES)).transpose(1, 2)
    wanted = features(model[0], decoded)
    check_close(features(model[0], latents, tmp_path), wanted)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    pattern = re.compile("|".join(map(re.escape, old)))
    save_file({pattern.sub(lambda m: old[m[0]], n): t for n, t in weights.items()}, file)
    check_close(features(model[0], latents, tmp_path), wanted)  # SD 1.x and 2.x are stored so
    changed(tmp_path / "config.json", scaling_factor=1e-320)
    with pytest.raises(InputError, match="latents cannot be scaled by 1e-320"):
        features(model[0], latents, tmp_path)
    changed(tmp_path / "config.json", scaling_factor=1.0, latents_std=[2.0, 2.0])
    with pytest.raises(InputError, match="scales each channel by itself"):
        features(model[0], latents, tmp_path)
    changed(tmp_path / "config.json", latents_std=None)
    assert not torch.allclose(features(model[0], latents, tmp_path), wanted)
    with pytest.raises(InputError, match="of latents of 2 channels; clips have 4 channels"):
        features(model[0], latents.repeat(1, 2, 1, 1, 1), tmp_path)
    save_file({n: t for n, t in weights.items() if "decoder.conv_in" not in n}, file)
    with pytest.raises(InputError, match="holds no weights for 2 of its tensors"):
        features(model[0], latents, tmp_path)
    file.rename(tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds no diffusion_pytorch_model\.safetensors"):
        features(model[0], latents, tmp_path)
    changed(tmp_path / "config.json", _class_name="VQModel")
    with pytest.raises(InputError, match="is of no plain AutoencoderKL or AutoencoderTiny"):
        features(model[0], latents, tmp_path)


@torch.no_grad()
def test_a_tiny_decoder_takes_latents_as_they_are(model: tuple[Path, Any], tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    tiny = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4, 4), decoder_block_out_channels=(4, 4),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=2,
    )  # fmt: skip
    at_random(tiny)
    tiny.eval().save_pretrained(tmp_path)
    latents = torch.randn(2, 2, FRAMES, 8, 8)
    frames = latents.transpose(1, 2).flatten(0, 1)
    decoded = tiny.decode(frames).sample.unflatten(0, (2, FRAMES)).transpose(1, 2)
    check_close(features(model[0], latents, tmp_path), features(model[0], decoded))
    changed(tmp_path / "config.json", upsample_fn="nonsense")
    with pytest.raises(InputError, match="nonsense"):
        features(model[0], latents, tmp_path)


@pytest.mark.skipif(find_spec("transformers") is not None, reason="it is installed")
def test_it_is_refused_where_nothing_can_run_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pip install 'adversarial-finetune\[video-encoder\]'"):
        open_video_encoder(write_folder(tmp_path / "encoder"), 1, "cpu")
