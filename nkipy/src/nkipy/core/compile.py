"""From a traced kernel to a NEFF: drives a neuronx-cc compatible compiler."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nkipy.compiler.build import (
    DEFAULT_ADDITIONAL_COMPILER_ARGS,
    NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS,
    build_directory,
    nkipy_compiler_args,
)
from nkipy.compiler.discovery import (
    CompilerNotFoundError,
    compiler_identity,
    find_compiler,
)
from nkipy.compiler.driver import (
    CompilationConfig,
    CompilationError,
    CompilationResult,
    Compiler,
)
from nkipy.compiler.targets import (
    CompilationTarget,
    get_platform_target,
    resolve_target,
)
from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.ir import HLOModule

__all__ = [
    "CompilationConfig",
    "CompilationError",
    "CompilationResult",
    "CompilationTarget",
    "Compiler",
    "CompilerNotFoundError",
    "DEFAULT_ADDITIONAL_COMPILER_ARGS",
    "HLOModule",
    "NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS",
    "NKIPyKernel",
    "compile_to_neff",
    "compiler_identity",
    "get_ir",
    "get_platform_target",
    "lower_to_nki",
    "nkipy_compiler_args",
    "resolve_target",
    "trace",
]

trace = NKIPyKernel.trace

_NKI_FILE = "nki.py"


def get_ir(traced_kernel: NKIPyKernel) -> HLOModule:
    """The module of a specialized kernel. Raises ValueError before specialize()."""
    if traced_kernel._code is None:
        raise ValueError(
            "Kernel must be traced before compilation: call specialize() of "
            f"{traced_kernel!r}"
        )
    return traced_kernel._code


def _set_build_dir(path: str | Path | None) -> None:
    """Where compilations of this context put their files; None: a new one each."""
    build_directory.set(None if path is None else Path(path))


def _get_build_dir() -> Path:
    path = build_directory.get()
    if path is None:
        return Path(tempfile.mkdtemp(prefix="nkipy-build-"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def compile_to_neff(
    trace_kernel: NKIPyKernel,
    output_dir: str | Path,
    neff_name: str = "file.neff",
    target: CompilationTarget = CompilationTarget.DEFAULT,
    additional_compiler_args: str = "",
    save_artifacts: bool = False,
    use_neuronx_cc_python_interface: bool = False,
) -> str:
    """Compile a specialized kernel.

    Args:
        trace_kernel: the kernel, after :meth:`NKIPyKernel.specialize`.
        output_dir: where the NEFF goes; made if missing, nothing in it is deleted.
        neff_name: the NEFF's file name.
        target: the chip.
        additional_compiler_args: arguments after the default ones.
        save_artifacts: compile in `output_dir`: the compiler's other files stay.
        use_neuronx_cc_python_interface: as of :meth:`Compiler.compile`.

    Returns:
        Path of the NEFF.

    Raises:
        ValueError: the kernel is not specialized.
        RuntimeError: the compiler is missing or failed.
    """
    config = CompilationConfig(
        target=target,
        additional_args=f"{nkipy_compiler_args} {additional_compiler_args}",
        neff_name=neff_name,
    )
    done = Compiler(config).compile_in_directory(
        get_ir(trace_kernel), output_dir, neff_name, save_artifacts
    )
    return str(done.neff_path)


def lower_to_nki(
    trace_kernel: NKIPyKernel,
    output_dir: str | Path | None = None,
    target: CompilationTarget = CompilationTarget.DEFAULT,
    additional_compiler_args: str = "",
    save_artifacts: bool = False,
) -> str:
    """The NKI source that the vendor's compiler makes of a specialized kernel.

    Args:
        trace_kernel: the kernel, after :meth:`NKIPyKernel.specialize`.
        output_dir: receives the source as a file too; by default a new directory.
        target: the chip.
        additional_compiler_args: arguments after the default ones.
        save_artifacts: compile in `output_dir`: the compiler's other files stay.

    Raises:
        ValueError: the kernel is not specialized.
        CompilerNotFoundError: the vendor's compiler is not there to do it.
        RuntimeError: the compiler failed, or wrote no NKI source.
    """
    ir = get_ir(trace_kernel)
    if find_compiler().in_process is not None:
        raise CompilerNotFoundError(
            "lowering to NKI source takes the vendor's compiler: its command "
            "'neuronx-cc', of the AWS Neuron SDK, is not on the PATH, or "
            "NKIPY_COMPILER chooses the emulator's"
        )
    config = CompilationConfig(
        pipeline=("tensorize", "SaveTemps"),
        target=target,
        additional_args=(
            f"{nkipy_compiler_args} --tensorizer-options=--print-nki "
            f"{additional_compiler_args}"
        ),
    )
    output = Path(output_dir) if output_dir is not None else _get_build_dir()
    done = Compiler(config).compile_in_directory(ir, output, _NKI_FILE, save_artifacts)
    return done.neff_path.read_text()
