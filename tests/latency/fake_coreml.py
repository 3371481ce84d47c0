"""The parts of coremltools that need a Mac, with its signatures, and times made of FLOPs.

`test_sources` checks the signatures against coremltools itself.
"""
# The signatures are coremltools', whatever the fakes need of them.
# ruff: noqa: ANN001, ANN201, ANN204, ANN205, ANN206, ARG001

import enum
import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from latency.sources.apple import Toolkit
from latency.tracing.tracing import trace

LAUNCH_MS = 0.125
MS_PER_MFLOP = 0.01
SERIAL = "F2LXQ0ABCDEF"
UDID = "00008130-001A2B3C4D5E6F78"
OWNER = "Ada's iPhone"


class ComputeUnit(enum.Enum):
    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


def save(module: Any, inputs: Any, path: Path, target: str = "iOS18") -> None:
    """Instead of converting: writes what the fakes below must know."""
    path.mkdir()
    content = {
        "mflops": trace(module, *inputs).flops / 1e6,
        "shapes": [list(x.shape) for x in inputs],
        "convolutions": sum(type(m).__name__ == "Conv2d" for m in module.modules()),
    }
    (path / "model.json").write_text(json.dumps(content))


class MLModel:
    def __init__(
        self,
        model,
        is_temp_package=False,
        mil_program=None,
        skip_model_load=False,
        compute_units=ComputeUnit.ALL,
        weights_dir=None,
        function_name=None,
        optimization_hints=None,
    ) -> None:
        assert isinstance(compute_units, ComputeUnit)
        self.path = Path(model)
        self.compute_unit = compute_units
        self.content = json.loads((self.path / "model.json").read_text())

    def get_spec(self):
        features = [
            SimpleNamespace(
                name=f"input_{i}", type=SimpleNamespace(multiArrayType=SimpleNamespace(shape=shape))
            )
            for i, shape in enumerate(self.content["shapes"])
        ]
        return SimpleNamespace(description=SimpleNamespace(input=features))


def compile_model(model, destination_path=None):
    assert model.endswith(".mlpackage")
    Path(destination_path).mkdir()
    (Path(destination_path) / "model.json").write_text((Path(model) / "model.json").read_text())
    return destination_path


class MLNeuralEngineComputeDevice:
    pass


class MLCPUComputeDevice:
    pass


def operation(kind: str, weight: float | None, device: Any) -> Any:
    return SimpleNamespace(operator_name=kind, blocks=[], weight=weight, device=device)


class MLComputePlan:
    """A plan with a branch: its operations count as all others."""

    def __init__(self, proxy):
        self.__proxy__ = proxy

    @property
    def model_structure(self):
        inner = operation("ios18.conv", 0.9, MLNeuralEngineComputeDevice())
        branch = operation("cond", None, None)
        branch.blocks = [SimpleNamespace(operations=[inner])]
        listed = [
            operation("const", None, None),
            operation("ios18.add", 0.1, MLCPUComputeDevice()),
            branch,
        ]
        function = SimpleNamespace(block=SimpleNamespace(operations=listed))
        program = SimpleNamespace(functions={"main": function})
        return SimpleNamespace(program=program, neuralnetwork=None, pipeline=None)

    def get_compute_device_usage_for_mlprogram_operation(self, operation):
        if operation.device is None:
            return None
        return SimpleNamespace(preferred_compute_device=operation.device)

    def get_estimated_cost_for_mlprogram_operation(self, operation):
        return None if operation.weight is None else SimpleNamespace(weight=operation.weight)

    @classmethod
    def load_from_path(cls, path, compute_units=ComputeUnit.ALL):
        if not (Path(path) / "model.json").exists():
            raise RuntimeError(f"Error reading\nthe model at {path}.")
        assert isinstance(compute_units, ComputeUnit)
        return cls(None)


class DeviceType(enum.Enum):
    IPHONE = "iphone"


@dataclass(frozen=True)
class AppSigningCredentials:
    development_team: str | None = ""
    provisioning_profile_uuid: str | None = None
    bundle_identifier: str | None = None


@dataclass(frozen=True)
class Device:
    name: str
    type: DeviceType
    identifier: str
    udid: str
    os_version: str
    os_build_number: str
    developer_mode_state: str
    state: str
    session: Any

    @staticmethod
    def get_connected_devices(device_type):
        assert device_type is DeviceType.IPHONE
        return list(CONNECTED)

    async def prepare_for_model_debugging(
        self, credentials=None, working_directory=None, clean=False
    ):
        if not credentials.development_team:
            raise ValueError("No signing\ncertificate")
        return Device(**{**vars(self), "session": "app"})


PHONE = Device(OWNER, DeviceType.IPHONE, UDID, UDID, "19.1", "23B85", "enabled", "connected", None)
CONNECTED: list[Device] = [PHONE]


class MLModelBenchmarker:
    def __init__(self, model, device=None) -> None:
        assert device is None or device.session == "app"
        self.model = model

    async def benchmark_predict(self, inputs=None, iterations=1, warmup=False):
        content = self.model.content
        assert [list(x.shape) for x in inputs.values()] == content["shapes"]
        ms = LAUNCH_MS + MS_PER_MFLOP * content["mflops"]
        return SimpleNamespace(samples=[ms * (1 + 0.01 * (i % 3)) for i in range(iterations)])

    async def benchmark_operation_execution(self, inputs=None, iterations=1, warmup=False):
        def info(kind: str, share: float | None, device: Any) -> Any:
            usage = device and SimpleNamespace(preferred_compute_device=device)
            samples = [] if share is None else [share]
            return SimpleNamespace(
                spec=SimpleNamespace(type=kind),
                path=None,
                compute_device_usage=usage,
                measurement=SimpleNamespace(samples=samples),
            )

        return [
            info("conv", 0.3, MLNeuralEngineComputeDevice()),
            info("add", 0.1, MLCPUComputeDevice()),
            info("const", None, None),
        ]


TOOLKIT = Toolkit(
    ComputeUnit,
    MLModel,
    compile_model,
    MLComputePlan,
    MLModelBenchmarker,
    Device,
    DeviceType,
    AppSigningCredentials,
    save,
)


def devicectl(command: list[str], **_: Any) -> None:
    """What `xcrun devicectl list devices` writes, beside another phone."""

    def entry(identifier: str, name: str) -> dict[str, Any]:
        hardware = {"marketingName": name, "udid": identifier, "serialNumber": SERIAL}
        properties = {"name": OWNER}
        return {
            "identifier": identifier,
            "deviceProperties": properties,
            "hardwareProperties": hardware,
        }

    listed = [entry("other", "iPhone 8"), entry(UDID, "iPhone 16 Pro")]
    assert re.match("xcrun devicectl list devices --json-output ", " ".join(command))
    Path(command[-1]).write_text(json.dumps({"result": {"devices": listed}}))
