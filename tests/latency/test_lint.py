"""What a package's lint finds, and to which part it says it belongs."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency.coreml.convert import export_program, save
from latency.coreml.lint import NETWORK, Lint, lint
from latency.coreml.packaging import write_package
from latency.coreml.quiet import import_coremltools
from search_spaces import InputError


def rules(found: Lint) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for finding in found.findings:
        parts.setdefault(finding.part, set()).add(finding.rule)
    return parts


class Volume(nn.Module):
    """Three axes to convolve over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.reshape(1, 2, 1, 50, 20)).reshape(1, 2, 50, 20)


class Tall(nn.Module):
    """A kernel of 17 on a side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, (17, 1), padding=(8, 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Long(nn.Module):
    """70,000 numbers in a row, summed up one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.reshape(1, -1).repeat(1, 35) * 2).cumsum(1)[:, :2000].reshape(x.shape)


class Heads(nn.Module):
    """A linear layer, which coremltools names as it likes, between transposes."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.mix(x.transpose(1, 3)).transpose(1, 3))


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(
            {"volume": Volume(), "tall": Tall(), "long": Long(), "heads": Heads()}
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.parts["volume"](F.silu(x))
        x = self.parts["tall"](x)
        return self.parts["long"](self.parts["heads"](x))


X = torch.randn(1, 2, 50, 20)


def part_of(path: str) -> str:
    return path.split(".")[1] if path.startswith("parts.") else "rest"


@pytest.mark.slow
def test_each_part_is_told_its_own(tmp_path: Path) -> None:
    write_package(export_program(Parts().eval(), (X,), part_of), tmp_path / "a.mlpackage")
    found = lint(tmp_path / "a.mlpackage")
    assert rules(found) == {
        "volume": {"rank 5", "3-D convolution"},
        "tall": {"kernel"},
        "long": {"dimension", "cumsum"},
        NETWORK: {"small"},
    }
    parts = {part.part: part for part in found.parts}
    assert [*parts] == ["rest", "volume", "tall", "heads", "long"]
    assert parts["heads"].transposes == 2
    assert parts["heads"].operations == 4
    assert parts["heads"].moved_mb == pytest.approx(2 * X.numel() * 2 / 1e6)
    assert (parts["tall"].reshapes, parts["tall"].transposes) == (0, 0)
    assert parts["volume"].reshapes == 2
    assert found.total.operations == sum(part.operations for part in found.parts)
    assert not any(finding.refused for finding in found.findings)
    assert found.to_json()["parts"][0]["part"] == "rest"


def test_a_package_of_somebody_else_is_one_part(tmp_path: Path) -> None:
    save(Tall(), (X,), tmp_path / "a.mlpackage")
    found = lint(tmp_path / "a.mlpackage")
    assert rules(found) == {NETWORK: {"kernel", "small"}}
    assert [part.part for part in found.parts] == [NETWORK]


def test_angles_of_waves_stay_exact(tmp_path: Path) -> None:
    """Times of 1000 have no fractions in float16; what leads to a sine keeps float32."""

    class Waves(nn.Module):
        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            return x * (time[:, None] * 1000 * torch.linspace(0, 1, 20)).sin()

    write_package(export_program(Waves(), (X, torch.rand(1))), tmp_path / "a.mlpackage")
    found = lint(tmp_path / "a.mlpackage")
    assert rules(found) == {NETWORK: {"float32", "cast", "small"}}
    assert found.total.casts == 1


def test_what_core_ml_refuses_comes_first(tmp_path: Path) -> None:
    ct = import_coremltools()
    mil: Any = importlib.import_module("coremltools.converters.mil")

    @mil.Builder.program(
        input_specs=[mil.Builder.TensorSpec((2, 2), mil.mil.types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def gathered(x: Any) -> Any:
        x = mil.Builder.cast(x=mil.Builder.cast(x=x, dtype="int32"), dtype="fp16")
        x = mil.Builder.gather(x=x, indices=np.array([1, 0, 1], np.int32), axis=0)
        return mil.Builder.softmax(x=x)

    model = ct.convert(gathered, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    model.save(str(tmp_path / "a.mlpackage"))
    assert rules(lint(tmp_path / "a.mlpackage")) == {NETWORK: {"cast", "int32", "gather", "small"}}
    _make_rank_six(tmp_path / "a.mlpackage")
    [first, *_] = lint(tmp_path / "a.mlpackage").findings
    assert (first.rule, first.refused) == ("rank 6", True)


def _make_rank_six(package: Path) -> None:
    """No converter writes such a thing; a hand does."""
    from coremltools.proto import Model_pb2

    from latency.coreml.package import model_file

    model: Any = Model_pb2.Model()
    model.ParseFromString(model_file(package).read_bytes())
    function = model.mlProgram.functions["main"]
    last = function.block_specializations[function.opset].operations[-1]
    for _ in range(4):
        last.outputs[0].type.tensorType.dimensions.add().constant.size = 1
    last.outputs[0].type.tensorType.rank += 4
    last.type = "exp"  # of which shapes are not compared
    model_file(package).write_bytes(model.SerializeToString())


def test_damaged_notes_and_packages(tmp_path: Path) -> None:
    from coremltools.proto import Model_pb2

    from latency.coreml.package import model_file
    from latency.coreml.packaging import PARTS_KEY

    package = tmp_path / "a.mlpackage"
    write_package(export_program(Tall().eval(), (X,), part_of), package)
    for notes in ("[", "3", '[1, null, ""]', "[" * 100_000, '{"rest": 1}'):
        model: Any = Model_pb2.Model()
        model.ParseFromString(model_file(package).read_bytes())
        model.description.metadata.userDefined[PARTS_KEY] = notes
        model_file(package).write_bytes(model.SerializeToString())
        assert [part.part for part in lint(package).parts] == [NETWORK]
    model_file(package).write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="damaged"):
        lint(package)
