"""From a module to a NEFF on disk: found if it was compiled before."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from nkipy.compiler.artifacts import (
    ENVIRONMENT_VARIABLE,
    ArtifactError,
    absolute,
    cache_directory,
    get_or_make,
    is_cache_named,
    process_directory,
    refuse_full,
)
from nkipy.compiler.discovery import compiler_identity, split_words
from nkipy.compiler.driver import CompilationConfig, CompilationError, Compiler
from nkipy.compiler.targets import (
    CompilationTarget,
    known_target,
    resolve_target,
)
from nkipy.hlo.arguments import checked, expect
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.proto_writer import digest_module

logger = logging.getLogger("nkipy.baremetal")

DEFAULT_ADDITIONAL_COMPILER_ARGS = "--lnc 1"
NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS = "--internal-tensorizer-opt-level=2"
nkipy_compiler_args = (
    f"{DEFAULT_ADDITIONAL_COMPILER_ARGS} {NKIPY_KERNEL_ADDITIONAL_COMPILER_ARGS}"
)

#: Where builds of this context put their files; None: in the cache of this user.
build_directory: ContextVar[Path | None] = ContextVar("nkipy_build_dir", default=None)

#: Enters every key: artifacts of another layout are not found.
_LAYOUT = b"nkipy-artifact-3"
#: A compiler that fails where there is less may have failed for that: it says so in
#: words of its own.
_ROOM = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class BuildOptions:
    """How a program is compiled.

    Attributes:
        target: the chip; DEFAULT is this machine's.
        additional_compiler_args: arguments after nkipy's own, as a shell reads them.
        directory: where the NEFF and the compiler's other files go. By default the
            build directory if one is set, else the cache of this user.
        extra_key: whatever else, known to the caller alone, tells artifacts apart.

    Raises:
        HLOArgumentError: a field is of another kind.
        HLOArgumentValueError: there is no such target, or the arguments have a quote
            that is not closed.
    """

    target: CompilationTarget = CompilationTarget.DEFAULT
    additional_compiler_args: str = ""
    directory: Path | None = None
    extra_key: bytes = b""

    def __post_init__(self) -> None:
        if isinstance(self.directory, str):
            object.__setattr__(self, "directory", Path(self.directory))
        kinds = {
            "target": CompilationTarget | str,
            "additional_compiler_args": str,
            "directory": Path | None,
            "extra_key": bytes,
        }
        for name, kind in kinds.items():
            expect(getattr(self, name), kind, "BuildOptions", name)
        known_target(self.target)
        split_words(self.additional_compiler_args, "additional_compiler_args")

    @property
    def build_dir(self) -> Path | None:
        """The directory that a person reads, or None."""
        return build_directory.get() if self.directory is None else self.directory

    @property
    def named_by(self) -> str:
        """With what whoever chose the directory can choose another one."""
        if self.directory is not None:
            return "artifacts_dir (the directory of BuildOptions)"
        return (
            "_set_build_dir()" if self.build_dir is not None else ENVIRONMENT_VARIABLE
        )

    @property
    def compiler_args(self) -> str:
        """All arguments that are not the target."""
        return f"{nkipy_compiler_args} {self.additional_compiler_args}".strip()


@dataclass(frozen=True)
class Artifact:
    """A module and the NEFF that it was compiled to.

    Attributes:
        neff: path of the NEFF.
        key: what it is known by, 64 hex digits; see :func:`artifact_key`.
        module: the module.
        name: what a person calls it.
        options: how it was compiled.
    """

    neff: Path
    key: str
    module: HLOModule
    name: str
    options: BuildOptions

    def build_again(self) -> Artifact:
        """Compile once more, in the place of a file that is gone or damaged."""
        return build(self.module, self.options, self.name, again=True)


@checked
def artifact_key(module: HLOModule, options: BuildOptions) -> str:
    """64 hex digits: the program, the compiler, the target, the arguments, the extra
    key."""
    sha = hashlib.sha256(_LAYOUT)
    for part in (
        digest_module(module),
        compiler_identity().encode(),
        resolve_target(options.target).value.encode(),
        options.compiler_args.encode(),
        options.extra_key,
    ):
        sha.update(len(part).to_bytes(8, "little") + part)
    return sha.hexdigest()


def artifact_path(name: str, key: str, options: BuildOptions) -> Path:
    """Where the NEFF of this key lives. In a user's directory, people read the name."""
    directory = options.build_dir
    if directory is None:
        return _path_in_cache(cache_directory(), key)
    name = file_name(name)
    directory = absolute(directory, options.named_by)
    return directory / f"{name}_{key[:12]}" / f"{name}.neff"


def _path_in_cache(root: Path, key: str) -> Path:
    return root / "neff" / key[:2] / key / "kernel.neff"


def file_name(name: str) -> str:
    """A kernel's name as part of a path: ``<lambda>`` has characters that are not."""
    return _UNSAFE.sub("_", name).strip("_.")[:64] or "kernel"


@checked
def build(
    module: HLOModule,
    options: BuildOptions | None = None,
    name: str | None = None,
    *,
    again: bool = False,
) -> Artifact:
    """The NEFF of `module`, compiled unless that has been done before.

    Any number of threads and processes may ask for the same one: it is compiled once.

    Args:
        module: the program.
        options: target, arguments, directory, extra key.
        name: what a person calls it; by default the module's name.
        again: compile even if it has been compiled.

    Raises:
        HLOArgumentError: an argument is of a wrong kind.
        ArtifactError: the directory that the options name cannot be written, or is
            full; or it, or the cache that the user chose, can be written by others.
        CompilerNotFoundError: no compiler is installed.
        CompilationError: the compiler failed; the text has what it said.
        HLOVerificationError: the module breaks HLO's rules.
        RuntimeError: somebody changed the module, or an array that is one of its
            constants, while it was compiled. Nothing is stored.
    """
    options = options or BuildOptions()
    name = module.name if name is None else name
    key = artifact_key(module, options)
    file = "kernel.neff" if options.build_dir is None else f"{file_name(name)}.neff"

    def compile_in(directory: Path) -> Path:
        config = CompilationConfig(
            target=resolve_target(options.target),
            additional_args=options.compiler_args,
            neff_name=file,
        )
        try:
            made = Compiler(config).compile(module, directory, file)
        except CompilationError:
            refuse_full(directory, _ROOM)
            raise
        if artifact_key(module, options) != key:
            raise RuntimeError(
                f"program {name!r} has changed while it was compiled, or one of the "
                "arrays that are its constants; build it when nobody writes into them"
            )
        return made

    if options.build_dir is None:
        neff = _get_cached(key, compile_in, again)
    else:
        target = artifact_path(name, key, options)
        neff = get_or_make(
            target,
            compile_in,
            key=key,
            keep_all=True,
            again=again,
            named_by=options.named_by,
        )
    return Artifact(neff, key, module, name, options)


def _get_cached(key: str, make: Callable[[Path], Path], again: bool) -> Path:
    """From the cache, or, if that is of no use, for this process alone.

    Raises:
        ArtifactError: the user chose a cache that others can write.
    """
    try:
        root = cache_directory()
        return _get_in(root, key, make, again)
    except ArtifactError as error:
        if error.is_unsafe and is_cache_named():
            raise
        if str(error) not in _warned:
            _warned.add(str(error))
            logger.warning(
                "%s. Until then, kernels are compiled anew in each process",
                error.args[1],
            )
    root = process_directory()
    return _get_in(root, key, make, again)


def _get_in(root: Path, key: str, make: Callable[[Path], Path], again: bool) -> Path:
    target = _path_in_cache(root, key)
    return get_or_make(target, make, key=key, root=root, again=again)


#: Caches that were of no use, which is said once.
_warned: set[str] = set()
