"""What networks take: the workload of each layer is traced once, and those of networks add up."""

import functools
from dataclasses import replace

import torch

import latency
from examples.video_dit.mixing import CHANNELS
from examples.video_dit.network import Layer, build, is_odd
from examples.video_dit.space import (
    ABSENT,
    CLIPS,
    LAYERS,
    PATCH,
    SHAPE,
    LayerChoice,
    everywhere,
    layers_of,
)
from search_spaces import Architecture


def workload(architecture: Architecture) -> latency.Workload:
    """As `latency.trace(build(architecture), ...)` counts it, without building the network."""
    layers = [
        replace(
            _layer(replace(choice, name=LAYERS[is_odd(choice.name)])),
            name=f"{choice.name}={choice.mixing}",
        )
        for choice in layers_of(architecture)
    ]
    return latency.concatenate("video_dit", [_ends(), *layers])


@functools.cache
def _ends() -> latency.Workload:
    """Everything but the layers."""
    inputs = [torch.zeros(shape.sizes) for shape in latency.input_shapes(SHAPE)]
    return latency.trace(build(everywhere(ABSENT)), *inputs)


@functools.cache
def _layer(choice: LayerChoice) -> latency.Workload:
    """Of all even, or all odd, layers that are so."""
    tokens = (CLIPS.height // PATCH) * (CLIPS.width // PATCH)
    h_BCTS = torch.zeros(1, CHANNELS, CLIPS.frames, tokens)
    return latency.trace(Layer(choice), h_BCTS, torch.zeros(1, CHANNELS, 1, 1))
