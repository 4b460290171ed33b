"""First steps with the torch device "nkipy": tensors, their memory, and who computes.

    python examples/playground/torch_device.py [--size N]

Tensors lie in a core's memory. It also calls a NumPy kernel on them, compiled for the
core, and prints which of torch's operations the CPU computed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if not __package__:  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.torch_programs import at_least, need_torch
from nkipy.command_line import run_command

if TYPE_CHECKING:
    import torch


def softmax(x):
    """A kernel: plain NumPy."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def by_kernel(x: torch.Tensor) -> torch.Tensor:
    """The kernel on a tensor where it lies, into another one on the same core."""
    import torch

    from nkipy.runtime import DeviceKernel

    result = torch.empty_like(x)
    kernel = DeviceKernel.compile_and_load(softmax, x=x)
    kernel(inputs={"x": x}, outputs={"output0": result})
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=at_least(1), default=512, metavar="N")
    size = parser.parse_args().size
    need_torch("torch_device")
    import torch

    import spike_torch

    properties = torch.nkipy.get_device_properties()
    print(f"{properties.name} of {torch.nkipy.device_count()}: {properties.target}")

    torch.manual_seed(0)
    x = torch.randn(size, size, device="nkipy")
    before = torch.nkipy.memory_allocated()
    y = x.t() @ x
    used = torch.nkipy.memory_allocated() - before
    print(f"{tuple(y.shape)} {y.dtype} on {y.device}, which took {used} bytes")

    spike_torch.reset_fallback_counts()
    expected = torch.softmax(x, dim=-1)
    counts = spike_torch.fallback_counts()
    print("computed by the CPU:", ", ".join(f"{n} {c}x" for n, c in counts.items()))

    spike_torch.reset_fallback_counts()
    torch.testing.assert_close(by_kernel(x).cpu(), expected.cpu())
    counts = spike_torch.fallback_counts()
    print("computed by the CPU beside the kernel:", counts or "nothing")
    print(torch.nkipy.memory_summary())


if __name__ == "__main__":
    raise SystemExit(run_command(main, "torch_device"))
