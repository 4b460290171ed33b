"""From a traced kernel to a NEFF: drives a neuronx-cc compatible compiler command."""

from __future__ import annotations

import enum
import shlex
import shutil
import subprocess
import tempfile
import warnings
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from nkipy.core.hlo.ir import HLOModule
from nkipy.core.trace import NKIPyKernel

__all__ = [
    "CompilationConfig",
    "CompilationResult",
    "CompilationTarget",
    "Compiler",
    "CompilerNotFoundError",
    "DEFAULT_ADDITIONAL_COMPILER_ARGS",
    "HLOModule",
    "NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS",
    "NKIPyKernel",
    "compile_to_neff",
    "get_ir",
    "get_platform_target",
    "lower_to_nki",
    "nkipy_compiler_args",
    "trace",
]

trace = NKIPyKernel.trace

COMPILER_COMMAND = "neuronx-cc"
DEFAULT_ADDITIONAL_COMPILER_ARGS = "--lnc 1"
NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS = "--internal-tensorizer-opt-level=2"
nkipy_compiler_args = (
    f"{DEFAULT_ADDITIONAL_COMPILER_ARGS} {NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS}"
)

_PRODUCT_NAME = Path("/sys/devices/virtual/dmi/id/product_name")
_build_dir: ContextVar[Path | None] = ContextVar("nkipy_build_dir", default=None)


class CompilerNotFoundError(RuntimeError):
    """No compiler command is installed."""


class CompilationTarget(enum.Enum):
    """The generation of Trainium to compile for; DEFAULT is this machine's."""

    TRN1 = "trn1"
    TRN2 = "trn2"
    TRN3 = "trn3"
    DEFAULT = "default"


def get_platform_target(product_name: Path = _PRODUCT_NAME) -> CompilationTarget:
    """The target that this machine is, by the product name its firmware gives.

    Returns:
        The target; TRN2, with a warning, where the machine is none.
    """
    try:
        product = product_name.read_text().strip().lower()
    except OSError:
        product = ""
    for target in (
        CompilationTarget.TRN3,
        CompilationTarget.TRN2,
        CompilationTarget.TRN1,
    ):
        if product.startswith(target.value):
            return target
    warnings.warn(
        f"this machine ({product or 'unknown product'}) is no Trainium instance; "
        "compiling for trn2",
        stacklevel=2,
    )
    return CompilationTarget.TRN2


@dataclass
class CompilationConfig:
    """What the compiler is asked to do.

    Attributes:
        pipeline: the compiler's pipeline stages.
        target: the chip.
        additional_args: further arguments, as a shell would read them.
        neff_name: file name of the result.
    """

    pipeline: tuple[str, ...] = ("compile", "SaveTemps")
    target: CompilationTarget = CompilationTarget.DEFAULT
    additional_args: str = ""
    neff_name: str = "file.neff"


@dataclass(frozen=True)
class CompilationResult:
    """Where a compilation left its result and its other files."""

    output: Path
    work_dir: Path


class Compiler:
    """Runs the compiler command for a traced program.

    Args:
        config: target, pipeline and further arguments.
    """

    def __init__(self, config: CompilationConfig | None = None) -> None:
        self.config = config or CompilationConfig()

    def command(self, hlo_file: Path, output: Path) -> list[str]:
        """The command line that compiles `hlo_file` to `output`."""
        target = self.config.target
        if target is CompilationTarget.DEFAULT:
            target = get_platform_target()
        return [
            COMPILER_COMMAND,
            "compile",
            "--framework",
            "XLA",
            str(hlo_file),
            "--pipeline",
            *self.config.pipeline,
            "--target",
            target.value,
            f"--output={output}",
            *shlex.split(self.config.additional_args),
        ]

    def compile(
        self, ir: HLOModule, work_dir: Path, output_file: str | None = None
    ) -> Path:
        """Compile `ir` in `work_dir`, which must exist.

        Returns:
            Path of the result.

        Raises:
            CompilerNotFoundError: no compiler command is on the PATH.
            RuntimeError: it failed; the text has the command, exit code and its output.
        """
        work_dir = Path(work_dir).resolve()
        output = work_dir / (output_file or self.config.neff_name)
        hlo_file = work_dir / "hlo_module.pb"
        hlo_file.write_bytes(ir.serialize())
        self._run(self.command(hlo_file, output), work_dir)
        if not output.exists():
            raise RuntimeError(f"{output} expected but not generated")
        return output

    def compile_in_directory(
        self, ir: HLOModule, work_dir: Path, output_file: str | None = None
    ) -> CompilationResult:
        """As :meth:`compile`, making `work_dir` first if it does not exist."""
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        return CompilationResult(
            self.compile(ir, work_dir, output_file), Path(work_dir)
        )

    @staticmethod
    def _run(command: list[str], work_dir: Path) -> None:
        if shutil.which(command[0]) is None:
            raise CompilerNotFoundError(
                f"the compiler command '{command[0]}' is not on the PATH; it comes "
                "with the AWS Neuron SDK"
            )
        done = subprocess.run(command, capture_output=True, cwd=work_dir)
        if done.returncode == 0:
            return
        streams = [
            f"{name}:\n{_indent(text)}"
            for name, text in (("stderr", done.stderr), ("stdout", done.stdout))
        ]
        raise RuntimeError(
            f"compilation failed with exit code {done.returncode}\n"
            f"command: {shlex.join(command)}\n" + "\n".join(streams)
        )


def _indent(raw: bytes) -> str:
    lines = raw.decode(errors="replace").splitlines() or ["(empty)"]
    return "\n".join(f"    {line}" for line in lines)


def get_ir(kernel: NKIPyKernel) -> HLOModule:
    """The module of a specialized kernel. Raises ValueError before specialize()."""
    if kernel._code is None:
        raise ValueError(f"{kernel!r} has no program yet: call specialize() first")
    return kernel._code


def _set_build_dir(path: str | Path | None) -> None:
    """Where compilations of this context put their files; None: a new one each."""
    _build_dir.set(None if path is None else Path(path))


def _get_build_dir() -> Path:
    path = _build_dir.get()
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
) -> str:
    """Compile a specialized kernel.

    Args:
        trace_kernel: the kernel, after :meth:`NKIPyKernel.specialize`.
        output_dir: where the NEFF goes; made if missing, nothing in it is deleted.
        neff_name: the NEFF's file name.
        target: the chip.
        additional_compiler_args: arguments after the default ones.
        save_artifacts: compile in `output_dir`: the compiler's other files stay.

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
    return str(
        _compile(trace_kernel, config, Path(output_dir), neff_name, save_artifacts)
    )


def lower_to_nki(
    trace_kernel: NKIPyKernel,
    output_dir: str | Path | None = None,
    target: CompilationTarget = CompilationTarget.DEFAULT,
    additional_compiler_args: str = "",
    save_artifacts: bool = False,
) -> str:
    """The NKI source that the vendor's compiler makes of a specialized kernel.

    Raises:
        ValueError: the kernel is not specialized.
        RuntimeError: the compiler is missing, failed, or wrote no NKI source.
    """
    config = CompilationConfig(
        pipeline=("tensorize", "SaveTemps"),
        target=target,
        additional_args=(
            f'{nkipy_compiler_args} --tensorizer-options="--print-nki" '
            f"{additional_compiler_args}"
        ),
    )
    output = Path(output_dir) if output_dir is not None else _get_build_dir()
    return _compile(trace_kernel, config, output, "nki.py", save_artifacts).read_text()


def _compile(
    kernel: NKIPyKernel,
    config: CompilationConfig,
    output_dir: Path,
    result: str,
    save_artifacts: bool,
) -> Path:
    ir = get_ir(kernel)
    output_dir.mkdir(parents=True, exist_ok=True)
    compiler = Compiler(config)
    if save_artifacts:
        return compiler.compile(ir, output_dir, result)
    with tempfile.TemporaryDirectory(prefix="nkipy-build-") as work_dir:
        made = compiler.compile(ir, Path(work_dir), result)
        # Moved in two steps, so that the result appears whole or not at all.
        partial = output_dir / f".{result}.{Path(work_dir).name}"
        shutil.move(made, partial)
        return partial.replace(output_dir / result)
