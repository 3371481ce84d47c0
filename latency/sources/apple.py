"""What all sources of Core ML share: the parts of coremltools that need a Mac, and its facts.

coremltools loads late: it is heavy, and warns on machines other than Macs.
"""

import asyncio
import platform
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from latency.measurement.measurement import NotHereError
from search_spaces import InputError

T = TypeVar("T")
COMPUTE_UNITS = {
    "all": "ALL",
    "cpu-only": "CPU_ONLY",
    "cpu-and-gpu": "CPU_AND_GPU",
    "cpu-and-ne": "CPU_AND_NE",
}


@dataclass(frozen=True)
class Toolkit:
    """The parts of coremltools that measuring uses, under their own names and signatures."""

    ComputeUnit: Any  # coremltools.ComputeUnit
    MLModel: Any  # coremltools.models.MLModel
    compile_model: Any  # coremltools.models.utils.compile_model
    ComputePlan: Any  # coremltools.models.compute_plan.MLComputePlan
    Benchmarker: Any  # coremltools.models.ml_program.experimental.perf_utils.MLModelBenchmarker
    Device: Any  # ...experimental.remote_device.Device
    DeviceType: Any  # ...experimental.remote_device.DeviceType
    Credentials: Any  # ...experimental.remote_device.AppSigningCredentials
    save: Callable[..., None]  # latency.coreml.convert.save


def toolkit(what: str) -> Toolkit:
    """The toolkit of this Mac.

    Raises:
        NotHereError: this is no Mac, or coremltools has no Core ML here; `what` says what needs it.
    """
    if platform.system() != "Darwin":
        raise NotHereError(
            f"{what} needs macOS, and this is {platform.system()}: do it on a Mac, or let Xcode "
            "measure there and bring its performance report (`nas import`)"
        )
    found = real_toolkit()
    from coremltools.models import model

    if model._MLModelProxy is None:  # noqa: SLF001 - coremltools says it nowhere else
        raise NotHereError(
            f"{what}: coremltools cannot load Core ML with this Python; install its wheel for "
            "macOS on a Python of the machine's own architecture"
        )
    return found


def real_toolkit() -> Toolkit:
    """The real parts, wherever they import; most of them work on a Mac alone."""
    from latency.coreml.quiet import import_coremltools

    coremltools = import_coremltools()
    from coremltools.models import MLModel
    from coremltools.models.compute_plan import MLComputePlan
    from coremltools.models.ml_program.experimental import perf_utils, remote_device
    from coremltools.models.utils import compile_model

    from latency.coreml.convert import save

    return Toolkit(
        coremltools.ComputeUnit,
        MLModel,
        compile_model,
        MLComputePlan,
        perf_utils.MLModelBenchmarker,
        remote_device.Device,
        remote_device.DeviceType,
        remote_device.AppSigningCredentials,
        save,
    )


def units_of(parts: Toolkit, compute_units: str) -> Any:
    """The member of coremltools' ComputeUnit; InputError for a spelling that is none of ours."""
    if compute_units not in COMPUTE_UNITS:
        listed = ", ".join(COMPUTE_UNITS)
        raise InputError(f"compute units {compute_units!r}: give one of {listed}")
    return parts.ComputeUnit[COMPUTE_UNITS[compute_units]]


def mac_facts(run: Callable[..., Any] = subprocess.run) -> dict[str, str]:
    """Reserved columns of this Mac: its model (Mac15,6), chip and system, never its name."""

    def sysctl(name: str) -> str:
        done = run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False)
        return str(done.stdout).strip()

    try:
        model, chip = sysctl("hw.model"), sysctl("machdep.cpu.brand_string")
    except OSError:
        model, chip = "", ""
    version = platform.mac_ver()[0]
    return {
        "device": model or "Mac",
        "soc": chip or platform.machine(),
        "os": f"macOS {version}".strip(),
    }


def reason(error: BaseException) -> str:
    """What an exception says, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Loop:
    """Waits for coremltools' coroutines, all of them in one event loop: phones stay connected."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        return self._runner.run(coroutine)
