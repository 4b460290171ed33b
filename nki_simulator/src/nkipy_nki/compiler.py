"""``nki.compiler``: what ``nki.jit`` tells the vendor's compiler.

The simulator takes these and does not look at them: no value of a kernel depends on
them. None stands for what the compiler does unless told, where documents do not say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["AddressRotation", "CompileConfig", "SpecializationConfig"]


class AddressRotation(Enum):
    """Whether the compiler may move a tensor's address for a better layout."""

    #: Of tensors whose address the kernel, or NKI's own allocation, did not fix.
    AUTO = "auto"
    ENABLE = "enable"
    DISABLE = "disable"


@dataclass(frozen=True)
class CompileConfig:
    """How a kernel is compiled: ``@nki.jit(compile_config=CompileConfig(...))``.

    Attributes:
        address_rotation: whether addresses may be moved.
        non_ssa_legalization: whether tensors that are written several times are made
            legal for the compiler.
        dead_code_elim: whether instructions may go whose results nothing reads.
        barrier_check: whether barriers of a logical core's cores are checked.
        prefetch_auto: whether the compiler lays out a ring for loads ahead of time.
        nki_alloc_fallback: whether the compiler's own allocation is tried where that of
            NKI fails.
    """

    address_rotation: AddressRotation = AddressRotation.AUTO
    non_ssa_legalization: bool | None = None
    dead_code_elim: bool | None = None
    barrier_check: bool | None = None
    prefetch_auto: bool = False
    nki_alloc_fallback: bool = True


@dataclass(frozen=True)
class SpecializationConfig:
    """How a kernel is traced: ``@nki.jit(specialization_config=...)``.

    Attributes:
        allow_nested_config_override: whether a kernel that is called in this one may
            have another configuration, which is not used then; otherwise that is an
            error of the compiler's.
    """

    allow_nested_config_override: bool | None = None
