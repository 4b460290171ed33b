"""Runs kernels that are traced by hand: by simulation, and on a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nkipy.compiler.build import BuildOptions, build
from nkipy.compiler.targets import CompilationTarget
from nkipy.core.errors import NKIPyNotImplementedError, NKIPyValueError
from nkipy.core.trace import NKIPyKernel, OutputLeaf, Trace, kernel_name
from nkipy.hlo.ir import HLOModule
from nkipy.runtime.call_key import CallSignature, arrays_of
from nkipy.runtime.guards import Guards
from nkipy.runtime.simulate import SimulatedKernel

__all__ = [
    "_compile_kernel",
    "_execute_neff",
    "baremetal_run_traced_kernel",
    "simulate_traced_kernel",
]


def simulate_traced_kernel(kernel: NKIPyKernel, *args: Any, **kwargs: Any) -> Any:
    """Trace `kernel` for these arguments and execute its HLO on the CPU.

    Args:
        kernel: a traced-kernel object, as :meth:`NKIPyKernel.trace` makes it.
        args, kwargs: the kernel's arguments; arrays it writes into are updated.

    Returns:
        What the kernel returns, with NumPy arrays.
    """
    return SimulatedKernel(kernel).run_traced(kernel, args, kwargs)


def baremetal_run_traced_kernel(
    kernel: NKIPyKernel,
    *args: Any,
    artifacts_dir: str | Path | None = None,
    save_trace: bool = False,
    additional_compiler_args: str = "",
    target: CompilationTarget = CompilationTarget.DEFAULT,
    **kwargs: Any,
) -> Any:
    """Trace, compile and run `kernel` once on a NeuronCore.

    Args:
        kernel: a traced-kernel object, as :meth:`NKIPyKernel.trace` makes it.
        args, kwargs: the kernel's arguments; arrays it writes into are updated.
        artifacts_dir: where NEFF, the compiler's other files and the profile go;
            nothing in it is deleted. By default the cache of this user.
        save_trace: write ``profile.ntff`` there, by default in the working directory.
        additional_compiler_args: arguments after nkipy's own, as a shell reads them.
        target: the chip.

    Returns:
        What the kernel returns, with NumPy arrays.

    Raises:
        NKIPyError: the kernel does something that cannot be traced.
        RuntimeError: the compiler is missing or failed.
        NrtError: the device failed.
    """
    # Imported here: simulation does not need spike.
    from nkipy.runtime.baremetal import BaremetalKernel

    directory = None if artifacts_dir is None else Path(artifacts_dir)
    options = BuildOptions(target, additional_compiler_args, directory)
    ntff = (directory or Path.cwd()) / "profile.ntff" if save_trace else None
    compiled: BaremetalKernel[..., Any] = BaremetalKernel(kernel, options, ntff=ntff)
    return compiled.run_traced(kernel, args, kwargs)


def _compile_kernel(
    kernel: NKIPyKernel,
    *args: Any,
    artifacts_dir: str | Path | None = None,
    additional_compiler_args: str = "",
    target: CompilationTarget = CompilationTarget.DEFAULT,
    **kwargs: Any,
) -> tuple[str, str, HLOModule, list[Any]]:
    """The first half of :func:`baremetal_run_traced_kernel`, for :func:`_execute_neff`.

    Returns:
        Path of the NEFF ("" if there is nothing for a device to compute), the kernel's
        name, its module, and the arrays of the call in the order of its parameters.

    Raises:
        NKIPyError: the kernel does something that cannot be traced.
        RuntimeError: the compiler is missing or failed.
    """
    from nkipy.execution.device_module import device_module

    name = kernel_name(kernel.func)
    module = kernel.specialize(*args, **kwargs)
    if module is None:
        raise NKIPyNotImplementedError(
            f"kernel '{name}' is for backend '{kernel.backend}', which runs no NEFF"
        )
    arrays = arrays_of(CallSignature(kernel.func).arguments(args, kwargs))
    directory = None if artifacts_dir is None else Path(artifacts_dir)
    options = BuildOptions(target, additional_compiler_args, directory)
    part = device_module(module)
    neff = "" if part.module is None else str(build(part.module, options, name).neff)
    return neff, name, module, arrays


def _execute_neff(
    neff_path: str | Path,
    kernel_name: str,
    ir: HLOModule,
    original_inputs: Sequence[Any],
    save_trace: bool = False,
) -> Any:
    """Run once what :func:`_compile_kernel` returned.

    Args:
        neff_path, kernel_name, ir, original_inputs: as it returned them. Arrays that
            the kernel writes into are updated.
        save_trace: write ``profile.ntff`` in the working directory.

    Returns:
        None, the result, or a tuple of the results that the kernel returned.

    Raises:
        ValueError: the arrays are not those that the kernel was traced for.
        NrtError: the device failed.
    """
    from nkipy.execution.device_module import device_module
    from nkipy.execution.host_call import HostCall, ProfiledCall
    from nkipy.execution.part import PartOf
    from nkipy.execution.program import LoadedProgram
    from nkipy.runtime.baremetal import BaremetalProgram

    expected = [p.shape for p in ir.inputs]
    received = [tuple(array.shape) for array in original_inputs]
    if received != expected:
        raise NKIPyValueError(
            f"kernel '{kernel_name}' was traced for arrays of shapes {expected}, but "
            f"received {received}"
        )
    part = device_module(ir)
    call: HostCall | ProfiledCall | None = None
    if part.module is not None:
        call = LoadedProgram(Path(neff_path), part.module).host_call()
        if save_trace:
            call = ProfiledCall(call, Path.cwd() / "profile.ntff")
    executable = PartOf(call, part.inputs, part.outputs)
    appended = ir.auto_aliased_indices
    leaves = [OutputLeaf(i) for i in range(len(ir.results)) if i not in appended]
    result = tuple(leaves) if len(leaves) > 1 else leaves[0] if leaves else None
    try:
        program = BaremetalProgram(Trace(ir, result), executable, Guards(None))
        return program.run(list(original_inputs))
    finally:
        executable.unload()
