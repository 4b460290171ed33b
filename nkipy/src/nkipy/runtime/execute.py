"""Runs kernels that are traced by hand: by simulation, and on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nkipy.compiler.build import BuildOptions
from nkipy.compiler.targets import CompilationTarget
from nkipy.core.trace import NKIPyKernel
from nkipy.runtime.simulate import SimulatedKernel

__all__ = ["baremetal_run_traced_kernel", "simulate_traced_kernel"]


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
    compiled = BaremetalKernel(kernel, options, ntff=ntff)
    return compiled.run_traced(kernel, args, kwargs)
