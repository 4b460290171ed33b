"""Runs NEFFs that were compiled by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.compile import get_ir
from nkipy.core.errors import NKIPyNotImplementedError, NKIPyValueError
from nkipy.core.trace import NKIPyKernel, Trace
from nkipy.execution.host_call import HostCall
from nkipy.execution.program import LoadedProgram
from nkipy.hlo.ir import HLOModule, Shape
from nkipy.runtime.baremetal import BaremetalProgram
from nkipy.runtime.call_key import CallSignature, arrays_of
from nkipy.runtime.device_kernel import DeviceKernel
from nkipy.runtime.device_tensor import DeviceTensor
from nkipy.runtime.guards import Guards
from spike import BenchmarkResult, SpikeTensor


class CompiledKernel:
    """A traced kernel and the NEFF that it was compiled to.

    Args:
        traced_kernel: the kernel, after :meth:`NKIPyKernel.specialize`.
        compiled_artifact: path of the NEFF, as :func:`compile_to_neff` returns it.

    Attributes:
        traced_kernel: the kernel.
        compiled_artifact: absolute path of the NEFF.
        ir: the module.
        trace: how its outputs make up the kernel's result.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the kernel is not specialized.
    """

    def __init__(
        self, traced_kernel: NKIPyKernel, compiled_artifact: str | Path
    ) -> None:
        path = Path(compiled_artifact).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"Compiled artifact not found: {path}")
        self.traced_kernel = traced_kernel
        self.compiled_artifact = str(path)
        self.ir: HLOModule = get_ir(traced_kernel)
        # get_ir has seen to it that there is one.
        self.trace = cast(Trace, traced_kernel._trace)

    def __repr__(self) -> str:
        name = self.traced_kernel.__name__
        return f"<CompiledKernel {name!r} {self.compiled_artifact}>"


class BaremetalExecutor:
    """Runs and times compiled kernels. A context manager.

    Args:
        verbose: unused; the logger ``nkipy.baremetal`` says what happens.
    """

    def __init__(self, verbose: int = 0) -> None:
        self.verbose = verbose
        self._loaded: dict[str, HostCall] = {}

    def __enter__(self) -> BaremetalExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Unload what :meth:`run` has loaded."""
        loaded, self._loaded = self._loaded, {}
        for executable in loaded.values():
            executable.unload()

    def run(
        self,
        compiled_kernel: CompiledKernel,
        *args: Any,
        save_trace: bool = False,
        artifacts_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run once; as a call of the kernel would.

        Args:
            compiled_kernel: what to run. It stays loaded until :meth:`close`.
            args, kwargs: arrays of the shapes and dtypes that it was traced for.
            save_trace: write a profile, ``profile.ntff``.
            artifacts_dir: where to; by default the working directory.

        Raises:
            ValueError: the arguments are not those that the kernel was traced for.
            NrtError: the device failed.
        """
        arrays = _matching_arrays(compiled_kernel, args, kwargs)
        executable = self._executable(compiled_kernel)
        executable.ntff = _profile_path(artifacts_dir) if save_trace else None
        guards = Guards(None)  # a program that is held by hand
        return BaremetalProgram(compiled_kernel.trace, executable, guards).run(arrays)

    def benchmark(
        self,
        compiled_kernel: CompiledKernel,
        *args: Any,
        warmup_iterations: int = 5,
        benchmark_iterations: int = 100,
        mode: Literal["device", "host"] = "device",
        artifacts_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> BenchmarkResult:
        """Time the kernel on copies of the arguments on the device.

        Args:
            compiled_kernel: what to time.
            args, kwargs: arrays of the shapes and dtypes that it was traced for. They
                are not written into.
            warmup_iterations, benchmark_iterations: how often to run it.
            mode: "device" for the device's own clock, "host" for the caller's.
            artifacts_dir: unused; timing leaves no files.

        Raises:
            ValueError: the arguments are not those that the kernel was traced for, or
                a number of iterations or the mode is wrong.
            NrtError: the device failed.
        """
        arrays = _matching_arrays(compiled_kernel, args, kwargs)
        kernel = DeviceKernel.load_from_neff(compiled_kernel.compiled_artifact)
        inputs: dict[str, SpikeTensor] = {
            placeholder.name: DeviceTensor.from_numpy(
                np.asarray(array).astype(placeholder.dtype, copy=False)
            )
            for placeholder, array in zip(compiled_kernel.ir.inputs, arrays)
        }
        return kernel.benchmark(
            inputs,
            warmup_iter=warmup_iterations,
            benchmark_iter=benchmark_iterations,
            mode=mode,
        )

    def _executable(self, compiled: CompiledKernel) -> HostCall:
        path = compiled.compiled_artifact
        if path not in self._loaded:
            program = LoadedProgram(Path(path), compiled.ir)
            self._loaded[path] = program.host_call()
        return self._loaded[path]


def _profile_path(directory: str | Path | None) -> Path:
    return (Path.cwd() if directory is None else Path(directory)) / "profile.ntff"


def _matching_arrays(
    compiled: CompiledKernel, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    """The arrays among the arguments, which must be like those of the trace."""
    signature = CallSignature(compiled.traced_kernel.func)
    arrays = arrays_of(signature.arguments(args, kwargs))
    expected = [(p.shape, p.dtype) for p in compiled.ir.inputs]
    received = [(tuple(a.shape), dt.narrow(a.dtype)) for a in arrays]
    if received != expected:
        raise NKIPyValueError(
            f"the kernel was compiled for {_text(expected)}, but received "
            f"{_text(received)}"
        )
    if any(0 in shape for shape, _ in expected):
        raise NKIPyNotImplementedError(
            "a NEFF cannot be given arrays without elements; baremetal_jit compiles "
            "one that does not need them"
        )
    return arrays


def _text(arrays: list[tuple[tuple[int, ...], np.dtype]]) -> str:
    return ", ".join(str(Shape(dtype, shape)) for shape, dtype in arrays) or "no arrays"
