"""Writes the tiny network as a Core ML package: python -m examples.export_tiny tiny.mlpackage"""

import sys
from pathlib import Path

import torch

from examples.tiny_network import build
from latency.coreml.convert import save

if __name__ == "__main__":
    save(build(), [torch.randn(1, 3, 64, 64)], Path(sys.argv[1]))
