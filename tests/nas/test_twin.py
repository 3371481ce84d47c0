"""Quality is searched on a narrow twin; costs and the network handed over are of full size."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Made
from safetensors.torch import load_file

import nas as nas_api
from latency.predictor.shipped import load_device
from nas.costs.block_costs import BlockCosts
from nas.costs.feasibility import ADDITIVE
from nas.costs.fixed_parts import FixedPart, parse_part, parts_of, published_parts
from nas.costs.limits import Budget
from nas.costs.published import published_beside
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.temporal.finalists import best_uniform
from nas.temporal.quality import Quality
from nas.temporal.twin import hand_over_twin
from search_spaces import (
    CONV1D,
    KERNEL,
    NONE,
    REPEATS,
    InputError,
    StableDiffusionShape,
    temporal_space,
)
from search_spaces.shipped.loading import published_of
from search_spaces.shipped.snapgen_v import UNET, space
from supernet import (
    TrainingPlan,
    Validation,
    VideoUNet,
    build_backbone,
    load_supernet,
    parameter_count,
    save_backbone,
)
from supernet.data.loading import load_clips
from temporal_bundle.closeness import SHARE, check_close

pytestmark = pytest.mark.long
Call = Callable[..., tuple[int, str, str]]
OPERATORS = (NONE, CONV1D.elastic(KERNEL, REPEATS))


def shape(channels: int, sides: int, frames: int) -> StableDiffusionShape:
    return StableDiffusionShape(
        **{
            **vars(UNET),
            "frames": frames,
            "height": sides,
            "width": sides,
            "context_tokens": 2,
            "cross_attention_dim": 10,
            "block_out_channels": (channels, channels, 2 * channels),
            "attention_head_dim": (2, 2, 2),
            "norm_num_groups": 4,
        }
    )


FULL = temporal_space("full", shape(32, 16, 6), OPERATORS)
TWIN = temporal_space("twin", shape(8, 8, 4), OPERATORS)
OTHER = temporal_space("other", shape(8, 8, 4), (NONE, CONV1D.elastic(KERNEL)))


def settings(**changed: object) -> nas_api.Settings:
    given = {
        "space": f"{__name__}:FULL",
        "twin": f"{__name__}:TWIN",
        "device": "iphone-15-pro",
        "budget": Budget("95%", parts=(FixedPart("decoder", 1.0),)),
        "trials": 4,
        "validation_clips": 6,
        "test_clips": 6,
        "finalist_clips": 12,
        "plan": TrainingPlan(image_steps=3, image_clips=1, video_steps=6, video_clips=2),
    }
    return nas_api.Settings(**{**given, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(made_once: Made) -> Path:
    """A finished run, which several test processes read."""
    return made_once("twin", lambda to: nas_api.search(to / "run", settings())) / "run"


@pytest.mark.kernels
def test_losses_are_the_twin_s_and_costs_the_space_s(run: Path) -> None:
    results = json.loads((run / "run.json").read_text())["results"]
    assert (results["space"], results["quality_space"]) == ("full", "twin")
    costs = BlockCosts(SpaceCosts(FULL), load_device("iphone-15-pro"))
    best = FULL.read_architecture(run / "bundle" / "architecture.json")
    assert best.space == "full"
    winner = results["compared"][0]
    assert winner["predicted_ms"] == pytest.approx(costs.network_ms(best).latency_ms)
    assert results["latency_ms"] == pytest.approx(4 * winner["predicted_ms"] + 1.0)
    assert results["pipeline"]["low_ms"] < results["latency_ms"] < results["pipeline"]["high_ms"]
    supernet = load_supernet(run / "supernet.safetensors", TWIN)
    validation = Validation(load_clips("digits", TWIN.unet, "validation"), 6)
    assert Quality(supernet, validation).loss(best) == pytest.approx(
        results["validation_loss"], rel=SHARE
    )


@pytest.mark.kernels
def test_the_bundle_holds_the_network_of_the_space(run: Path) -> None:
    bundle = run / "bundle"
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["study"]["weights"] == "random: no image U-Net was given"
    assert manifest["study"]["made_with"] == {}, "it learned from no clips"
    assert "random: no image U-Net was given" in (run / "report.html").read_text()
    architecture = FULL.read_architecture(bundle / "architecture.json")
    weights = load_file(bundle / "weights.safetensors")
    network = VideoUNet(FULL, architecture).eval()
    network.load_state_dict(weights)
    assert sum(w.numel() for w in weights.values()) == parameter_count(network)
    program = torch.export.load(bundle / "denoiser.pt2").module()
    program.load_state_dict(weights, strict=True, assign=True)
    torch.manual_seed(0)
    given = torch.randn(3, 4, 5, 16, 16), torch.rand(3), torch.rand(3, 2, 10)
    with torch.inference_mode():
        check_close(program(*given), network(*given))
    # Weights stand in the bundle once.
    programs = sum((bundle / f"{n}.pt2").stat().st_size for n in ("denoiser", "features"))
    bare = sum(w.numel() for w in load_file(bundle / "weights.safetensors").values())
    assert programs < 3_000_000 < bare * 4 + 3_000_000


@pytest.mark.kernels
def test_the_twin_leaves_as_a_bundle_of_what_was_judged(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "twin"
    architecture = hand_over_twin(run, out)
    assert architecture.space == "twin"
    supernet = load_supernet(run / "supernet.safetensors", TWIN)
    torch.manual_seed(0)
    given = torch.randn(2, 4, 4, 8, 8), torch.rand(2), torch.rand(2, 2, 10)
    bundle = nas_api.Bundle.load(out)
    with torch.inference_mode():
        check_close(bundle.network()(*given), supernet(*given, architecture))
    assert "the narrow twin of" in bundle.weights_in_words()
    assert bundle.made_with == {"asked_by": "digits"}
    assert str(tmp_path) not in (out / "bundle.json").read_text()


def test_a_twin_is_asked_for_where_there_is_one(call: Call, finished_run: Path, run: Path) -> None:
    for words, said in (
        ((str(run),), "either --trial N, or --twin"),
        ((str(run), "--twin", "--trial", "1"), "either --trial N, or --twin"),
        ((str(finished_run), "--twin"), "had no twin"),
        ((str(run / "bundle"), "--twin"), "is no folder of a search"),
        ((str(run), "--twin", "--task", "examples.own_network.network:TASK"), "name no task"),
    ):
        code, _, told = call("bundle", *words)
        assert (code, said in told) == (2, True), told
    assert not (finished_run / "twin").exists()


def test_the_report_says_whose_losses_and_draws_the_layout(run: Path) -> None:
    html = (run / "report.html").read_text()
    assert "Losses and clips are those of twin" in html
    assert "best uniform layout" in html
    assert (run / "layout.png").read_bytes()[:4] == b"\x89PNG"
    assert "decoder" in html


def test_a_given_image_unet_is_handed_over(tmp_path: Path) -> None:
    torch.manual_seed(3)
    backbone = build_backbone(FULL.unet)
    save_backbone(backbone, tmp_path / "unet")
    given = settings(backbone=str(tmp_path / "unet"), trials=1, test_clips=2)
    nas_api.search(tmp_path / "run", given)
    found = load_file(tmp_path / "run" / "bundle" / "weights.safetensors")
    for name, wanted in backbone.state_dict().items():
        assert torch.equal(found[f"backbone.{name}"], wanted)
    manifest = (tmp_path / "run" / "bundle" / "bundle.json").read_text()
    assert "the image U-Net of unet" in manifest
    assert str(tmp_path) not in manifest


def test_the_best_uniform_layout_keeps_the_budget(run: Path) -> None:
    limits = resolve(settings().budget, BlockCosts(SpaceCosts(FULL), load_device("iphone-15-pro")))
    supernet = load_supernet(run / "supernet.safetensors", TWIN)
    quality = Quality(supernet, Validation(load_clips("digits", TWIN.unet, "validation"), 4))
    uniform = best_uniform(FULL, limits, quality, limits.problem())
    assert uniform is not None
    assert uniform.loss == quality.loss(uniform.architecture)
    found = uniform.architecture
    assert limits.keeps(found)
    assert len({str(FULL.block(found, slot)) for slot in FULL.slots}) == 1
    dearer = [
        each
        for each in map(FULL.uniform, FULL.blocks())
        if limits.keeps(each) and limits.pipeline_ms(each) > limits.pipeline_ms(found)
    ]
    assert not dearer, "of the one operator the dearest inside the budget"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"twin": f"{__name__}:OTHER"}, "is no twin of 'full'"),
        ({"device": "host"}, "give a `device=`"),
        ({"backbone": "nowhere"}, "no folder of a U-Net"),
        ({"supernet": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"budget": Budget("3", parts=(FixedPart("decoder", 2.5),))}, "and 2.5 ms of decoder"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    changed: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        nas_api.search(tmp_path / "run", settings(**changed))
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["decoder", "decoder=", "=5", "decoder=-1", "decoder=nan", ""])
def test_parts_are_spelled_name_and_ms(text: str) -> None:
    with pytest.raises(InputError, match="NAME=MS"):
        parse_part(text)
    with pytest.raises(InputError, match="given twice"):
        Budget(parts=(FixedPart("a", 1.0), FixedPart("a", 2.0)))


def test_published_parts_follow_clips_and_devices() -> None:
    phone, older = load_device("iphone-16-pro-max"), load_device("iphone-12")
    image = SpaceCosts(space()).backbone.workload
    text, decoder = parts_of(published_parts(space(), phone), None)
    assert decoder.latency_ms == pytest.approx(540, abs=1)  # the 0.54 s of the publication
    assert "scaled" not in decoder.source
    assert "scaled" in text.source
    shorter = parts_of(published_parts(space("snapgen_v(frames=9)", frames=9), phone), None)
    assert shorter[1].latency_ms == pytest.approx(9 * 31.75)
    assert shorter[0] == text, "a text encoder does not see the clip"
    slower = parts_of(published_parts(space(), older), None)
    ratio = older.predict(image).latency_ms / phone.predict(image).latency_ms
    assert slower[1].latency_ms == pytest.approx(ratio * decoder.latency_ms)
    assert parts_of(published_parts(FULL, phone), None) == ()


def test_given_parts_take_the_place_of_those_published() -> None:
    phone = load_device("iphone-16-pro-max")
    text, _ = parts_of(published_parts(space(), phone), None)
    mine = FixedPart("Decoder", 300.0)
    assert parts_of(published_parts(space(), phone), (mine,)) == (text, mine)
    checker = FixedPart("safety checker", 20.0)
    assert parts_of(published_parts(space(), phone), (mine, checker)) == (text, mine, checker)
    typed = FixedPart("text-encoder", 1.0)
    assert parts_of(published_parts(space(), phone), (typed,))[0] == typed
    assert parts_of(published_parts(space(), phone), (FixedPart("none", 0.0),)) == ()
    for wrong in ((FixedPart("none", 5.0),), (FixedPart("none", 0.0), mine)):
        with pytest.raises(InputError, match="give it alone, with 0"):
            parts_of(published_parts(space(), phone), wrong)


def test_layouts_of_the_published_kind_are_predicted_beside_it() -> None:
    published = published_of("snapgen_v")
    assert published is not None
    full = space()
    used = {block for blocks in published.layouts.values() for block in blocks}
    small = tuple(
        replace(o, settings=()) if o.module == "" else o
        for o in full.operators
        if o.name == "none" or any(each.startswith(f"{o.name}(") for each in used)
    )
    costs = BlockCosts(SpaceCosts(replace(full, operators=small)), load_device("iphone-16-pro-max"))
    limits = resolve(Budget("4120", parameters=600_000_000), costs, feasibility=ADDITIVE)
    found = published_beside(costs, limits)
    assert found is not None
    assert (found["latency_ms"], found["parameters"]) == (4120.0, 600_000_000)
    for row in found["layouts"]:
        assert row["low_ms"] < row["latency_ms"] < row["high_ms"]
        high, low = row["blocks"]["down0"], row["blocks"]["mid"]
        assert "1d" in high
        assert low.startswith("self_attention3d")
    eight = resolve(Budget("99%", steps=8), costs, feasibility=ADDITIVE)
    assert published_beside(costs, eight) is None, "of four steps alone"
