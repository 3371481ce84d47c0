"""Measures torch modules on this machine: on its processor, or on its GPU through CUDA."""

import platform
import time

import torch
from torch import Tensor, nn

from latency.measurement.measurement import NotHereError
from latency.sources.contract import Inputs, Notes, Protocol, Runner, Sampled
from latency.sources.machine_state import machine_state, processor
from search_spaces import InputError

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchSource:
    """torch on this machine; see `latency.sources.contract.Source`."""

    name = "torch"

    def __init__(self, device: str = "cpu", precision: str = "float32") -> None:
        """Choose a device (cpu, cuda, cuda:1) and a precision of `PRECISIONS`.

        Raises:
            InputError: no such device here, or another precision.
        """
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r}: torch measures {', '.join(PRECISIONS)}")
        self.device = _checked(device)
        self.precision = precision
        # A GPU is asked for every operation from the processor, which a chain shows.
        self.chains: tuple[int, ...] = (1, 8) if self.device.type == "cuda" else (1,)
        self.protocol = Protocol()

    def facts(self) -> dict[str, str]:
        """This machine, or its GPU."""
        facts = host_facts() | {"precision": self.precision}
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
            facts |= {"device": name, "soc": name, "compute_unit": f"cuda {torch.version.cuda}"}
        return facts

    def state(self) -> Notes:
        """Power, heat and tools, now."""
        return machine_state(("torch",))

    def prepare(self, module: nn.Module, inputs: Inputs) -> Runner:
        """Move a module there; its runner times call by call, each waited for."""
        dtype = PRECISIONS[self.precision]
        module = module.to(self.device, dtype)
        moved = tuple(_moved(x, self.device, dtype) for x in inputs)

        def run(calls: int) -> Sampled:
            with torch.inference_mode():
                self._timed(module, moved)  # finds the caches cold
                return Sampled([self._timed(module, moved) for _ in range(calls)])

        return run

    def _timed(self, module: nn.Module, inputs: Inputs) -> float:
        """One call in ms, from before it is asked for until it is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        begun = time.perf_counter_ns()
        try:
            module(*inputs)
        except RuntimeError as error:  # out of memory, or an operation that is not there
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"cannot run on {self.device} in {self.precision}: {reason}"
            ) from error
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return (time.perf_counter_ns() - begun) / 1e6


def host_facts() -> dict[str, str]:
    """What a table's reserved columns say of this machine."""
    return {
        "device": "host",
        "soc": processor(),
        "compute_unit": f"cpu, {torch.get_num_threads()} threads",
        "os": f"{platform.system()} {platform.release()}",
        "precision": "float32",
    }


def _checked(device: str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InputError(f"torch device {device!r}: give cpu, cuda, or cuda:N") from None
    if found.type not in ("cpu", "cuda"):
        raise InputError(f"torch device {device!r}: this measures on cpu, cuda, or cuda:N")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise NotHereError(
                f"torch device {device!r}: torch finds {count} CUDA GPUs here; measure on a "
                "machine that has one, or by `torch_device=cpu`"
            )
    return found


def _moved(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return x.to(device, dtype if x.is_floating_point() else x.dtype)
