"""A winner to Core ML: what is read back is what was traced, whole, palettised, in chunks."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Call
from torch import Tensor, nn

from latency import read_package
from latency.coreml.chunks import split, split_to_fit
from latency.coreml.convert import Exported, convert, export_program
from latency.coreml.package import CHAIN, open_package
from latency.coreml.palette import BITS, float16_mb, kmeans_palette, palettise
from latency.tracing.tracing import trace
from nas import bundle
from nas.bundle.folder import VIDEO_INPUTS as INPUTS
from nas.bundle.runnable import part_of_video as part_of
from nas.costs.modules import clip_inputs
from nas.export import (
    ExportError,
    compare,
    size_mb,
)
from nas.testing.operators import randomised
from search_spaces import (
    CONV1D,
    CROSS_ATTENTION_1D,
    SELF_ATTENTION_3D,
    Architecture,
    InputError,
    TemporalSpace,
    UNetShape,
    temporal_space,
)
from search_spaces.files import document
from supernet import VideoUNet
from temporal_bundle import sha256
from temporal_bundle.closeness import check_close
from temporal_bundle.testing import write_tuning

SHAPE = UNetShape(
    in_channels=2,
    channels=(8, 32),
    frames=3,
    height=8,
    width=8,
    context_tokens=2,
    context_channels=6,
)
OPERATORS = (CONV1D, SELF_ATTENTION_3D, CROSS_ATTENTION_1D)


def mixed(space: TemporalSpace) -> Architecture:
    """Another operator in each slot."""
    return space.arranged(list(space.blocks()))


@pytest.fixture(scope="module")
def space() -> TemporalSpace:
    return temporal_space("small", SHAPE, tuple(o.elastic() for o in OPERATORS))


@pytest.fixture(scope="module")
def network(space: TemporalSpace) -> VideoUNet:
    return randomised(VideoUNet(space, mixed(space))).eval()


@pytest.fixture(scope="module")
def whole(space: TemporalSpace, network: VideoUNet) -> Exported:
    return export_program(network, clip_inputs(space), part_of, INPUTS)


@pytest.fixture(scope="module")
def bundle_path(
    space: TemporalSpace, network: VideoUNet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("export") / "bundle"
    programs = bundle.export_programs(network, space, mixed(space))
    study = {"space": space.to_json()}
    bundle.write_bundle(path, network, space, mixed(space), programs, {}, study, b"", "")
    return path


@pytest.fixture(scope="module")
def tuned(bundle_path: Path) -> Path:
    """The same with tuned weights."""
    path = bundle_path.with_name("tuned")
    shutil.copytree(bundle_path, path)
    write_tuning(path)
    return path


@pytest.fixture(scope="module")
def half_tuned(tuned: Path) -> Path:
    """The same without the manifest that vouches for them."""
    path = tuned.with_name("half")
    shutil.copytree(tuned, path)
    (path / "finetuned.json").unlink()
    return path


def weights_note(package: Path) -> dict[str, str]:
    """What a package says of the weights in it."""
    found: dict[str, str] = json.loads(open_package(package).metadata["temporal-nas.weights"])
    return found


def run_chunks(chunks: list[Exported], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    values = dict(inputs)
    for chunk in chunks:
        made = chunk.program.module()(*(values[name] for name in chunk.inputs))
        values |= dict(
            zip(chunk.outputs, made if isinstance(made, tuple) else (made,), strict=True)
        )
    return values


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize("count", [2, 4])
def test_chunks_in_a_row_are_the_network(
    count: int, space: TemporalSpace, network: VideoUNet, whole: Exported
) -> None:
    torch.manual_seed(0)
    inputs = [torch.rand_like(x) for x in clip_inputs(space)]
    chunks = split(whole, count)
    assert len(chunks) == count
    with torch.inference_mode():
        found = run_chunks(chunks, dict(zip(INPUTS, inputs, strict=True)))["output"]
        check_close(found, network(*inputs))
    held = [sum(t.numel() for t in chunk.program.state_dict.values()) for chunk in chunks]
    assert sum(held) == sum(p.numel() for p in network.parameters())
    assert max(held) < 2 * sum(held) / count


def test_chunks_that_fit(whole: Exported) -> None:
    numbers = sum(tensor.numel() for tensor in whole.program.state_dict.values())
    limit_mb = numbers * 2 / 1e6 / 2.5
    chunks = split_to_fit(whole, limit_mb)
    assert 3 <= len(chunks) <= 5
    for chunk in chunks:
        assert sum(t.numel() for t in chunk.program.state_dict.values()) * 2 / 1e6 <= limit_mb
    assert len(split_to_fit(whole, limit_mb, bits=4)) == 1
    assert len(split_to_fit(whole, math.inf)) == 1
    with pytest.raises(InputError, match="a single operation has 1 MB of weights"):
        split_to_fit(whole, 0.001)
    with pytest.raises(InputError, match="100000 chunks: give 1 to"):
        split(whole, 100_000)


@pytest.mark.slow
def test_a_bundle_is_exported_and_looked_over(call: Call, tuned: Path) -> None:
    code, printed, said = call(
        "export", str(tuned), "--to", "coreml", "--out", "w.mlpackage", "--json"
    )
    assert code == 0, said
    found = json.loads(printed)
    assert found["weights"]["which"] == "tuned"
    assert found["weights"]["sha256"] == sha256(tuned / "finetuned.safetensors")
    assert weights_note(Path("w.mlpackage")) == found["weights"]
    for path in ("w.mlpackage", str(tuned)):
        assert "tuned (finetuned.safetensors), for 2 steps" in call("show", path)[1]
    assert found["packages"] == ["w.mlpackage"]
    assert found["size_mb"] == pytest.approx(size_mb(Path("w.mlpackage")))
    workload = read_package(Path("w.mlpackage"))
    assert workload.flops == found["flops"]
    parts = {part["part"]: part for part in found["lint"]["parts"]}
    assert {"down0", "mid", "up0", "image_mid", "image_down_0"} <= {*parts}
    rules = {finding["rule"] for finding in found["lint"]["findings"]}
    assert not rules & {"kernel", "dimension", "3-D convolution"}
    assert [path.name for path in Path.cwd().iterdir()] == ["w.mlpackage"]
    code, table, _ = call("lint", "w.mlpackage")
    assert code == 0
    assert all(part in table for part in parts)
    code, printed, _ = call("lint", "w.mlpackage", "--json")
    assert json.loads(printed) == found["lint"]


@pytest.mark.long
def test_chunks_of_a_bundle_add_up(call: Call, half_tuned: Path, whole: Exported) -> None:
    arguments = ("export", str(half_tuned), "--to", "coreml", "--out", "w.mlpackage")
    flags = ("--weights", "searched", "--chunks", "2", "--palettise", "6")
    code, printed, said = call(*arguments, *flags)
    assert code == 0, said
    assert "as traced" in printed
    assert "weights: as searched (weights.safetensors)" in printed
    assert "a tuning that was not written whole stands beside them" in printed
    for chunk in Path("w.chunks").glob("*.mlpackage"):
        assert weights_note(chunk)["which"] == "searched"
    code, table, _ = call("lint", "w.chunks")
    assert code == 0
    assert "down0" in table
    folder = Path("w.chunks")
    chain = document.read(folder / CHAIN, "temporal-nas/coreml-chain", major=1)["chunks"]
    assert [entry["package"] for entry in chain] == ["chunk0.mlpackage", "chunk1.mlpackage"]
    known = {*INPUTS}
    for entry in chain:
        assert {each["name"] for each in entry["inputs"]} <= known
        known |= {each["name"] for each in entry["outputs"]}
    assert "output" in known
    read = [read_package(part) for part in folder.glob("*.mlpackage")]
    numbers = sum(tensor.numel() for tensor in whole.program.state_dict.values())
    # Small weights stay in float16.
    assert numbers * 6 / 8 < sum(each.weight_bytes for each in read) < 0.8 * numbers * 2


@pytest.mark.parametrize("bits", BITS)
def test_palettes_are_near_and_small(bits: int) -> None:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((64, 32, 3, 3)) * 0.05).astype(np.float16)
    table, indices = kmeans_palette(weight, bits)
    assert table.shape == (2**bits,)
    assert table.dtype == weight.dtype
    again = table[indices].reshape(weight.shape).astype(np.float64)
    wrong = np.sqrt(np.mean((again - weight) ** 2)) / 0.05
    # An even grid from end to end is off by its step over the square root of 12.
    grid = (weight.max() - weight.min()) / 0.05 / (2**bits - 1) / np.sqrt(12)
    assert wrong < 0.85 * grid
    for special in (np.zeros(4096, np.float16), np.float16([1, -1] * 2048)):
        table, indices = kmeans_palette(special, bits)
        np.testing.assert_array_equal(table[indices], special)


class Narrow(nn.Module):
    """Weights whose channels are no multiples of 16: 20, 17, 30 (of a transposed one), 100, 36."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(8, 20, 5), nn.Conv2d(20, 17, 5), nn.ConvTranspose2d(17, 30, 5)
        )
        self.linear, self.product = nn.Linear(30, 100), nn.Parameter(torch.randn(100, 36))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.layers(x).mean((2, 3))) @ self.product
        return out


@pytest.mark.slow
def test_weights_of_any_channels_are_palettised(tmp_path: Path) -> None:
    """Into 4 bits, too, where coremltools' groups of 16 channels leave these as they are."""
    torch.manual_seed(0)
    network = Narrow().eval()
    model = convert(network, [torch.zeros(1, 8, 16, 16)])
    large = sum(p.numel() for p in network.parameters() if p.dim() > 1)
    small = sum(p.numel() for p in network.parameters() if p.dim() == 1) + 36  # a product's zeros
    for bits in BITS:
        palettise(model, bits).save(str(tmp_path / f"{bits}.mlpackage"))
        found = open_package(tmp_path / f"{bits}.mlpackage")
        assert float16_mb(found) == pytest.approx(2 * small / 1e6)
        palettes = 5 * 2 * 2**bits if bits > 4 else 2 * 16 * (2 + 1 + 2 + 10 + 3)  # 1: of 17
        assert found.workload.weight_bytes == 2 * small + math.ceil(large * bits / 8) + palettes


@pytest.mark.slow
def test_other_operations_than_were_traced_are_refused(
    space: TemporalSpace, network: VideoUNet
) -> None:
    inputs = clip_inputs(space)
    wanted = trace(network, *inputs)
    compare(wanted, [trace(network, *inputs)])
    other = trace(VideoUNet(space, space.uniform(space.blocks()[0])), *inputs)
    for one, two in ((wanted, other), (other, wanted)):
        with pytest.raises(ExportError, match="the conversion changed the network"):
            compare(one, [two])


def test_a_space_may_be_given(bundle_path: Path, space: TemporalSpace, call: Call) -> None:
    """Whose operators are a user's own, the bundle does not load them."""
    network = bundle.Bundle.load(bundle_path).network(space)
    assert network.temporal.keys() == {slot.name for slot in space.slots}
    arguments = ("export", str(bundle_path), "--to", "coreml", "--out", "w.mlpackage")
    code, _, said = call(*arguments, "--space", "moving_digits")
    assert (code, "was made for another space" in said) == (2, True)


def changed(path: Path, to: Path, **files: str | bytes | None) -> Path:
    """A copy of a bundle with other files, hashes to match."""
    import hashlib

    shutil.copytree(path, to)
    manifest = json.loads((to / "bundle.json").read_text())
    for name, content in files.items():
        file = name.replace("__", ".")
        if content is None:
            del manifest["files"][file]
            continue
        data = content.encode() if isinstance(content, str) else content
        (to / file).write_bytes(data)
        manifest["files"][file] = hashlib.sha256(data).hexdigest()
    (to / "bundle.json").write_text(json.dumps(manifest))
    return to


def test_hostile_bundles_get_one_line(bundle_path: Path, tmp_path: Path, call: Call) -> None:
    weights = (bundle_path / "weights.safetensors").read_bytes()
    cases: dict[str, Path] = {
        "no such folder": tmp_path / "nothing",
        "files must list the sha256 of": changed(
            bundle_path, tmp_path / "a", weights__safetensors=None
        ),
        "not a whole safetensors": changed(
            bundle_path, tmp_path / "b", weights__safetensors=weights[:1000]
        ),
        "architecture.json": changed(bundle_path, tmp_path / "c", architecture__json="{}"),
    }
    outside = changed(bundle_path, tmp_path / "d")
    manifest = json.loads((outside / "bundle.json").read_text())
    spaces: dict[str, object] = {
        "is no file name": manifest | {"files": manifest["files"] | {"../d/bundle.json": "0" * 64}},
        "study.space: 3 is not of type": manifest | {"study": {"space": 3}},
        "names code of your own": json.loads(
            json.dumps(manifest).replace("supernet.operators:", "os.path:")
        ),
        "lacks|too many|has shape": json.loads(
            json.dumps(manifest).replace('"in_channels": 2', '"in_channels": 70000')
        ),
    }
    for says, content in spaces.items():
        folder = tmp_path / f"s{len(cases)}"
        shutil.copytree(outside, folder)
        (folder / "bundle.json").write_text(json.dumps(content))
        cases[says] = folder
    for says, path in cases.items():
        with pytest.raises(InputError, match=says) as caught:
            bundle.Bundle.load(path).network()
        assert "\n" not in str(caught.value)
    code, printed, said = call(
        "export", str(tmp_path / "b"), "--to", "coreml", "--out", "w.mlpackage"
    )
    assert (code, printed) == (2, "")
    assert said.startswith("nas: ")
    assert said.count("\n") == 1
    assert not Path("w.mlpackage").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--out", "w.zip"), "ends in .mlpackage"),
        (("--out", "w.mlpackage", "--palettise", "5"), "give 8, 6, 4"),
        (("--out", "w.mlpackage", "--chunk-mb", "0"), "above 0"),
        (("--out", "w.mlpackage", "--chunks", "2", "--chunk-mb", "1"), "no --chunks beside it"),
    ],
)
def test_settings_that_cannot_be_kept(
    call: Call, bundle_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, _, said = call("export", str(bundle_path), "--to", "coreml", *arguments)
    assert code == 2
    assert says in said
    assert not list(Path.cwd().iterdir())


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
from nas.cli import main
sys.argv = ["nas", *sys.argv[1:]]
main()
"""


@pytest.mark.long
def test_a_full_disk_leaves_what_was_there(bundle_path: Path, tmp_path: Path) -> None:
    """No file may grow beyond a limit, which is what a full disk does to one."""
    (tmp_path / "w.mlpackage").mkdir()
    arguments = ("export", str(bundle_path), "--to", "coreml", "--out", "w.mlpackage")
    done = subprocess.run(
        [sys.executable, "-c", FULL, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("nas: w.")
    assert "cannot be written" in last
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["w.mlpackage"]


def test_half_of_a_tuning_is_named_and_not_passed_over(
    call: Call, half_tuned: Path, bundle_path: Path
) -> None:
    arguments = ("export", str(half_tuned), "--to", "coreml", "--out", "w.mlpackage")
    for flags in ((), ("--weights", "tuned")):
        code, printed, said = call(*arguments, *flags)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert "finetuned.safetensors without finetuned.json" in said
        assert "--weights searched" in said
    code, printed, _ = call("show", str(half_tuned))
    assert code == 0
    assert "weights: " in printed
    assert "finetuned.safetensors without finetuned.json" in printed
    assert "weights: as searched (weights.safetensors)" in call("show", str(bundle_path))[1]
    assert not list(Path.cwd().iterdir())


def test_a_package_that_stands_there_is_replaced_where_it_is_asked_for(
    call: Call, bundle_path: Path
) -> None:
    arguments = ("export", str(bundle_path), "--to", "coreml", "--out", "w.mlpackage")
    package, chunks = Path("w.mlpackage"), Path("w.chunks")
    for taken, flags in ((package, ()), (chunks, ("--chunks", "2")), (chunks, ("--chunk-mb", "1"))):
        taken.mkdir()
        (taken / "precious.txt").write_text("not ours")
        code, printed, said = call(*arguments, *flags, "--replace")
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert f"{taken}: holds something else than packages" in said
        (taken / "Manifest.json").write_text("{}")
        code, printed, said = call(*arguments, *flags)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert f"{taken}: stands there already; give another --out, or --replace" in said
        assert (taken / "precious.txt").exists()
        shutil.rmtree(taken)


def test_what_is_no_package_yet_is_sent_to_the_export(
    call: Call, bundle_path: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(bundle_path, run / "bundle")
    (run / "run.json").write_text("{}")
    for path, says in (
        ("run/bundle", "run/bundle: is a bundle, and no Core ML package yet; export it first"),
        ("run", "run: is the folder of a search, and no Core ML package yet; export it first"),
    ):
        code, printed, said = call("lint", path)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert f"{says}: nas export run/bundle" in said
    code, printed, said = call("export", "run", "--to", "coreml", "--out", "w.mlpackage")
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert "is the folder of a search; give its bundle, run/bundle" in said
    for command in (("search", "--out", "run/bundle"), ("dashboard", "run/bundle")):
        code, printed, said = call(*command)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert "is a bundle" in said
