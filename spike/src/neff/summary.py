"""A NEFF in words."""

from __future__ import annotations

from neff.description import Neff
from neff.tensors import TensorInfo


def describe(neff: Neff) -> list[str]:
    """What ``spike-run --info`` says of a NEFF, in lines."""
    header = neff.header
    origin = "the emulator: runs only there" if neff.is_emulated else "the vendor"
    lines = [
        f"Name:     {neff.name}",
        f"Made by:  {neff.compiler or 'unknown'} (for {origin})",
        f"Target:   {neff.target or 'unknown'}, LNC {neff.lnc}",
        f"Version:  {header.neff_version[0]}.{header.neff_version[1]}, "
        f"features {header.feature_bits:#x}",
        f"UUID:     {header.uuid.hex()}",
    ]
    aliased = {a.output: neff.inputs[a.input].name for a in neff.aliases}
    lines += ["Inputs:", *(_describe_tensor(t) for t in neff.inputs), "Outputs:"]
    for i, tensor in enumerate(neff.outputs):
        note = f", written into {aliased[i]}" if i in aliased else ""
        lines.append(_describe_tensor(tensor) + note)
    return lines


def _describe_tensor(tensor: TensorInfo) -> str:
    return f"  {tensor.name}: {tensor.dtype}{list(tensor.shape)}, {tensor.nbytes} bytes"
