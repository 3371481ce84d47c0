"""Temporal search spaces: operators with elastic settings, over the slots of a U-Net.

Declarations only. The modules are built by `supernet`, which finds them by `Operator.module`.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from search_spaces.files import document
from search_spaces.files.document import Json
from search_spaces.files.errors import InputError
from search_spaces.space.architecture import Architecture
from search_spaces.space.choice import AnyChoice, Choice
from search_spaces.space.conditions import Condition, Option
from search_spaces.space.space import FORMAT, MAJOR, SearchSpace, space_from_json
from search_spaces.unet.slots import Slot
from search_spaces.unet.stable_diffusion import KIND, StableDiffusionShape, shape_from_json
from search_spaces.unet.unet_shape import UNetShape

BUILT_IN_MODULES = "supernet.operators"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


MOST_REPEATS = 16  # a file that says more wants memory, not a network

AnyUNetShape = UNetShape | StableDiffusionShape


@dataclass(frozen=True)
class Setting:
    """An elastic setting of an operator (kernel, heads, width), with its options in order."""

    name: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Operator:
    """A candidate operation: a temporal block that may stand in a slot.

    `module` is the "package.module:Class" that builds it, read only when a network is built;
    empty for the operator that leaves a slot as it is.
    """

    name: str
    module: str = ""
    settings: tuple[Setting, ...] = ()

    def elastic(self, *settings: Setting) -> "Operator":
        """Make the operator elastic: leave these settings to the search."""
        return replace(self, settings=settings)

    def __post_init__(self) -> None:
        for name in (self.name, *(setting.name for setting in self.settings)):
            if not _NAME.match(name):
                raise InputError(f"operator {self.name!r}: {name!r} is not a plain name")
        for setting in self.settings:
            if setting.name == REPEATS.name and not all(map(_repeatable, setting.options)):
                raise InputError(
                    f"operator {self.name!r}: repeats must be whole numbers from 1 to "
                    f"{MOST_REPEATS}; found {str(list(setting.options))[:80]}"
                )


def _repeatable(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MOST_REPEATS


@dataclass(frozen=True)
class Block:
    """An operator with its settings decided (an instance): what stands in a slot."""

    operator: Operator
    settings: tuple[tuple[str, Option], ...] = ()

    def __str__(self) -> str:
        if not self.settings:
            return self.operator.name
        inside = ",".join(f"{name}={value}" for name, value in self.settings)
        return f"{self.operator.name}({inside})"

    def once(self) -> "tuple[Block, int]":
        """Split off the depth: the block without its setting `repeats`, and how often it stands."""
        settings = dict(self.settings)
        repeats = settings.pop(REPEATS.name, 1)
        return Block(self.operator, tuple(settings.items())), int(repeats)


NONE = Operator("none")
CONV1D = Operator("conv1d", f"{BUILT_IN_MODULES}:Conv1D")
CONV3D = Operator("conv3d", f"{BUILT_IN_MODULES}:Conv3D")
SELF_ATTENTION_1D = Operator("self_attention1d", f"{BUILT_IN_MODULES}:SelfAttention1D")
SELF_ATTENTION_3D = Operator("self_attention3d", f"{BUILT_IN_MODULES}:SelfAttention3D")
SEPARABLE_CONV3D = Operator("separable_conv3d", f"{BUILT_IN_MODULES}:SeparableConv3D")
CROSS_ATTENTION_1D = Operator("cross_attention1d", f"{BUILT_IN_MODULES}:CrossAttention1D")
CROSS_ATTENTION_3D = Operator("cross_attention3d", f"{BUILT_IN_MODULES}:CrossAttention3D")

# Elastic sizes that the operators above know, with the options that most spaces want.
KERNEL = Setting("kernel", (3, 5))  # frames; convolutions, and cross-attention's mixing over time
HEADS = Setting("heads", (2, 4))  # attention; must divide the inner channels
WIDTH = Setting("width", (0.5, 1.0))  # inner channels, as a share of the slot's
WINDOW = Setting("window", (0.125, 0.25, 1.0))  # 3D attention's, as a share of the image's sides
# Of any operator, also a user's own: so many of the block stand one after another.
REPEATS = Setting("repeats", (1, 2))


@dataclass(frozen=True)
class TemporalSpace(SearchSpace):
    """A search space over the temporal blocks of one U-Net; made by `temporal_space`.

    The operator in a slot is the choice named as the slot; its settings are `slot.setting`.
    """

    unet: AnyUNetShape = field(kw_only=True)
    operators: tuple[Operator, ...] = field(kw_only=True)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """List the slots of the U-Net in the order in which a forward pass meets them."""
        return self.unet.slots()

    def blocks(self) -> tuple[Block, ...]:
        """Enumerate the blocks that may stand in a slot, in the order of the operators."""
        return tuple(
            Block(operator, tuple(zip((s.name for s in operator.settings), values, strict=True)))
            for operator in self.operators
            for values in itertools.product(*(s.options for s in operator.settings))
        )

    def block(self, architecture: Architecture, slot: Slot) -> Block:
        """Look up the block that stands in a slot of an architecture."""
        operator = self._operators_by_name[str(architecture[slot.name])]
        settings = tuple(
            (setting.name, architecture[f"{slot.name}.{setting.name}"])
            for setting in operator.settings
        )
        return Block(operator, settings)

    def parse_block(self, text: str) -> Block:
        """Parse a block from text as `str(block)` prints it; InputError for any other."""
        for block in self.blocks():
            if str(block) == text:
                return block
        listed = ", ".join(map(str, self.blocks()))
        raise InputError(f"space {self.name!r} has no option {text!r}; its options: {listed}")

    def arranged(self, blocks: Iterable[Block]) -> Architecture:
        """Make the architecture of these blocks, one a slot, in the order of the slots."""
        values: dict[str, object] = {}
        for slot, block in zip(self.slots, blocks, strict=True):
            values[slot.name] = block.operator.name
            values |= {f"{slot.name}.{name}": value for name, value in block.settings}
        return self.architecture(values)

    def uniform(self, block: Block) -> Architecture:
        """Make the uniform architecture: the same block in every slot."""
        return self.arranged([block] * len(self.slots))

    def to_json(self) -> Json:
        """As a space's document, with the U-Net and the operators beside the choices."""
        return {
            **super().to_json(),
            "unet": self.unet.to_json(),
            "operators": [asdict(operator) for operator in self.operators],
        }

    @cached_property
    def _operators_by_name(self) -> dict[str, Operator]:
        return {operator.name: operator for operator in self.operators}


def temporal_space(name: str, unet: AnyUNetShape, operators: tuple[Operator, ...]) -> TemporalSpace:
    """Make the space in which every slot of the U-Net may hold any of the operators.

    Raises:
        InputError: operators or settings contradict each other.
    """
    settings: dict[str, Setting] = {}
    for operator in operators:
        for setting in operator.settings:
            if settings.setdefault(setting.name, setting).options != setting.options:
                raise InputError(
                    f"operator {operator.name!r}: setting {setting.name!r} has other options than "
                    "another operator's setting of that name; give one of them another name"
                )
    choices: list[AnyChoice] = []
    for slot in unet.slots():
        choices.append(Choice(slot.name, tuple(operator.name for operator in operators)))
        for setting in settings.values():
            users = tuple(o.name for o in operators if setting in o.settings)
            condition = Condition(slot.name, users)
            choices.append(Choice(f"{slot.name}.{setting.name}", setting.options, condition))
    return TemporalSpace(name, tuple(choices), unet=unet, operators=operators)


def read_space(content: Json, where: str) -> SearchSpace:
    """Read a space out of its JSON document, a temporal one where the document has a U-Net.

    Raises:
        InputError: contradictions, or an operator whose code lies outside this toolkit (a data
            file must not name code to run; such a space is loaded from Python).
    """
    document.check(content, FORMAT, MAJOR, where)
    if "unet" not in content:
        return space_from_json(content, where)
    try:
        operators = tuple(_operator_from_json(entry) for entry in content["operators"])
        space = temporal_space(str(content["name"]), _unet(dict(content["unet"])), operators)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: the U-Net or the operators are broken: {error!r}") from None
    if content.get("choices") not in (None, space.to_json()["choices"]):
        raise InputError(f"{where}: 'choices' are not those of its U-Net and operators")
    return space


def _unet(content: Json) -> AnyUNetShape:
    """Read the U-Net's shape out of a space's document; without a kind, one of our own."""
    if "kind" not in content:
        return UNetShape(**{**content, "channels": tuple(content["channels"])})
    if content["kind"] != KIND:
        raise InputError(f"the U-Net is of kind {content['kind']!r}; known: {KIND!r}, or no kind")
    return shape_from_json(content)


def _operator_from_json(entry: Json) -> Operator:
    module = str(entry.get("module", ""))
    if module and not module.startswith(f"{BUILT_IN_MODULES}:"):
        raise InputError(
            f"operator {entry['name']!r} names code of your own ({module}); a data file may not: "
            "give the space as package.module:name"
        )
    settings = tuple(Setting(s["name"], tuple(s["options"])) for s in entry.get("settings", ()))
    return Operator(str(entry["name"]), module, settings)
