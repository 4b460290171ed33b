"""Kernels that are compiled for a NeuronCore and run there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nkipy.compiler.build import BuildOptions, build
from nkipy.core.trace import NKIPyKernel
from nkipy.execution.device_module import device_module
from nkipy.execution.executable import NeffExecutable, PartOf
from nkipy.hlo.ir import HLOModule
from nkipy.runtime.jit import JitKernel
from nkipy.runtime.program import Program
from spike import SpikeTensor


class BaremetalProgram(Program):
    """A program whose arguments may already be on the device."""

    def is_resident(self, array: Any) -> bool:
        """Whether `array` is a tensor on the device."""
        return isinstance(array, SpikeTensor)

    def extent(self, array: Any) -> tuple[Any, int, int] | None:
        """Core and addresses of a tensor, which may be a slice of another."""
        if not isinstance(array, SpikeTensor):
            return None
        tensor = array.tensor_ref
        start = tensor.va
        if not start:  # freed, which execution will say
            return None, id(tensor), id(tensor) + 1
        return tensor.core_id, start, start + tensor.size


class BaremetalKernel(JitKernel):
    """A kernel whose calls execute its NEFF on a NeuronCore.

    Arguments are NumPy arrays, which are uploaded, or :class:`DeviceTensor`, which are
    used where they are; of those, calls look at shape and dtype only. Arguments that
    the kernel writes into are changed in place, on the device or in the caller's array.
    Other results are NumPy arrays.

    Args:
        kernel: a function, or an :class:`NKIPyKernel`.
        options: target, compiler arguments, directory of the artifacts.
        core_id: the core, counted among the visible ones.
        ntff: a file that calls write a profile to.
    """

    logger = logging.getLogger("nkipy.baremetal")
    kind = "baremetal"
    program_type = BaremetalProgram

    def __init__(
        self,
        kernel: Callable[..., Any] | NKIPyKernel,
        options: BuildOptions | None = None,
        core_id: int = 0,
        ntff: Path | None = None,
    ) -> None:
        super().__init__(kernel)
        self.options = options or BuildOptions()
        self.core_id = core_id
        self.ntff = ntff

    def unload(self) -> None:
        """Free what the kernel's programs occupy of the core; calls load them again."""
        for program in list(self._programs.values()):
            program.executable.unload()  # type: ignore[attr-defined]

    def _executable(self, module: HLOModule) -> NeffExecutable | PartOf:
        part = device_module(module)
        if part.module is None:
            return PartOf(None, (), ())
        made = self._load(part.module)
        if part.module is module:
            return made
        return PartOf(made, part.inputs, part.outputs)

    def _load(self, module: HLOModule) -> NeffExecutable:
        def rebuild() -> None:
            build(module, self.__name__, self.options, again=True)

        neff, _ = build(module, self.__name__, self.options)
        executable = NeffExecutable(neff, module, self.core_id, rebuild)
        executable.ntff = self.ntff
        return executable
