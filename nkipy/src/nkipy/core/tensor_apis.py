"""Ops that NumPy has no function for, or that make traced arrays, under one roof.

``softmax``, ``rms_norm``, ``topk``, ``conv2d`` and ``conv3d`` have no counterpart in
NumPy; ``constant``, ``zeros`` and ``full`` make traced arrays inside of a kernel, and
NumPy ones outside.
"""

from __future__ import annotations

from nkipy.core.ops import (
    constant,
    conv2d,
    conv3d,
    full,
    rms_norm,
    softmax,
    topk,
    zeros,
)

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
