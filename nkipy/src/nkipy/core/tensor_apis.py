"""Ops that NumPy has no function for, or that make traced arrays, under one roof.

``softmax``, ``rms_norm``, ``topk``, ``conv2d`` and ``conv3d`` have no counterpart in
NumPy; ``constant``, ``zeros`` and ``full`` make traced arrays inside of a kernel, and
NumPy ones outside.
"""

from __future__ import annotations

from nkipy.core.ops.conv.spatial import conv2d, conv3d
from nkipy.core.ops.creation.filling import constant, full, zeros
from nkipy.core.ops.nn.normalization import rms_norm, softmax
from nkipy.core.ops.nn.top_k import topk

__all__ = [
    "constant",
    "conv2d",
    "conv3d",
    "full",
    "rms_norm",
    "softmax",
    "topk",
    "zeros",
]
