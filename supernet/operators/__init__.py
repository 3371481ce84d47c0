"""Operators as modules, a file a family: temporal convolutions and attentions."""

from supernet.operators.attention import SelfAttention1D, SelfAttention3D
from supernet.operators.base import Settings, TemporalOperator
from supernet.operators.building import build
from supernet.operators.convolution import Conv1D, Conv3D, SeparableConv3D
from supernet.operators.cross_attention import CrossAttention1D, CrossAttention3D

__all__ = [
    "Conv1D",
    "Conv3D",
    "CrossAttention1D",
    "CrossAttention3D",
    "SelfAttention1D",
    "SelfAttention3D",
    "SeparableConv3D",
    "Settings",
    "TemporalOperator",
    "build",
]
