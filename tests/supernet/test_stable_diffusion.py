"""The Stable Diffusion family equals diffusers, inflates, extracts, traces and exports."""

from pathlib import Path

import pytest
import torch
from small_unets import BASE, FAMILY, small_shape, write_config
from torch import Tensor

from latency.coreml.convert import export_program, save
from latency.coreml.package import read_package
from latency.tracing.tracing import trace
from nas.costs.modules import clip_inputs, image_inputs
from nas.costs.workloads import SpaceCosts
from nas.testing.operators import check_extraction, counted_flops, randomised
from search_spaces import (
    CONV1D,
    NONE,
    SELF_ATTENTION_1D,
    TemporalSpace,
    stable_diffusion_shape,
    temporal_space,
)
from supernet import DownFeatures, Supernet, VideoUNet, build_backbone, parameter_count
from supernet.backbones.stable_diffusion.transformer import ChannelNorm
from temporal_bundle.closeness import check_close


@pytest.fixture(params=["BK-SDM tiny", "BK-SDM v2, two stages"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> TemporalSpace:
    return small_space(tmp_path, request.param)


def small_space(folder: Path, name: str) -> TemporalSpace:
    shape = small_shape(folder, name, width=5)  # odd, as latents may be
    return temporal_space("small", shape, (NONE, CONV1D, SELF_ATTENTION_1D))


def images(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 4, height, width), torch.tensor([501, 7]), torch.randn(2, 7, 24)


@pytest.mark.kernels
@pytest.mark.parametrize("name", FAMILY)
def test_outputs_equal_those_of_diffusers(name: str, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    # What is no number in config.json (mid_block_type: null) is no default either.
    config = {k: v for k, v in {**BASE, **FAMILY[name]}.items() if not k.startswith("_")}
    theirs = randomised(diffusers.UNet2DConditionModel(**config)).eval()
    ours = build_backbone(stable_diffusion_shape(write_config(tmp_path, **FAMILY[name]))).eval()
    ours.load_state_dict(theirs.state_dict())
    for height, width in ((16, 16), (36, 20), (9, 5)):  # the last two are odd further down
        x_NCHW, steps_N, context_NLC = images(height, width)
        with torch.inference_mode():
            wanted = theirs(x_NCHW, steps_N, context_NLC).sample
            found = ours(x_NCHW, steps_N / 1000, context_NLC)
        check_close(found, wanted, f"{name} at {height} x {width}")


@pytest.mark.kernels
def test_outputs_are_what_diffusers_gave_once(tmp_path: Path) -> None:
    shape = stable_diffusion_shape(write_config(tmp_path, **FAMILY["SD 2.1"]))
    backbone = build_backbone(shape).eval()
    with torch.no_grad():
        for number, (_, weight) in enumerate(sorted(backbone.named_parameters())):
            places = torch.arange(weight.numel(), dtype=torch.float32).reshape(weight.shape)
            weight.copy_(torch.sin(places * 0.7 + number) * 0.1)
    x_NCHW = torch.sin(torch.arange(4 * 9 * 5.0)).reshape(1, 4, 9, 5)
    context_NLC = torch.cos(torch.arange(7 * 24.0)).reshape(1, 7, 24)
    with torch.inference_mode():
        found = backbone(x_NCHW, torch.tensor([0.501]), context_NLC)
    golden = torch.tensor(GOLDEN)
    check_close(found[0, :, 4, 2], golden)


@pytest.mark.kernels
def test_a_fresh_video_network_equals_its_backbone_frame_by_frame(space: TemporalSpace) -> None:
    backbone = randomised(build_backbone(space.unet)).eval()
    x, time, context = two_clips(space)
    with torch.inference_mode():
        wanted = torch.stack([backbone(x[:, :, t], time, context) for t in range(x.shape[2])], 2)
        for block in space.blocks():
            network = VideoUNet(space, space.uniform(block), backbone)
            check_close(network(x, time, context), wanted, block)


def test_every_slot_is_visited_in_its_order_at_its_size(space: TemporalSpace) -> None:
    seen = []

    def at_slot(slot: str, h_NCHW: Tensor) -> Tensor:
        seen.append((slot, *h_NCHW.shape[1:]))
        return h_NCHW

    with torch.inference_mode():
        build_backbone(space.unet)(*image_inputs(space), at_slot)
    assert seen == [(s.name, s.channels, s.height, s.width) for s in space.slots]


@pytest.mark.kernels
def test_extraction_equals_the_path_of_the_supernet(space: TemporalSpace) -> None:
    supernet = randomised(Supernet(space)).eval()
    for block in space.blocks():
        check_extraction(supernet, space.uniform(block))


def test_a_backbone_that_is_given_is_inflated_without_a_copy(space: TemporalSpace) -> None:
    backbone = build_backbone(space.unet)
    supernet = Supernet(space, backbone)
    assert supernet.backbone is backbone
    network = supernet.extract(space.uniform(space.blocks()[0]))
    shared = {p.data_ptr() for p in backbone.parameters()}
    assert not shared & {p.data_ptr() for p in network.parameters()}, "an extract is a copy"


def test_features_are_those_of_the_down_path(space: TemporalSpace) -> None:
    architecture = space.uniform(space.parse_block("conv1d"))
    network = randomised(VideoUNet(space, architecture)).eval()
    down = DownFeatures(space, architecture).eval()
    weights = network.state_dict()
    down.load_state_dict({name: weights[name] for name in down.state_dict()})
    assert parameter_count(down) < parameter_count(network)
    slots = [slot for slot in space.slots if slot.position != "up"]
    with torch.inference_mode():
        shapes = [tuple(h.shape[1:]) for h in down(*clip_inputs(space))]
    assert shapes == [(s.channels, s.frames, s.height, s.width) for s in slots]


@pytest.mark.long
def test_traces_with_the_flops_that_torch_counts(space: TemporalSpace) -> None:
    network = VideoUNet(space, space.uniform(space.parse_block("self_attention1d"))).eval()
    inputs = clip_inputs(space)
    workload = trace(network, *inputs)
    assert workload.flops == counted_flops(network, *inputs)
    assert workload.weight_bytes == 4 * parameter_count(network), "each weight is read once"
    assert SpaceCosts(space).backbone.parameters == parameter_count(build_backbone(space.unet))


@pytest.mark.long
@pytest.mark.kernels
def test_exports_for_any_number_of_clips_and_frames(tmp_path: Path) -> None:
    space = small_space(tmp_path, "BK-SDM v2, two stages")
    network = randomised(VideoUNet(space, space.uniform(space.parse_block("self_attention1d"))))
    clips = torch.export.Dim("clips", min=1, max=64)
    frames = torch.export.Dim("frames", min=1, max=64)
    example = tuple(torch.cat([x, x]) for x in clip_inputs(space))
    dynamic = ({0: clips, 2: frames}, {0: clips}, {0: clips})
    program = torch.export.export(network.eval(), example, dynamic_shapes=dynamic)
    x, time, context = two_clips(space)
    with torch.inference_mode():
        for given in ((x, time, context), (x[:1, :, :2], time[:1], context[:1])):
            check_close(program.module()(*given), network(*given))


@pytest.mark.long
def test_converts_to_core_ml_with_the_flops_that_were_traced(tmp_path: Path) -> None:
    space = small_space(tmp_path, "BK-SDM v2, two stages")
    backbone, inputs = build_backbone(space.unet).eval(), image_inputs(space)
    save(backbone, inputs, tmp_path / "image.mlpackage")
    assert read_package(tmp_path / "image.mlpackage").flops == trace(backbone, *inputs).flops


def two_clips(space: TemporalSpace) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    unet = space.unet
    x = torch.randn(2, unet.in_channels, unet.frames, unet.height, unet.width)
    return x, torch.rand(2), torch.rand(2, unet.context_tokens, unet.context_channels)


# diffusers 0.42.1 with the same weights and inputs.
GOLDEN = [-0.075889, -0.093176, -0.065362, -0.00457]


@pytest.mark.slow
@pytest.mark.kernels
def test_norms_of_channels_are_one_operation_wherever_they_are_read(tmp_path: Path) -> None:
    norm = ChannelNorm(8)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x_NCHW = 3 * torch.randn(2, 8, 4, 4) + 1
    wanted = torch.nn.functional.layer_norm(
        x_NCHW.movedim(1, -1), (8,), norm.weight, norm.bias
    ).movedim(-1, 1)
    check_close(norm(x_NCHW), wanted)
    traced = [o.kind for o in trace(norm, x_NCHW).operations]
    assert traced.count("normalisation") == 1
    assert "elementwise" not in traced
    # For Core ML it is computed where the channels are: nothing is turned round.
    program = export_program(norm, (x_NCHW,)).program
    check_close(program.module()(x_NCHW), wanted)
    assert not [n for n in program.graph.nodes if "permute" in str(n.target)]
    save(norm, (x_NCHW,), tmp_path / "norm.mlpackage")
    read = [o.kind for o in read_package(tmp_path / "norm.mlpackage").operations]
    assert set(read) == {"normalisation"}
