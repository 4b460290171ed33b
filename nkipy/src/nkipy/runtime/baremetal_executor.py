"""Runs NEFFs that were compiled by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.arguments import array_dtype
from nkipy.core.compile import get_ir
from nkipy.core.errors import (
    NKIPyNotImplementedError,
    NKIPyValueError,
    refuse_other_meaning,
)
from nkipy.core.trace import NKIPyKernel, Trace
from nkipy.execution.device_arrays import is_device_array
from nkipy.execution.engines import Executable
from nkipy.execution.host_call import HostCall, ProfiledCall
from nkipy.execution.program import LoadedProgram
from nkipy.hlo.ir import HLOModule, Shape
from nkipy.runtime.baremetal import BaremetalProgram
from nkipy.runtime.call_key import CallSignature, arrays_of
from nkipy.runtime.device_kernel import DeviceKernel
from nkipy.runtime.device_tensor import DeviceTensor
from nkipy.runtime.guards import Guards
from spike import BenchmarkResult, SpikeTensor

_PART = 1 << 20  # bytes of a file that are read at once


class _File:
    """A file as it was, to tell it from what another writes to its path.

    Attributes:
        digest: of its contents.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stat = _stat_of(path)
        self.digest = _digest_of(path)

    def is_unchanged(self) -> bool:
        """Whether its path has the same contents, or nothing."""
        try:
            stat = _stat_of(self._path)
            if stat != self._stat:
                if _digest_of(self._path) != self.digest:
                    return False
                self._stat = stat
        except FileNotFoundError:  # what is loaded goes on without it
            pass
        return True


def _stat_of(path: Path) -> tuple[int, ...]:
    """What differs when a file is replaced or written."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _digest_of(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.digest()


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
        self._file = _File(path)
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
        self._loaded: dict[tuple[str, bytes, int], HostCall] = {}

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
            ValueError: the arguments are not those that the kernel was traced for, or
                its NEFF has been overwritten.
            NrtError: the device failed.
        """
        arrays = _matching_arrays(compiled_kernel, args, kwargs)
        call = self._call(compiled_kernel)
        executable: Executable = call
        if save_trace:
            executable = ProfiledCall(call, _profile_path(artifacts_dir))
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
            ValueError: the arguments are not those that the kernel was traced for, its
                NEFF has been overwritten, or a number of iterations or the mode is
                wrong.
            NrtError: the device failed.
        """
        arrays = _matching_arrays(compiled_kernel, args, kwargs)
        _check_file(compiled_kernel)
        kernel = DeviceKernel.load_from_neff(compiled_kernel.compiled_artifact)
        inputs: dict[str, SpikeTensor] = {
            placeholder.name: _uploaded(array, placeholder.dtype)
            for placeholder, array in zip(compiled_kernel.ir.inputs, arrays)
        }
        return kernel.benchmark(
            inputs,
            warmup_iter=warmup_iterations,
            benchmark_iter=benchmark_iterations,
            mode=mode,
        )

    def _call(self, compiled: CompiledKernel) -> HostCall:
        """The kernel's own call: another may have had a file of this name before."""
        _check_file(compiled)
        # The call keeps the module, whose id thereby stays its own.
        key = compiled.compiled_artifact, compiled._file.digest, id(compiled.ir)
        call = self._loaded.get(key)
        if call is None:
            program = LoadedProgram(Path(compiled.compiled_artifact), compiled.ir)
            call = self._loaded.setdefault(key, program.host_call())
        return call


def _check_file(compiled: CompiledKernel) -> None:
    """Raise ValueError if the NEFF is another than that of the kernel."""
    if not compiled._file.is_unchanged():
        raise NKIPyValueError(
            f"{compiled.compiled_artifact} has been overwritten since this "
            "CompiledKernel was made of it, and holds another program; make a "
            "CompiledKernel of what it holds"
        )


def _profile_path(directory: str | Path | None) -> Path:
    return (Path.cwd() if directory is None else Path(directory)) / "profile.ntff"


def _uploaded(array: Any, dtype: np.dtype) -> DeviceTensor:
    """A copy on the device, whose kernel may write into it."""
    if not is_device_array(array):
        return DeviceTensor.from_numpy(np.asarray(array).astype(dtype, copy=False))
    made = DeviceTensor.empty(tuple(array.shape), dtype)
    made.copy_from(array)
    return made


def _matching_arrays(
    compiled: CompiledKernel, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    """The arrays among the arguments, which must be like those of the trace."""
    signature = CallSignature(compiled.traced_kernel.func)
    arrays = arrays_of(signature.arguments(args, kwargs))
    for array, parameter in zip(arrays, compiled.ir.inputs):
        refuse_other_meaning(array, f"argument '{parameter.original_name}'")
    expected = [(p.shape, p.dtype) for p in compiled.ir.inputs]
    received = [
        (tuple(array.shape), dt.narrow(array_dtype(array, parameter.original_name)))
        for array, parameter in zip(arrays, compiled.ir.inputs)
    ]
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
