"""The weight-sharing supernet, in plain torch: a layer holds every mixing and the widest MLP."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from examples.video_dit.mixing import mixing
from examples.video_dit.network import Enter, Leave, Mlp, Residual, VideoDiT, is_odd
from examples.video_dit.space import HEADS, LAYERS, MIXINGS, RATIOS, LayerChoice, layers_of
from search_spaces import Architecture
from supernet.flow_matching import Denoiser


class Supernet(nn.Module):
    """All networks of the space; the architecture is an argument of forward."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = Enter()
        self.layers = nn.ModuleDict({layer: SharedLayer(layer) for layer in LAYERS})
        self.leave = Leave()

    def forward(
        self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor, architecture: Architecture
    ) -> Tensor:
        """Predict as the architecture's own network would."""
        h_BCTS, condition_BC11 = self.enter(x_BCTHW, time_B, context_BLC)
        for choice in layers_of(architecture):
            h_BCTS = self.layers[choice.name](h_BCTS, condition_BC11, choice)
        velocity: Tensor = self.leave(h_BCTS, condition_BC11)
        return velocity

    def path(self, architecture: Architecture) -> Denoiser:
        """One architecture's way through it, called as its network."""
        return functools.partial(self, architecture=architecture)

    def extract(self, architecture: Architecture) -> VideoDiT:
        """The plain network, with a copy of the weights and equal outputs."""
        weights = {
            f"{part}.{name}": tensor
            for part in ("enter", "leave")
            for name, tensor in self.get_submodule(part).state_dict().items()
        }
        for choice in layers_of(architecture):
            shared: Any = self.layers[choice.name]
            for name, tensor in shared.state_for(choice).items():
                weights[f"layers.{choice.name}.{name}"] = tensor
        network = VideoDiT(architecture)
        network.load_state_dict(weights)
        return network.train(self.training)


class SharedLayer(nn.Module):
    """A layer with every mixing; heads share their projections, ratios their hidden channels."""

    def __init__(self, name: str) -> None:
        super().__init__()
        odd = is_odd(name)
        built = {kind: mixing(kind, max(HEADS), odd=odd) for kind in MIXINGS}
        self.mixings = nn.ModuleDict({k: Residual(m) for k, m in built.items() if m is not None})
        self.mlp = Residual(Mlp(max(RATIOS)))

    def forward(self, h_BCTS: Tensor, condition_BC11: Tensor, choice: LayerChoice) -> Tensor:
        """Shape kept."""
        if choice.mixing in self.mixings:
            h_BCTS = self.mixings[choice.mixing](h_BCTS, condition_BC11, choice.heads)
        out: Tensor = self.mlp(h_BCTS, condition_BC11, choice.ratio)
        return out

    def state_for(self, choice: LayerChoice) -> dict[str, Tensor]:
        """The weights of a network's layer, under its names."""
        state: dict[str, Tensor] = {}
        if choice.mixing in self.mixings:
            mixed = self.mixings[choice.mixing].state_dict()
            state |= {f"mixing.{name}": tensor for name, tensor in mixed.items()}
        mlp: Any = self.mlp.inner
        whole = {name: t for name, t in self.mlp.state_dict().items() if name.startswith("mod")}
        cut = {f"inner.{name}": tensor for name, tensor in mlp.cuts(choice.ratio).items()}
        return {**state, **{f"mlp.{name}": tensor for name, tensor in (whole | cut).items()}}


def parameters(architecture: Architecture) -> int:
    """How many parameters an architecture's network has; nothing of it is computed."""
    with torch.device("meta"):
        return sum(each.numel() for each in VideoDiT(architecture).parameters())
