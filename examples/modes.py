"""The three ways to run a kernel."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from nkipy.core.tree import map_tree
from nkipy.runtime import baremetal_jit, simulate_jit


def as_it_is(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Plain NumPy: nothing is done to the kernel."""
    return kernel


#: What makes a function run in each mode.
MODES: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "numpy": as_it_is,
    "simulate": simulate_jit,
    "baremetal": baremetal_jit,
}


def add_mode(parser: argparse.ArgumentParser) -> None:
    """The option ``--mode``; without it, an example compares all modes."""
    parser.add_argument("--mode", choices=(*MODES, "compare"), default="compare")


def chosen(mode: str) -> list[str]:
    """The modes to run."""
    return list(MODES) if mode == "compare" else [mode]


def resident(tree: Any, mode: str) -> Any:
    """`tree` with its arrays where the mode computes: on the device, or as they are."""
    if mode != "baremetal":
        return tree
    from nkipy.runtime import DeviceTensor

    return map_tree(lambda path, leaf: DeviceTensor.from_numpy(leaf), tree)


def on_host(tree: Any) -> Any:
    """`tree` with NumPy arrays in place of device tensors."""

    def fetch(path: Any, leaf: Any) -> Any:
        return leaf.numpy() if hasattr(leaf, "numpy") else leaf

    return map_tree(fetch, tree)
