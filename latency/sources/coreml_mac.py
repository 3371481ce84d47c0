"""Measures torch modules as Core ML models on this Mac.

A small model runs on the processor, because a launch on the Neural Engine must be earned back:
blocks are timed as chains of 1 and of 8, and the compute plan says where a model ran.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from latency.sources import apple
from latency.sources.compute_plan import placement
from latency.sources.contract import Inputs, Protocol, Runner, Sampled
from latency.sources.machine_state import machine_state
from latency.sources.placement import Placement
from search_spaces import InputError

WARM_UP_S = 1.0  # before every visit: between visits models load, and the clock falls
CALLS_TO_WARM_UP = 10


class CoreMLMac:
    """Core ML on this Mac; see `latency.sources.contract.Source`."""

    name = "Core ML"
    chains: tuple[int, ...] = (1, 8)
    protocol = Protocol(rounds=3, runs_per_visit=50, warmup_s=0)  # each visit warms up by itself

    def __init__(
        self,
        compute_units: str = "all",
        parts: apple.Toolkit | None = None,
        warmup_s: float = WARM_UP_S,
    ) -> None:
        """Choose compute units (all, cpu-only, cpu-and-gpu, cpu-and-ne).

        Raises:
            InputError: this is no Mac, or other compute units.
        """
        self.parts = parts or apple.toolkit("measuring with Core ML")
        self.compute_units = compute_units
        self.units = apple.units_of(self.parts, compute_units)
        self.warmup_s = warmup_s
        self.loop = apple.Loop()

    def facts(self) -> dict[str, str]:
        """This Mac, and how Core ML was asked to run."""
        return apple.mac_facts() | {"compute_unit": self.compute_units, "precision": "float16"}

    def state(self) -> dict[str, str | float]:
        """Power, heat and tools, now."""
        return machine_state(("coremltools", "torch"))

    def prepare(self, module: nn.Module, inputs: Inputs) -> Runner:
        """Convert a module, compile it, and ask where it will run."""
        return _Prepared(self, module, inputs)

    def benchmarker(self, model: Any) -> Any:
        """What times a model; of a phone, it runs there."""
        return self.parts.Benchmarker(model)

    def placement(self, package: Path, benchmarker: Any) -> Placement:
        """Where a model runs, by its compute plan here."""
        compiled = self.parts.compile_model(str(package), str(package.with_suffix(".mlmodelc")))
        return placement(self.parts.ComputePlan.load_from_path(compiled, self.units))


class _Prepared:
    """A converted model; its files go with it."""

    def __init__(self, source: CoreMLMac, module: nn.Module, inputs: Inputs) -> None:
        self._source = source
        self._folder = tempfile.TemporaryDirectory(prefix="temporal-nas-")
        package = Path(self._folder.name) / "model.mlpackage"
        with _in_one_line():
            source.parts.save(module, inputs, package)
            # The benchmarker loads the model itself.
            model = source.parts.MLModel(
                str(package), skip_model_load=True, compute_units=source.units
            )
            self._inputs = _random_inputs(model)
            self._benchmarker = source.benchmarker(model)
            self._placement = source.placement(package, self._benchmarker)

    def __call__(self, calls: int) -> Sampled:
        """Warm up, then call it back to back; how far apart the calls were is noted."""
        with _in_one_line():
            end = time.perf_counter() + self._source.warmup_s
            self._call(1)  # loads the model where it is not
            while time.perf_counter() < end:
                self._call(CALLS_TO_WARM_UP)
            begun = time.perf_counter()
            samples_ms = self._call(calls)
            apart_ms = ((time.perf_counter() - begun) * 1e3 - sum(samples_ms)) / calls
        notes: dict[str, str | float] = {
            **self._placement.notes,
            "warmup_s": float(self._source.warmup_s),
            "spacing_ms": max(0.0, apart_ms),
        }
        return Sampled(samples_ms, notes)

    def _call(self, calls: int) -> list[float]:
        measurement = self._source.loop.wait(
            self._benchmarker.benchmark_predict(inputs=self._inputs, iterations=calls)
        )
        return [float(sample) for sample in measurement.samples]


def _random_inputs(model: Any) -> dict[str, Any]:
    """Made once: the benchmarker would make them anew between the calls."""
    rng = np.random.default_rng(0)
    return {
        feature.name: rng.random(tuple(feature.type.multiArrayType.shape), dtype=np.float32)
        for feature in model.get_spec().description.input
    }


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Whatever coremltools raises of a model, as an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"Core ML cannot run it: {apple.reason(error)}") from error
