"""The search space: six layers, each with its mixing, its heads and the width of its MLP."""

from dataclasses import dataclass

from search_spaces import Architecture, Choice, Condition, SearchSpace, UNetShape

ABSENT, NONE = "absent", "none"
ATTENTION = ("frame", "window", "linear", "full")
MIXINGS = (NONE, "convolution", *ATTENTION)  # the most of it last
RATIOS = (1, 2, 4)  # hidden channels of the MLP over the layer's
HEADS = (2, 4)
LAYERS = tuple(f"layer{number}" for number in range(6))

# What clips of moving digits are: 1 channel, 8 frames of 16 x 16, 2 tokens of 10 channels.
CLIPS = UNetShape(
    1, channels=(1,), frames=8, height=16, width=16, context_tokens=2, context_channels=10
)
PATCH = 4  # pixels, of a token
SHAPE = "1,1,8,16,16;1;1,2,10"  # x_BCTHW, time_B, context_BLC of one clip


@dataclass(frozen=True)
class LayerChoice:
    """What stands as one layer; heads only where it attends."""

    name: str
    mixing: str
    ratio: int
    heads: int = 1


def space() -> SearchSpace:
    """A layer that is absent decides nothing else."""
    choices = []
    for layer in LAYERS:
        choices += [
            Choice(layer, (ABSENT, *MIXINGS)),
            Choice(f"{layer}.mlp", RATIOS, Condition(layer, MIXINGS)),
            Choice(f"{layer}.heads", HEADS, Condition(layer, ATTENTION)),
        ]
    return SearchSpace("video_dit", tuple(choices))


SPACE = space()


def layers_of(architecture: Architecture) -> list[LayerChoice]:
    """The layers that stand, in order."""
    return [
        LayerChoice(
            layer,
            str(architecture[layer]),
            int(architecture[f"{layer}.mlp"]),
            int(architecture.get(f"{layer}.heads", 1)),
        )
        for layer in LAYERS
        if architecture[layer] != ABSENT
    ]


def everywhere(mixing: str, ratio: int = 4, heads: int = 4) -> Architecture:
    """The same layer everywhere."""
    values: dict[str, object] = {}
    for layer in LAYERS:
        values |= {layer: mixing, f"{layer}.mlp": ratio, f"{layer}.heads": heads}
    return SPACE.architecture(values)
