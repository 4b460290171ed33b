"""Kernels that are compiled for a NeuronCore and run there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from nkipy.compiler.build import BuildOptions, build
from nkipy.core.errors import NKIPyValueError
from nkipy.core.trace import NKIPyKernel
from nkipy.distributed.processes import set_root
from nkipy.execution.device_arrays import (
    SILENT,
    is_device_array,
    maker_beside,
    note_written,
    spike_array,
)
from nkipy.execution.device_module import device_module
from nkipy.execution.engines import Executable
from nkipy.execution.errors import BindingError
from nkipy.execution.host_call import ProfiledCall
from nkipy.execution.part import PartOf
from nkipy.execution.program import load
from nkipy.hlo.arguments import expect
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.queries import collectives
from nkipy.runtime.jit import JitKernel, P, R_co
from nkipy.runtime.program import Program
from nkipy.runtime.ranks import check_ranks, ranks_here, set_up_runtime

if TYPE_CHECKING:
    from nkipy.execution.device_arrays import DeviceArray


set_up_runtime()


class BaremetalProgram(Program):
    """A program whose arguments may already be on the device."""

    silent = SILENT

    def run(self, arrays: list[Any]) -> Any:
        """As of any program; what does not fit is an error of nkipy's own."""
        try:
            returned = super().run(arrays)
        except BindingError as error:
            raise NKIPyValueError(str(error)) from None
        if self.written:
            for i in self.written.values():
                if type(arrays[i]) not in SILENT:
                    note_written((arrays[i],))
        return returned

    def maker(self, arrays: list[Any]) -> Callable[..., Any]:
        """Of a call with arrays of a class that makes its own, that class."""
        return maker_beside(arrays) or self.executable.empty

    def is_resident(self, array: Any) -> bool:
        """Whether `array` is on the device."""
        return is_device_array(array)

    def extent(self, array: Any) -> tuple[Any, int, int] | None:
        """Core and addresses of an array, which may be a slice of another."""
        described = spike_array(array)
        if described is None:
            return None
        tensor = described.tensor
        if not tensor.va:  # freed, which execution will say
            return None, id(tensor), id(tensor) + 1
        start = tensor.va + described.offset
        return described.core_id, start, start + described.nbytes


class BaremetalKernel(JitKernel[P, R_co]):
    """A kernel whose calls execute its NEFF on a NeuronCore.

    Arguments are NumPy arrays, which are uploaded, or :class:`DeviceTensor` and torch
    tensors on the device, which are used where they are; of those, calls look at shape
    and dtype only. Arguments that the kernel writes into are changed in place, on the
    device or in the caller's array. Other results are NumPy arrays; of a call with a
    torch tensor on the device, torch tensors on that.

    Args:
        kernel: a function, or an :class:`NKIPyKernel`.
        options: target, compiler arguments, directory of the artifacts.
        core_id: the core, counted among the visible ones.
        ntff: a file that calls write a profile to.
    """

    logger_name = "nkipy.baremetal"
    kind = "baremetal"
    program_type = BaremetalProgram

    def __init__(
        self,
        kernel: Callable[P, R_co] | NKIPyKernel,
        options: BuildOptions | None = None,
        core_id: int = 0,
        ntff: Path | None = None,
    ) -> None:
        super().__init__(kernel)
        expect(core_id, int, "baremetal_jit", "core_id")
        self.options = options or BuildOptions()
        self.core_id = core_id
        self.ntff = ntff

    if TYPE_CHECKING:
        # Where a kernel's annotations say ndarray, arrays on the device may stand too;
        # and no type says that of just some arguments, at whatever place.

        @overload
        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

        @overload
        def __call__(self, a: DeviceArray, /, *args: Any, **kwargs: Any) -> R_co: ...

        @overload
        def __call__(
            self, a: Any, b: DeviceArray, /, *args: Any, **kwargs: Any
        ) -> R_co: ...

        @overload
        def __call__(
            self, a: Any, b: Any, c: DeviceArray, /, *args: Any, **kwargs: Any
        ) -> R_co: ...

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...

    def unload(self) -> None:
        """Free what the kernel's programs occupy of the core; calls load them again."""
        for program in self._programs.values():
            program.executable.unload()  # type: ignore[attr-defined]

    def _executable(self, module: HLOModule) -> Executable:
        part = device_module(module)
        if part.module is None:
            return PartOf(None, (), ())
        here = ranks_here(part.module)
        check_ranks(part.module, here.size)
        artifact = build(part.module, self.options, self.__name__)
        rank = None if here.size == 1 else (here.rank, here.size)
        if rank is not None:
            set_root(must_meet=next(collectives(part.module), None) is not None)
        host_call = load(artifact, self.core_id, rank).host_call()
        call = host_call if self.ntff is None else ProfiledCall(host_call, self.ntff)
        if part.module is module:
            return call
        return PartOf(call, part.inputs, part.outputs)
