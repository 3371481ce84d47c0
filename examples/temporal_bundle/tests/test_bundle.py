"""A bundle is opened as what it is, or refused in one line before anything of it is loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import load_file, save_file

from temporal_bundle import FINETUNED_FORMAT, FORMAT, BundleError, open_bundle, schema, sha256
from temporal_bundle.closeness import check_close
from temporal_bundle.manifest import MOST_GUIDANCE, MOST_TIMES
from temporal_bundle.testing import Network, write_manifest, write_tuning


def test_the_programs_are_the_network(made: Path) -> None:
    opened = open_bundle(made)
    assert opened.clip_shape == (1, 4, 8, 8)
    assert opened.context_shape == (2, 3)
    network = Network()
    network.load_state_dict(load_file(made / "weights.safetensors"))
    denoiser, features = opened.denoiser(opened.weights()), opened.features(opened.weights())
    for clips, frames in ((1, 1), (3, 4), (2, 7)):
        case = torch.randn(clips, 1, frames, 8, 8), torch.rand(clips), torch.rand(clips, 2, 3)
        check_close(denoiser(*case), network(*case))
        for ours, theirs in zip(features(*case), network.stages(*case), strict=True):
            check_close(ours, theirs)
    denoiser(*case).sum().backward()
    assert all(p.grad is not None for p in denoiser.parameters())
    assert not any(p.requires_grad for p in features.parameters())


def test_limits_of_a_sampler_are_those_of_the_schema() -> None:
    sampler = schema(FINETUNED_FORMAT)["properties"]["sampler"]["properties"]
    assert sampler["times"]["maxItems"] == MOST_TIMES
    assert (-sampler["guidance"]["minimum"], sampler["guidance"]["maximum"]) == (MOST_GUIDANCE,) * 2


def test_networks_of_one_program_share_nothing(made: Path) -> None:
    opened = open_bundle(made)
    weights = opened.weights()
    learns, stays = opened.denoiser(weights), opened.denoiser(opened.weights())
    case = torch.randn(1, 1, 4, 8, 8), torch.rand(1), torch.rand(1, 2, 3)
    before = stays(*case)
    learns(*case).sum().backward()
    with torch.no_grad():
        for parameter in learns.parameters():
            parameter.add_(1.0)
    stays.requires_grad_(False)
    assert torch.equal(stays(*case), before)
    assert all(p.grad is None for p in stays.parameters())
    assert all(p.requires_grad for p in learns.parameters())
    learns.graph.erase_node(learns.graph.output_node())  # who cuts a program up changes it
    assert torch.equal(opened.denoiser(opened.weights())(*case), before)


def test_the_programs_stand_on_other_devices(made: Path) -> None:
    """None of their constants stays behind; "meta" is the other device that is everywhere."""
    opened = open_bundle(made)
    case = (torch.zeros(3, 1, 4, 8, 8), torch.zeros(3), torch.zeros(3, 2, 3))
    there = [tensor.to("meta") for tensor in case]
    assert opened.denoiser(opened.weights(), "meta")(*there).device.type == "meta"
    stages = opened.features(opened.weights(), "meta")(*there)
    assert [tuple(each.shape) for each in stages] == [(3, 8, 4, 8, 8), (3, 16, 4, 4, 4)]


def flip(folder: Path) -> None:
    data = bytearray((folder / "denoiser.pt2").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "denoiser.pt2").write_bytes(data)


def listing(folder: Path, name: str) -> None:
    files = json.loads((folder / "bundle.json").read_text())["files"]
    write_manifest(folder, files=files | {name: "0" * 64})


def link(folder: Path) -> None:
    (folder / "latency.json").unlink()
    (folder / "latency.json").symlink_to("/etc/hostname")


def network_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "bundle.json").read_text())["network"]
    return found


def text(content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "bundle.json").write_text(content)


def pointer(folder: Path) -> None:
    (folder / "denoiser.pt2").write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "newer": (lambda f: write_manifest(f, version="2.0"), "version 2.0 is newer"),
    "older": (lambda f: write_manifest(f, version="0.9"), "version 0.9 is none of 1.x"),
    "no version": (lambda f: write_manifest(f, version="one"), "is not MAJOR.MINOR"),
    "another format": (lambda f: write_manifest(f, format="zip"), "expected format"),
    "missing": (lambda f: (f / "features.pt2").unlink(), "lacks features.pt2"),
    "not listed": (lambda f: write_manifest(f, files={}), "files must list the sha256 of"),
    "changed byte": (flip, "denoiser.pt2: was changed since"),
    "climbs out": (lambda f: listing(f, "../clips"), "is no file name"),
    "long name": (lambda f: listing(f, "a" * 300), "is no file name"),
    "link": (link, "is a link"),
    "not fetched": (pointer, "denoiser.pt2: is a Git LFS pointer .*; fetch it: git lfs pull"),
    "no network": (lambda f: write_manifest(f, network={}), "network: is not as version 1 has it"),
    "no features": (
        lambda f: write_manifest(f, network=network_of(f) | {"features": []}),
        "network: is not as version 1 has it",
    ),
    "no JSON": (text("{"), "not valid JSON"),
    "a list": (text("[]"), "expected a JSON object"),
    "no number": (text('{"a": NaN}'), "not valid JSON: NaN is not allowed"),
    "infinite": (text('{"a": [-1e999]}'), "not valid JSON: -1e999 is not allowed"),
    "deep": (text("[" * 200_000), "not valid JSON"),
    "large": (text(" " * (2**22 + 1)), "no bundle needs"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_that_is_wrong_is_refused_in_one_line(case: str, bundle: Path) -> None:
    change, says = CASES[case]
    change(bundle)
    with pytest.raises(BundleError, match=says) as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_what_stands_beside_a_bundle_is_told_from_one(bundle: Path) -> None:
    run = bundle.parent
    (run / "run.json").write_text("{}")
    with pytest.raises(BundleError, match=f"folder of a search; give its bundle, {bundle}"):
        open_bundle(run)
    for file in ("bundle.json", "denoiser.pt2"):
        with pytest.raises(BundleError, match=f"is a file; give the bundle's folder, {bundle}"):
            open_bundle(bundle / file)
    with pytest.raises(BundleError, match="no such folder"):
        open_bundle(run / "nowhere")
    (bundle / "bundle.json").unlink()
    for folder in (run, bundle):
        with pytest.raises(BundleError, match=r"lacks bundle\.json; give the folder bundle of"):
            open_bundle(folder)


def test_weights_of_another_network_are_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    weights = opened.weights()
    with pytest.raises(BundleError, match="they are another network's"):
        opened.denoiser({**weights, "enter.weight": torch.zeros(3)})
    with pytest.raises(BundleError, match="1 tensors too many"):
        opened.denoiser({**weights, "stranger": torch.zeros(3)})


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.full((8,), float("nan")), "holds NaN"),
        (torch.full((8,), 1e5), "beyond float16"),
        (torch.zeros(8, dtype=torch.float64), "is of F64, not F32, F16, BF16"),
        (torch.zeros(8, dtype=torch.int8), "is of I8, not"),
        (torch.zeros(8, dtype=torch.float8_e4m3fn), "is of F8_E4M3, not"),
        (torch.zeros(8, dtype=torch.complex64), "is of C64, not"),
    ],
)
def test_weights_that_are_no_numbers_of_a_network_are_refused(
    tensor: torch.Tensor, says: str, bundle: Path
) -> None:
    save_file({"fine": torch.zeros(2), "enter.bias": tensor}, bundle / "weights.safetensors")
    write_manifest(bundle)
    with pytest.raises(BundleError, match=f"'enter.bias' {says}|{says}"):
        open_bundle(bundle).weights()


def test_the_best_weights_are_the_tuned_ones(bundle: Path) -> None:
    searched = open_bundle(bundle)
    assert searched.chosen().which == "searched"
    with pytest.raises(BundleError, match="holds no tuned weights"):
        searched.weights("tuned")
    write_tuning(bundle)
    opened, before = open_bundle(bundle), searched.weights()
    for which, added in (("best", 0.5), ("tuned", 0.5), ("searched", 0.0)):
        found = opened.weights(which)  # type: ignore[arg-type]
        torch.testing.assert_close(found["enter.bias"], before["enter.bias"] + added)
    chosen = opened.chosen()
    assert (chosen.which, chosen.sha256) == ("tuned", sha256(bundle / "finetuned.safetensors"))
    assert chosen.bundle == sha256(bundle / "bundle.json")


def test_half_of_a_tuning_is_never_taken_for_none(bundle: Path) -> None:
    write_tuning(bundle)
    (bundle / "finetuned.json").unlink()
    opened = open_bundle(bundle)
    assert opened.half_tuned
    for which in ("best", "tuned"):
        with pytest.raises(BundleError, match=r"finetuned\.safetensors without finetuned\.json"):
            opened.weights(which)
    assert opened.chosen("searched").which == "searched"
    opened.weights("searched")


def test_tuned_weights_of_another_bundle_are_refused(bundle: Path) -> None:
    cases: dict[str, Callable[[], object]] = {
        "tuned from another bundle": lambda: write_tuning(bundle, bundle="0" * 64),
        "is newer": lambda: write_tuning(bundle, version="2.0"),
        "was changed since": lambda: write_tuning(
            bundle, files={"finetuned.safetensors": "0" * 64}
        ),
        "lacks finetuned.safetensors": (bundle / "finetuned.safetensors").unlink,
    }
    for says, change in cases.items():
        write_tuning(bundle)
        change()
        with pytest.raises(BundleError, match=f"{says}.*; or remove finetuned.json and"):
            open_bundle(bundle)


def test_the_schemas_are_schemas_of_what_is_written(bundle: Path) -> None:
    for name in (FORMAT, FINETUNED_FORMAT):
        Draft202012Validator.check_schema(schema(name))
    write_tuning(bundle)
    opened = open_bundle(bundle)
    Draft202012Validator(schema(FORMAT)).validate(opened.manifest)
    Draft202012Validator(schema(FINETUNED_FORMAT)).validate(opened.finetuned)


def test_programs_that_answer_otherwise_than_said_are_refused(bundle: Path) -> None:
    write_manifest(bundle, network=network_of(bundle) | {"features": [8, 24]})
    clip, context = torch.zeros(1, 1, 4, 8, 8), torch.zeros(1, 2, 3)
    with pytest.raises(BundleError, match=r"channels \(8, 16\), not \(8, 24\)"):
        open_bundle(bundle).try_out(clip, context)
    with pytest.raises(BundleError, match="takes no clips of"):
        open_bundle(bundle).try_out(torch.zeros(1, 3, 4, 8, 8), context)
