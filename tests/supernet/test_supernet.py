"""Inflation changes nothing, and extraction neither."""

import numpy as np
import pytest
import torch

from nas.testing.operators import check_extraction, randomised
from search_spaces import TemporalSpace, load
from supernet import DownFeatures, ImageUNet, Supernet, VideoUNet
from temporal_bundle.closeness import check_close, difference


@pytest.fixture(scope="module")
def space() -> TemporalSpace:
    found = load("moving_digits")
    assert isinstance(found, TemporalSpace)
    return found


def clip(space: TemporalSpace, clips: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    unet = space.unet
    x = torch.randn(clips, unet.in_channels, unet.frames, unet.height, unet.width)
    return x, torch.rand(clips), torch.rand(clips, unet.context_tokens, unet.context_channels)


@pytest.mark.kernels
def test_a_fresh_supernet_equals_its_image_backbone_frame_by_frame(space: TemporalSpace) -> None:
    backbone = randomised(ImageUNet(space.unet))
    supernet = Supernet(space)
    supernet.backbone.load_state_dict(backbone.state_dict())
    x, time, context = clip(space)
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        wanted = torch.stack([backbone(x[:, :, t], time, context) for t in range(x.shape[2])], 2)
        blocks = [space.uniform(block) for block in space.blocks()]
        for architecture in [*blocks, *(space.sample(rng) for _ in range(5))]:
            found = supernet(x, time, context, architecture)
            check_close(found, wanted, architecture)


@pytest.mark.kernels
def test_extraction_equals_the_path_of_the_supernet(space: TemporalSpace) -> None:
    supernet = randomised(Supernet(space))
    rng = np.random.default_rng(1)
    for _ in range(12):
        check_extraction(supernet, space.sample(rng))


@pytest.mark.kernels
def test_paths_differ_from_one_another(space: TemporalSpace) -> None:
    supernet = randomised(Supernet(space))
    inputs = clip(space)
    with torch.inference_mode():
        outputs = [supernet(*inputs, space.uniform(block)) for block in space.blocks()]
    for index, output in enumerate(outputs):
        for other in outputs[index + 1 :]:
            assert difference(output, other) > 0.01


def test_extraction_copies(space: TemporalSpace) -> None:
    supernet = Supernet(space)
    network = supernet.extract(space.uniform(space.parse_block("conv3d(kernel=3,width=0.5)")))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(p.abs().sum() > 0 for n, p in supernet.backbone.named_parameters() if "conv" in n)


@pytest.mark.kernels
def test_a_video_network_comes_from_an_architecture_alone(space: TemporalSpace) -> None:
    architecture = space.sample(np.random.default_rng(4))
    supernet = randomised(Supernet(space))
    network = VideoUNet(space, architecture)
    network.load_state_dict(supernet.extract(architecture).state_dict())
    inputs = clip(space)
    with torch.inference_mode():
        check_close(network(*inputs), supernet.extract(architecture)(*inputs))


@pytest.mark.kernels
def test_features_are_those_of_the_down_path(space: TemporalSpace) -> None:
    architecture = space.uniform(space.parse_block("self_attention1d(heads=2,width=0.5)"))
    network = randomised(Supernet(space)).extract(architecture)
    down = DownFeatures(space, architecture)
    weights = network.state_dict()
    assert set(down.state_dict()) < set(weights)
    down.load_state_dict({name: weights[name] for name in down.state_dict()})
    seen: list[torch.Tensor] = []
    network.temporal["mid"].register_forward_hook(lambda *args: seen.append(args[2]))
    inputs = clip(space)
    with torch.inference_mode():
        network(*inputs)
        features = down(*inputs)
    assert [tuple(f.shape) for f in features] == [
        (2, 16, 8, 16, 16), (2, 32, 8, 8, 8), (2, 48, 8, 4, 4),
    ]  # fmt: skip
    check_close(features[-1].transpose(1, 2).flatten(0, 1), seen[0])
