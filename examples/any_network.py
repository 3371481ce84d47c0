"""A device from a few networks of one's own, and any other network on it: no space, no table."""

import sys
from pathlib import Path

import torch
from torch import nn

import latency
from latency.coreml.convert import save

MEASURED_MS = {16: 0.31, 32: 0.42, 64: 0.87, 96: 1.61}  # made-up figures, by width


def network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(width, 4 * width, 1),
    ).half()


def main(folder: Path) -> None:
    image = torch.zeros(1, 3, 256, 256, dtype=torch.float16)
    seen = [
        latency.Measurement(latency.trace(network(width), image), ms)
        for width, ms in MEASURED_MS.items()
    ]
    phone = latency.calibrate(seen, "my-phone", like=latency.load_device("iphone-15-pro"))
    phone.save(folder / "my-phone.json")
    save(network(48).float(), [image.float()], folder / "unseen.mlpackage")
    found = phone.predict(latency.read_package(folder / "unseen.mlpackage"))
    print(f"{found.latency_ms:.3f} ms ({found.low_ms:.3f} to {found.high_ms:.3f} ms)")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    main(target)
