"""How a simulation computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

AutoCast = Literal["none", "matmult", "all"]
AutoCastType = Literal["bf16", "fp16", "tf32", "fp8_e4m3"]
#: The element type of each, by NumPy's name; tf32 is none of those.
CAST_TYPES: dict[AutoCastType, str] = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "tf32": "tf32",
    "fp8_e4m3": "float8_e4m3",
}


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """Numerics of a simulation; the default computes what the program says, exactly.

    The casts are those that neuronx-cc makes under its options of the same names.

    Attributes:
        auto_cast: ``"none"`` leaves float32 alone. ``"matmult"`` rounds the float32
            operands of matrix products and convolutions to `auto_cast_type`.
            ``"all"`` rounds besides every float32 value that an elementwise operation
            computes. Products are accumulated in float32 in every case.
        auto_cast_type: ``"bf16"``, ``"fp16"`` and ``"fp8_e4m3"`` (IEEE-like, greatest
            finite value 240) round to these types, with their range: what exceeds it
            becomes infinite. ``"tf32"`` keeps float32's range and 10 bits of mantissa.
        fast_compile: Compile small kernels in about half the time. Results may differ
            in the last bit, and large kernels may run slower.

    Raises:
        ValueError: a field has none of the values listed.
    """

    auto_cast: AutoCast = "none"
    auto_cast_type: AutoCastType = "bf16"
    fast_compile: bool = False

    def __post_init__(self) -> None:
        _check("auto_cast", self.auto_cast, get_args(AutoCast))
        _check("auto_cast_type", self.auto_cast_type, get_args(AutoCastType))


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Where a rank that is a process meets the other ranks of a simulation.

    Attributes:
        address: ``host:port``, where rank 0 listens.
        rank: which rank this process is.
        world_size: how many there are.
        seconds: how long an execution may take, others being waited for in it.
    """

    address: str
    rank: int
    world_size: int
    seconds: float


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
