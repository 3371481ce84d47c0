"""Search spaces: choices, architectures, and the slots and operators of a video U-Net.

Imports neither torch nor optuna; what is exported here is the public API.
"""

from typing import TYPE_CHECKING, Any

from search_spaces.files.errors import InputError
from search_spaces.shipped.loading import load
from search_spaces.space.architecture import Architecture
from search_spaces.space.cell_graph import CellGraph, Edge
from search_spaces.space.choice import Choice, NumericChoice
from search_spaces.space.conditions import AllOf, AnyOf, Condition, Not, Option
from search_spaces.space.one_hot_encoding import counts, encode, feature_names
from search_spaces.space.space import SearchSpace
from search_spaces.unet.slots import Slot
from search_spaces.unet.stable_diffusion import StableDiffusionShape, stable_diffusion_shape
from search_spaces.unet.temporal import (
    CONV1D,
    CONV3D,
    CROSS_ATTENTION_1D,
    CROSS_ATTENTION_3D,
    HEADS,
    KERNEL,
    NONE,
    REPEATS,
    SELF_ATTENTION_1D,
    SELF_ATTENTION_3D,
    SEPARABLE_CONV3D,
    WIDTH,
    WINDOW,
    AnyUNetShape,
    Block,
    Operator,
    Setting,
    TemporalSpace,
    temporal_space,
)
from search_spaces.unet.unet_shape import UNetShape

if TYPE_CHECKING:
    from search_spaces.tables.table import Table, joined, read_table

__all__ = [
    "CONV1D",
    "CONV3D",
    "CROSS_ATTENTION_1D",
    "CROSS_ATTENTION_3D",
    "HEADS",
    "KERNEL",
    "NONE",
    "REPEATS",
    "SELF_ATTENTION_1D",
    "SELF_ATTENTION_3D",
    "SEPARABLE_CONV3D",
    "WIDTH",
    "WINDOW",
    "AllOf",
    "AnyOf",
    "AnyUNetShape",
    "Architecture",
    "Block",
    "CellGraph",
    "Choice",
    "Condition",
    "Edge",
    "InputError",
    "Not",
    "NumericChoice",
    "Operator",
    "Option",
    "SearchSpace",
    "Setting",
    "Slot",
    "StableDiffusionShape",
    "Table",
    "TemporalSpace",
    "UNetShape",
    "counts",
    "encode",
    "feature_names",
    "joined",
    "load",
    "read_table",
    "stable_diffusion_shape",
    "temporal_space",
]


def __getattr__(name: str) -> Any:
    """Tables need pandas, which loads when a table is first asked for."""
    if name in ("Table", "joined", "read_table"):
        from search_spaces.tables import table

        return getattr(table, name)
    raise AttributeError(f"module 'search_spaces' has no attribute {name!r}")
