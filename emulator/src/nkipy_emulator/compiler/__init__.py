"""A compiler with neuronx-cc's command line, for the emulator.

``nkipy-neuronx-cc compile module.pb --framework XLA --target trn2`` as a command,
``python -m nkipy_emulator.compiler``, or :func:`compile_in_process`.
"""

from __future__ import annotations

from nkipy_emulator.compiler.command import (
    EXIT_COMPILATION_FAILED,
    EXIT_FAILURE,
    EmulatorCompiler,
    compile_in_process,
    console_main,
    main,
)

__all__ = [
    "EXIT_COMPILATION_FAILED",
    "EXIT_FAILURE",
    "EmulatorCompiler",
    "compile_in_process",
    "console_main",
    "main",
]
