"""Which measurement source a command line asks for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency.sources.contract import Source

TORCH, COREML, COREML_DEVICE = "torch", "coreml", "coreml-device"
ONNX_RUNTIME, CPU_PROVIDER = "onnxruntime", "CPUExecutionProvider"
SHIPPED = (TORCH, ONNX_RUNTIME, COREML, COREML_DEVICE)
LONGEST_CHAIN = 64
ON_PROCESSOR = ((TORCH, "cpu"), (ONNX_RUNTIME, CPU_PROVIDER), (ONNX_RUNTIME, "cpu"))


@dataclass(frozen=True)
class Backend:
    """What `nas profile` was told of the source."""

    name: str = TORCH
    torch_device: str = "cpu"
    precision: str = "float32"
    compute_units: str = "all"
    signing_team: str = ""
    provider: str = CPU_PROVIDER
    threads: int = 1
    allow_fallback: bool = False

    @property
    def usual_chains(self) -> tuple[int, ...]:
        """The chains of a source that is not there to be asked."""
        runs_on = self.provider if self.name == ONNX_RUNTIME else self.torch_device
        return (1,) if (self.name, runs_on) in ON_PROCESSOR else (1, 8)


def source_of(backend: Backend) -> "Source":
    """The source.

    Raises:
        NotHereError: this machine has no such device.
        InputError: no such source, or options that it does not know.
    """
    if backend.name == TORCH:
        from latency.sources.torch_host import TorchSource

        return TorchSource(backend.torch_device, backend.precision)
    if backend.name == ONNX_RUNTIME:
        from latency.sources.onnx_runtime import OnnxRuntime

        return OnnxRuntime(
            backend.provider,
            backend.precision,
            backend.threads,
            allow_fallback=backend.allow_fallback,
        )
    if backend.name == COREML:
        from latency.sources.coreml_mac import CoreMLMac

        return CoreMLMac(backend.compute_units)
    if backend.name == COREML_DEVICE:
        from latency.sources.coreml_iphone import CoreMLiPhone

        return CoreMLiPhone(backend.compute_units, backend.signing_team)
    return _own_source(backend.name)


def _own_source(name: str) -> "Source":
    """A user's own: `package.module:name` is called, and returns it."""
    from search_spaces.shipped.loading import import_object

    if ":" not in name:
        listed = ", ".join(SHIPPED)
        raise InputError(f"unknown backend {name!r}; shipped: {listed}; or package.module:name")
    make = import_object(name, "backend")
    if not callable(make):
        raise InputError(f"backend {name!r} is not callable; it must return a source")
    source = make()
    wanted = ("name", "chains", "protocol", "facts", "prepare")
    if lacking := [attribute for attribute in wanted if not hasattr(source, attribute)]:
        raise InputError(
            f"backend {name!r} returned no measurement source: it lacks {', '.join(lacking)} "
            "(latency.sources.contract says what each is)"
        )
    return cast("Source", source)


def chains_of(text: str) -> tuple[int, ...]:
    """The chain lengths that `--repeats` spells."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > LONGEST_CHAIN:
        raise InputError(f"--repeats {text!r}: give numbers from 1 to {LONGEST_CHAIN}, as in 1,8")
    return tuple(found)
