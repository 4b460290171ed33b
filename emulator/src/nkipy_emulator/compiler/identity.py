"""What the compiler says that it is."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "nkipy-emulator"


@lru_cache(maxsize=1)
def compiler_version() -> str:
    """The version of the installed emulator."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from its sources
        return "0"


def version_text() -> str:
    """What ``--version`` prints."""
    import numpy

    return (
        f"NeuronX Compiler version {compiler_version()} ({DISTRIBUTION}, a stand-in "
        "for neuronx-cc\nthat compiles for nkipy's emulated NeuronCores only, without "
        "code of the vendor's)\n\n"
        f"Python version {platform.python_version()}\n"
        f"NumPy version {numpy.__version__}\n"
    )


def usage_text() -> str:
    """What ``--help`` prints."""
    from nkipy_emulator.compiler.options import (
        explained_options,
        options_without_effect,
    )
    from nkipy_emulator.compiler.targets import TARGETS

    return (
        "usage: nkipy-neuronx-cc compile <HLO file> --framework XLA --target "
        f"{{{','.join(TARGETS)}}} [options]\n"
        "       nkipy-neuronx-cc list-operators --framework XLA\n"
        "       nkipy-neuronx-cc --version | --help\n\n"
        "Compiles a serialised HloModuleProto for nkipy's emulator, with neuronx-cc's\n"
        "command line; or lists HLO's operators that can be compiled. Exit status: 70\n"
        "if the program cannot be compiled, 1 if anything else fails.\n\nOptions:\n"
        + "".join(f"{line}\n" for line in explained_options())
        + "\nTaken, without effect in the emulator, as others of neuronx-cc's are:\n"
        + "".join(f"  {name}\n" for name in options_without_effect())
    )


def operators_text() -> str:
    """What ``list-operators`` prints: HLO's names, one a line."""
    from nkipy.hlo.opcodes import OPCODES
    from nkipy.hlo.opcodes.compiled import UNSUPPORTED

    names = (n for n, op in OPCODES.items() if UNSUPPORTED not in op.compiled.refusals)
    return "".join(f"{name}\n" for name in sorted(names))
