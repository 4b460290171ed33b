"""What a sequence is: tensors, and steps that name them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Loop", "Place", "Plan", "Register", "Step", "Tensor"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the kernel's.

    Attributes:
        region: ``"sbuf"``, ``"psum"`` or ``"hbm"``.
        filled: whether the kernel is given its values as an argument.
    """

    name: str
    region: str
    shape: tuple[int, ...]
    dtype: str
    filled: bool = True


@dataclass(frozen=True)
class Place:
    """Elements of a tensor: its name, and one view of another."""

    tensor: str
    looks: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class Step:
    """An instruction: operands are places and numbers, the rest it is told."""

    name: str
    operands: dict[str, Any]
    told: dict[str, Any] = field(default_factory=dict)
    writes: tuple[str, ...] = ("dst",)


@dataclass(frozen=True)
class Register:
    """A register is set: to a number, or to a tensor's element."""

    name: str
    value: int | Place


@dataclass(frozen=True)
class Loop:
    """Steps for each value of a register.

    Attributes:
        upper: a number, or the name of a register.
        counts_down: the tensor of one element that a ``while`` loop ends by; it holds
            how often the body is run.
    """

    counter: str
    lower: int
    upper: int | str
    body: tuple[Step, ...]
    counts_down: str = ""


@dataclass
class Plan:
    """A kernel.

    Attributes:
        seed: of the values that it is given.
    """

    chip: str
    seed: str
    tensors: list[Tensor] = field(default_factory=list)
    steps: list[Step | Register | Loop] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.chip}, values of {self.seed!r}", *map(str, self.tensors)]
        return "\n".join([*lines, *map(str, self.steps)])
