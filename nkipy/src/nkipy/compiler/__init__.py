"""From a module of HLO to a NEFF: targets, compilers, the command, the artifacts.

Knows no tracer: whoever has an :class:`~nkipy.hlo.ir.HLOModule` can compile it, with
:func:`nkipy.compiler.build.build`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.lazy import lazy_names

if TYPE_CHECKING:
    from nkipy.compiler.artifacts import ArtifactError, cache_directory
    from nkipy.compiler.build import Artifact, BuildOptions, artifact_key
    from nkipy.compiler.discovery import (
        CompilerNotFoundError,
        compiler_identity,
        find_compiler,
    )
    from nkipy.compiler.driver import CompilationConfig, CompilationError, Compiler
    from nkipy.compiler.targets import CompilationTarget, resolve_target

__all__ = [
    "Artifact",
    "ArtifactError",
    "BuildOptions",
    "CompilationConfig",
    "CompilationError",
    "CompilationTarget",
    "Compiler",
    "CompilerNotFoundError",
    "artifact_key",
    "cache_directory",
    "compiler_identity",
    "find_compiler",
    "resolve_target",
]

_LAZY = {
    "Artifact": "nkipy.compiler.build",
    "ArtifactError": "nkipy.compiler.artifacts",
    "BuildOptions": "nkipy.compiler.build",
    "CompilationConfig": "nkipy.compiler.driver",
    "CompilationError": "nkipy.compiler.driver",
    "CompilationTarget": "nkipy.compiler.targets",
    "Compiler": "nkipy.compiler.driver",
    "CompilerNotFoundError": "nkipy.compiler.discovery",
    "artifact_key": "nkipy.compiler.build",
    "cache_directory": "nkipy.compiler.artifacts",
    "compiler_identity": "nkipy.compiler.discovery",
    "find_compiler": "nkipy.compiler.discovery",
    "resolve_target": "nkipy.compiler.targets",
}

__getattr__, __dir__ = lazy_names(__name__, globals(), _LAZY)
