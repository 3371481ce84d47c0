"""The example of a diffusion transformer: a supernet of its user's own, trained and converted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import latency
from examples.video_dit.costs import workload as added_up
from examples.video_dit.mixing import CHANNELS, mixing
from examples.video_dit.network import build
from examples.video_dit.space import (
    ABSENT,
    ATTENTION,
    HEADS,
    LAYERS,
    MIXINGS,
    RATIOS,
    SHAPE,
    SPACE,
    everywhere,
    layers_of,
)
from examples.video_dit.supernet import Supernet, parameters
from examples.video_dit.training import evaluate, trained
from latency.coreml.convert import convert_program, export_program
from latency.coreml.lint import lint
from latency.tracing.building import input_shapes
from search_spaces import Architecture
from temporal_bundle.closeness import check_close

ONE_OF_EACH = SPACE.architecture(
    dict(zip(LAYERS, MIXINGS, strict=True))
    | {f"{layer}.mlp": RATIOS[number % 3] for number, layer in enumerate(LAYERS)}
    | {f"{layer}.heads": HEADS[number % 2] for number, layer in enumerate(LAYERS)}
)


def inputs(clips: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(clips, *shape.sizes[1:]) for shape in input_shapes(SHAPE)]
    return tuple(torch.rand(size, generator=generator) for size in sizes)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """With gates open, as training opens them."""
    torch.manual_seed(0)
    found = Supernet().eval()
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.1)
    return found


def architectures() -> list[Architecture]:
    rng = np.random.default_rng(0)
    same = [everywhere(kind, 2, heads) for kind in (ABSENT, *MIXINGS) for heads in HEADS]
    return [ONE_OF_EACH, *dict.fromkeys(same), *(SPACE.sample(rng) for _ in range(6))]


def test_the_space_drops_what_an_absent_layer_would_be() -> None:
    assert SPACE.size == (1 + 3 * (len(MIXINGS) - len(ATTENTION)) + 6 * len(ATTENTION)) ** 6
    assert dict(everywhere(ABSENT)) == dict.fromkeys(LAYERS, ABSENT)
    assert layers_of(everywhere(ABSENT)) == []
    assert f"{LAYERS[0]}.heads" not in everywhere("convolution")


@pytest.mark.slow
@pytest.mark.kernels
def test_extracted_networks_answer_as_their_paths(supernet: Supernet) -> None:
    given = inputs(clips=2)
    answers = []
    with torch.inference_mode():
        for architecture in architectures():
            network = supernet.extract(architecture)
            answers.append(network(*given))
            check_close(answers[-1], supernet(*given, architecture), str(architecture))
            count = sum(parameter.numel() for parameter in network.parameters())
            assert count == parameters(architecture)
    apart = [float((a - b).norm()) for i, a in enumerate(answers) for b in answers[:i]]
    assert min(apart) > 1e-3  # heads, ratios and kinds all matter


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("kind", MIXINGS[1:])
def test_which_frames_a_frame_sees(kind: str, odd: bool) -> None:
    seen = {
        "convolution": [{f - 2, f - 1, f, f + 1, f + 2} & set(range(8)) for f in range(8)],
        "frame": [{f} for f in range(8)],
        "window": [{(f + i) % 8 for i in range(8) if (f - 2 * odd) % 8 // 4 ==
                    (f + i - 2 * odd) % 8 // 4} for f in range(8)],
        "full": [set(range(8))] * 8,
        "linear": [set(range(8))] * 8,
    }  # fmt: skip
    torch.manual_seed(0)
    module = mixing(kind, 2, odd=odd)
    assert module is not None
    x_BCTS = torch.randn(1, CHANNELS, 8, 16, requires_grad=True)
    for frame in range(8):
        (gradient,) = torch.autograd.grad(module(x_BCTS)[:, :, frame].square().sum(), x_BCTS)
        found = gradient.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
        assert set(found) == seen[kind][frame], frame


@pytest.mark.long
@pytest.mark.slow
def test_networks_are_traced() -> None:
    flops, phone = {}, latency.load_device("iphone-15-pro")
    for architecture in [*(everywhere(kind) for kind in (ABSENT, *MIXINGS)), ONE_OF_EACH]:
        workload = latency.trace(build(architecture), *inputs())
        assert workload.parameters == parameters(architecture)
        added = added_up(architecture)
        for what in ("flops", "weight_bytes", "parameters"):
            assert getattr(added, what) == getattr(workload, what), what
        assert added.bytes_moved == pytest.approx(workload.bytes_moved, rel=0.05)
        found, wanted = (phone.predict(each).latency_ms for each in (added, workload))
        assert found == pytest.approx(wanted, rel=0.05)
        flops[str(architecture)] = workload.flops
    order = [flops[str(everywhere(kind))] for kind in (ABSENT, "none", "convolution", "full")]
    assert order == sorted(order)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("architecture", [ONE_OF_EACH, everywhere("none")], ids=["each", "none"])
def test_networks_convert_to_core_ml(
    architecture: Architecture, supernet: Supernet, tmp_path: Path
) -> None:
    """What the lint finds is what a network is given and what time becomes, and no layer."""
    network = supernet.extract(architecture)
    exported = export_program(network, inputs(), lambda path: ".".join(path.split(".")[:2]))
    with torch.inference_mode():
        check_close(exported.program.module()(*inputs()), network(*inputs()))
    convert_program(exported, package=tmp_path / "a.mlpackage")
    found = lint(tmp_path / "a.mlpackage")
    assert not any(finding.refused for finding in found.findings)
    assert {finding.rule for finding in found.findings} == {"rank 5", "float32", "cast"}
    assert sum(finding.count for finding in found.findings) <= 8


class StopError(Exception):
    pass


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.kernels
def test_a_training_that_was_stopped_goes_on(tmp_path: Path) -> None:
    whole: list[float] = []
    rest: list[float] = []

    def stop(done: int, _: float) -> None:
        if done > 56:
            raise StopError

    first = trained(tmp_path / "a", 63, on_step=lambda _, loss: whole.append(loss))
    with pytest.raises(StopError):
        trained(tmp_path / "b", 63, on_step=stop)
    second = trained(tmp_path / "b", 63, on_step=lambda _, loss: rest.append(loss))
    assert 0 < len(rest) < len(whole)
    assert rest == whole[-len(rest) :]
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    again = trained(tmp_path / "b", 63, on_step=stop)  # from its file
    torch.manual_seed(0)
    fresh = Supernet().eval()
    loss = evaluate(again, ONE_OF_EACH, clips=48)
    assert loss == evaluate(first, ONE_OF_EACH, clips=48)
    assert loss < 0.8 * evaluate(fresh, ONE_OF_EACH, clips=48)
