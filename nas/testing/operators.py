"""What every temporal operator must do.

class TestShift(OperatorConformance):
operator = SHIFT
"""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from latency.coreml.convert import export_program, save
from latency.coreml.package import read_package
from latency.tracing.tracing import trace
from nas.costs.modules import BlockRun, block_inputs
from search_spaces import (
    NONE,
    Architecture,
    Block,
    Operator,
    Slot,
    TemporalSpace,
    UNetShape,
    temporal_space,
)
from supernet import Supernet, TemporalOperator, VideoUNet
from supernet.networks.supernet import largest
from supernet.operators import build
from temporal_bundle.closeness import check_close

# Sizes that differ from one another, so that mixed-up axes show.
SHAPE = UNetShape(
    in_channels=1,
    channels=(8, 24),
    frames=5,
    height=12,
    width=8,
    context_tokens=2,
    context_channels=10,
)
MOST_AXES, LONGEST_AXIS = 5, 65_536  # what Core ML and its Neural Engine take
M = TypeVar("M", bound=nn.Module)


class OperatorConformance:
    """Inherit, and set `operator`; every option of its settings is checked."""

    operator: ClassVar[Operator]
    shape: ClassVar[UNetShape] = SHAPE

    def test_keeps_the_shape_for_any_number_of_clips_and_frames(self) -> None:
        for module, slot in self._modules():
            for clips, frames in ((1, slot.frames), (3, 2), (2, 1)):
                x_NCHW, context_BLC = self._inputs(slot, clips, frames)
                found = module(x_NCHW, frames, context_BLC)
                assert found.shape == x_NCHW.shape, f"{slot}: {found.shape} from {x_NCHW.shape}"

    def test_starts_as_the_identity(self) -> None:
        for module, slot in self._modules():
            x_NCHW, context_BLC = self._inputs(slot)
            found = module(x_NCHW, slot.frames, context_BLC)
            assert torch.equal(found, x_NCHW), "a fresh block must change nothing"

    def test_mixes_frames_of_one_clip_and_never_clips(self) -> None:
        for module, slot in self._modules(randomise=True):
            x_NCHW, context_BLC = self._inputs(slot, clips=2)
            x_NCHW = x_NCHW.double()
            context_BLC = context_BLC.double()
            module.double()
            before = module(x_NCHW, slot.frames, context_BLC)
            changed = x_NCHW.clone()
            changed[0] += torch.randn_like(changed[0])  # the first frame of the first clip
            moved = (module(changed, slot.frames, context_BLC) - before).abs().flatten(1).amax(1)
            assert moved[1 : slot.frames].max() > 0, "no other frame of the clip felt the change"
            assert moved[slot.frames :].max() == 0, "another clip felt the change"

    def test_gradients_reach_every_parameter(self) -> None:
        for module, slot in self._modules(randomise=True):
            x_NCHW, context_BLC = self._inputs(slot)
            module(x_NCHW, slot.frames, context_BLC).square().sum().backward()
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None, f"{name} has no gradient"
                # A key's bias shifts all scores alike and softmax takes it out: not all of a
                # parameter must feel a gradient, but some of it must.
                assert parameter.grad.abs().max() > 0, f"{name} has a gradient of zero"

    def test_gradients_reach_every_shared_slice_and_no_other_part(self) -> None:
        for block in self._blocks():
            for slot in self._slots():
                largest_module = self._build(largest(self.operator), slot, randomise=True)
                own = self._build(block, slot).state_dict()
                x_NCHW, context_BLC = self._inputs(slot)
                settings = dict(block.settings)
                out = largest_module(x_NCHW, slot.frames, context_BLC, settings)
                out.square().sum().backward()
                for name, parameter in largest_module.named_parameters():
                    if name not in own:  # of a repeat that the block does not have
                        assert parameter.grad is None, f"{block}: {name} is not its own"
                        continue
                    assert parameter.grad is not None, f"{block}: {name} has no gradient"
                    felt = int((parameter.grad != 0).sum())
                    shared = own[name].numel()
                    assert 0 < felt <= shared, f"{block}: {name}: {felt} of {shared} shared felt it"

    def test_is_deterministic(self) -> None:
        for module, slot in self._modules(randomise=True):
            x_NCHW, context_BLC = self._inputs(slot)
            first = module(x_NCHW, slot.frames, context_BLC)
            assert torch.equal(first, module(x_NCHW, slot.frames, context_BLC))

    def test_traces_with_the_flops_that_torch_counts(self) -> None:
        for module, slot in self._modules():
            run = BlockRun(module, slot.frames).eval()
            inputs = block_inputs(self._space(), slot)
            workload = trace(run, *inputs)
            assert workload.flops == counted_flops(run, *inputs)
            weights = sum(p.numel() * p.element_size() for p in module.parameters())
            assert workload.weight_bytes == weights, "each weight is read once"

    def test_fits_the_neural_engine_at_the_size_of_a_phone_s_network(self) -> None:
        slot = Slot("down0", 0, "down", 320, 64, 64, 17, context_channels=768)
        for block in self._blocks():
            with torch.device("meta"):
                module = self._build(block, slot)
                x_NCHW = torch.empty(slot.frames, slot.channels, slot.height, slot.width)
                context_BLC = torch.empty(1, 77, slot.context_channels)
                run = BlockRun(module, slot.frames)
                program = export_program(run, (x_NCHW, context_BLC)).program
            for node in program.graph_module.graph.nodes:
                value = node.meta.get("val")
                if isinstance(value, Tensor):
                    shape = tuple(value.shape)
                    assert len(shape) <= MOST_AXES, f"{block}: {node.name} has {len(shape)} axes"
                    assert max(shape, default=0) <= LONGEST_AXIS, f"{block}: {node.name}: {shape}"

    def test_path_of_the_supernet_equals_the_extracted_network(self) -> None:
        space = self._space()
        supernet = randomised(Supernet(space))
        rng = np.random.default_rng(0)
        chosen = [space.uniform(block) for block in space.blocks()]
        for architecture in [*chosen, *(space.sample(rng) for _ in range(4))]:
            check_extraction(supernet, architecture)

    def test_converts_to_core_ml_with_the_flops_that_were_traced(self) -> None:
        slot = self._slots()[-1]  # a conversion takes long, and the next size converts alike
        smallest, *_, largest = self._blocks() * 2  # the sizes between are slices as they are
        for block in dict.fromkeys((smallest, largest)):
            run = BlockRun(self._build(block, slot, randomise=True), slot.frames)
            inputs = block_inputs(self._space(), slot)
            with tempfile.TemporaryDirectory() as folder:
                package = Path(folder) / "block.mlpackage"
                save(run, inputs, package)
                assert read_package(package).flops == trace(run, *inputs).flops

    def _space(self) -> TemporalSpace:
        return temporal_space("conformance", self.shape, (NONE, self.operator))

    def _blocks(self) -> list[Block]:
        return [block for block in self._space().blocks() if block.operator == self.operator]

    def _slots(self) -> tuple[Slot, Slot]:
        """One of the first resolution, one of the last."""
        slots = self.shape.slots()
        return slots[0], max(slots, key=lambda slot: slot.stage)

    def _build(self, block: Block, slot: Slot, *, randomise: bool = False) -> TemporalOperator:
        torch.manual_seed(0)
        module = build(block, slot)
        assert module is not None, f"{block} builds nothing"
        return randomised(module) if randomise else module

    def _modules(self, *, randomise: bool = False) -> Iterator[tuple[TemporalOperator, Slot]]:
        """Every option of the settings, in the first and the last resolution."""
        for slot in self._slots():
            for block in self._blocks():
                yield self._build(block, slot, randomise=randomise), slot

    def _inputs(
        self, slot: Slot, clips: int = 1, frames: int | None = None
    ) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        images = clips * (frames or slot.frames)
        x_NCHW = torch.randn(images, slot.channels, slot.height, slot.width)
        return x_NCHW, torch.rand(clips, self.shape.context_tokens, self.shape.context_channels)


def counted_flops(module: nn.Module, *inputs: Tensor) -> int:
    """What torch's FlopCounterMode counts; it knows attention on the CPU by its math alone."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops())


def randomised(module: M) -> M:
    """A copy whose every parameter is random, so that nothing is hidden behind a zero.

    Scaled by what a number is summed from (fan-in), so that activations keep their size through
    networks of any width and depth.
    """
    module = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            summed = parameter[0].numel() if parameter.dim() > 1 else 4  # gains and biases: 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / summed**0.5)
    return module


def check_extraction(supernet: Supernet, architecture: Architecture) -> None:
    """Assert that the extracted network and the supernet's path give equal outputs."""
    shape = supernet.space.unet
    generator = torch.Generator().manual_seed(3)
    size = (2, shape.in_channels, shape.frames, shape.height, shape.width)
    x_BCTHW = torch.randn(size, generator=generator)
    time_B = torch.rand(2, generator=generator)
    context_BLC = torch.rand(2, shape.context_tokens, shape.context_channels, generator=generator)
    extracted = supernet.extract(architecture)
    assert type(extracted) is VideoUNet
    with torch.inference_mode():
        wanted = supernet(x_BCTHW, time_B, context_BLC, architecture)
        found = extracted(x_BCTHW, time_B, context_BLC)
    check_close(found, wanted, architecture)
