"""Text encoders and decoders in a budget: predicted by what they are, as a network is."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Call
from runs import SMALL

from examples.tiny_text_encoder import CONFIG, write_model, write_tokenizer
from latency import Device
from latency.predictor.shipped import load_device
from nas.costs.block_costs import BlockCosts
from nas.costs.fixed_parts import FixedPart, PartFolder, parse_part
from nas.costs.limits import Budget, Limits
from nas.costs.part_rows import most_memory, part_rows, parts_in_words
from nas.costs.predicted_parts import PredictedPart, predicted
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.pipeline.stages import pipeline_line
from search_spaces import CONV1D, NONE, InputError, SearchSpace, UNetShape, temporal_space
from supernet import checkpoint
from supernet.autoencoders.autoencoder import KIND, ImageAutoencoder
from supernet.autoencoders.opening import open_autoencoder

SHAPE = UNetShape(
    in_channels=4, channels=(8, 32), frames=7, height=8, width=8, context_tokens=12,
    context_channels=16,
)  # fmt: skip
SPACE = temporal_space("latent", SHAPE, (NONE, CONV1D))
PHONE = "iphone-16-pro-max"


@pytest.fixture(scope="module")
def phone() -> Device:
    return load_device(PHONE)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> PartFolder:
    return PartFolder("text-encoder", str(write_model(tmp_path_factory.mktemp("parts") / "text")))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> PartFolder:
    file = tmp_path_factory.mktemp("parts") / "small.safetensors"
    torch.manual_seed(0)
    checkpoint.write(file, ImageAutoencoder().state_dict(), {"holds": KIND})
    return PartFolder("decoder", str(file))


def kl(folder: Path, channels: int = 4) -> Path:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        block_out_channels=(32, 64), layers_per_block=1, latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.slow
def test_a_decoder_is_priced_frame_by_frame_as_it_is_exported(
    phone: Device, decoder: PartFolder, tmp_path: Path
) -> None:
    small = predicted(decoder, SPACE, phone, None)
    assert small.calls == SHAPE.frames
    assert "7 frames, one a call" in small.source
    assert 0 < small.low_ms < small.latency_ms < small.high_ms
    assert small.weights_mb == pytest.approx(
        2 * sum(p.numel() for p in ImageAutoencoder().decoder.parameters()) / 1e6
    ), "float16"
    for most_mb in (small.memory_mb, 1e6, math.inf):
        assert predicted(decoder, SPACE, phone, most_mb) == small, "room changes nothing"
    with pytest.raises(InputError, match="MB are allowed; give a smaller one") as caught:
        predicted(decoder, SPACE, phone, small.memory_mb / 2)
    assert "\n" not in str(caught.value)
    # A VAE of diffusers: what is traced is what decodes.
    folder = PartFolder("decoder", str(kl(tmp_path / "vae")))
    assert predicted(folder, SPACE, phone, None).weights_mb != small.weights_mb
    opened = open_autoencoder(tmp_path / "vae")
    latents = torch.randn(2, 4, 8, 8)
    whole = opened.decoder(latents / opened.scaling + opened.shift).clamp(-1, 1)
    assert torch.equal(opened.decode(latents), whole)


@pytest.mark.slow
def test_predicted_parts_stand_in_budgets_with_their_bounds(
    phone: Device, text: PartFolder, decoder: PartFolder
) -> None:
    costs = BlockCosts(SpaceCosts(SPACE), phone)
    given = (text, decoder, FixedPart("checker", 2.0))

    def limits(bound: str) -> Limits:
        return resolve(Budget("1000", parts=given, bound=bound), costs)  # type: ignore[arg-type]

    target = limits("prediction").targets[0]
    words, pictures, checker = target.parts
    assert isinstance(words, PredictedPart)
    assert isinstance(pictures, PredictedPart)
    assert [part.kind for part in target.parts] == ["predicted", "predicted", "given"]
    low_ms, high_ms = target.fixed_bounds_ms
    assert high_ms == pytest.approx(words.high_ms + pictures.high_ms + 2)
    assert low_ms < target.fixed_ms < high_ms
    upper = limits("upper")
    counted = upper.limited_ms([costs.slowest], upper.targets[0])[0]
    assert counted == pytest.approx(4 * costs.upper_ms([costs.slowest])[0] + high_ms)
    assert f"decoder {pictures.latency_ms:.4g} ms (predicted)" in pipeline_line(upper)
    rows = part_rows(target.parts)
    pipeline = {"parts": rows, "network_mb": 1e-6}
    assert most_memory(pipeline) == ("the decoder", pictures.memory_mb)
    said = parts_in_words(pipeline)
    assert said is not None
    assert "checker 2 ms (given); the decoder needs most memory" in said
    assert checker.bounds_ms == (2.0, 2.0)


@pytest.mark.slow
def test_parts_of_another_network_are_refused(
    phone: Device, text: PartFolder, decoder: PartFolder, tmp_path: Path
) -> None:
    wide = write_model(tmp_path / "wide", replace(CONFIG, hidden_size=32))
    short = write_tokenizer(write_model(tmp_path / "short"), 6)
    write_tokenizer(write_model(tmp_path / "whole"), 12)
    predicted(PartFolder("text encoder", str(tmp_path / "whole")), SPACE, phone, None)
    cases = {
        "makes 6 tokens of 16 channels, and the networks take 12 of 16": PartFolder(
            "text encoder", str(short)
        ),
        "up to 12 tokens of 32 channels, and the networks take 12 of 16": PartFolder(
            "text encoder", str(wide)
        ),
        "no text encoder \\(config.json is missing\\)": PartFolder("text encoder", str(tmp_path)),
        "decodes latents of 3 channels, and the networks make 4": PartFolder(
            "decoder", str(kl(tmp_path / "vae", 3))
        ),
        "no VAE of diffusers": PartFolder("decoder", str(tmp_path)),
    }
    for says, part in cases.items():
        with pytest.raises(InputError, match=says) as caught:
            predicted(part, SPACE, phone, None)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="has no clips and no context"):
        predicted(decoder, SearchSpace("mine", (*SPACE.choices[:1],)), phone, None)
    with pytest.raises(InputError, match="only text encoder and decoder are predicted"):
        PartFolder("checker", text.path)
    assert parse_part(f"Decoder={decoder.path}") == replace(decoder, name="Decoder")
    with pytest.raises(InputError, match="of the pipeline: no such folder: nowhere; give one, or"):
        parse_part("decoder=nowhere")
    with pytest.raises(InputError, match="or the text encoder's or decoder's folder"):
        parse_part("checker=nowhere")


def test_parts_are_spelled_as_people_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "vae").mkdir()
    assert parse_part("decoder=~/vae") == PartFolder("decoder", str(tmp_path / "vae"))
    with pytest.raises(InputError, match=f"no such folder: {tmp_path}/gone"):
        parse_part("text-encoder=~/gone")
    again = ("text-encoder=540", "Text_Encoder=10")
    with pytest.raises(InputError, match="given twice: text-encoder, Text_Encoder"):
        Budget(parts=tuple(map(parse_part, again)))


@pytest.mark.slow
def test_costs_of_a_pipeline_are_a_table(call: Call, text: PartFolder, decoder: PartFolder) -> None:
    asked = ["costs", "--device", PHONE, "--space", f"{__name__}:SPACE"]
    parts = ["--part", f"text-encoder={text.path}", "--part", f"decoder={decoder.path}"]
    code, printed, said = call(*asked, *parts, "--steps", "2", "--json")
    assert code == 0, said
    found = json.loads(printed)["pipeline"]
    assert [part["kind"] for part in found["parts"]] == ["predicted", "predicted"]
    everything = [*found["parts"], found["network"]]
    for name in ("latency_ms", "low_ms", "high_ms"):
        assert found[name] == pytest.approx(sum(part[name] for part in everything))
    code, printed, said = call(*asked, *parts)
    assert code == 0, said
    assert "a clip by the fastest network: " in printed
    assert "predicted by what small.safetensors is" in " ".join(printed.split())


@pytest.mark.long
def test_a_search_with_a_traced_part_says_so_everywhere(
    call: Call, device_file: Path, supernet_file: Path, tmp_path: Path
) -> None:
    """Of moving digits, whose context has 2 tokens of 10 channels."""
    write_model(tmp_path / "text", replace(CONFIG, hidden_size=10, intermediate_size=20))
    asked = ["search", "--out", "run", "--device", str(device_file)]
    parts = ["--part", f"text-encoder={tmp_path}/text", "--part", "decoder=3"]
    words = [*asked, "--supernet", str(supernet_file), *SMALL, *parts]
    code, printed, said = call(*words)
    assert code == 0, said
    printed = " ".join(printed.split())
    assert "text-encoder" in said
    assert "ms (predicted), decoder 3 ms (given); the " in printed
    report = Path("run/report.html").read_text()
    assert "predicted by what text is: 2 tokens" in report
    assert "MB while it runs" in report
    pipeline = json.loads(Path("run/run.json").read_text())["results"]["pipeline"]
    text, decoder = pipeline["parts"]
    assert (text["kind"], decoder["kind"]) == ("predicted", "given")
    assert pipeline["high_ms"] == pytest.approx(pipeline["network_high_ms"] + text["high_ms"] + 3)
    latency = json.loads(Path("run/bundle/latency.json").read_text())
    assert latency["parts"] == pipeline["parts"]
    manifest = Path("run/bundle/bundle.json").read_text()
    assert str(tmp_path) not in manifest
    code, _, said = call(*words, "--resume")
    assert code == 0, said
    code, _, said = call("bundle", "run", "--trial", "1")
    assert code == 0, said
    handed = json.loads(Path("run/trial-1/latency.json").read_text())
    assert handed["parts"] == pipeline["parts"]
