"""What ``nki.jit`` is told beside the function, by keyword.

The language lets any keyword be given. Those that documents have are taken; of those
that have no effect here, and of all others, a warning says so at the line.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Any

from nkipy.chips import Chip, find_chip
from nkipy_nki.compiler import CompileConfig, SpecializationConfig
from nkipy_nki.deprecation import warn_deprecated
from nkipy_nki.findings import NkiWarning
from nkipy_nki.running import invalid, kernel_line
from nkipy_nki.targets import VARIABLE

__all__ = ["FIRST", "TODAY", "checked", "target_of"]

_NOTHING = "has no effect: kernels always are run by the simulator"
_TARGET = f"chooses the simulator's target, and AWS's refuses it: set {VARIABLE}"
_NOT_COMPILED = "has no effect: nothing is compiled"

#: Keywords of today's ``nki.jit``: what a warning says, "" if nothing is to be said.
TODAY = {
    "compile_config": "",
    "specialization_config": "",
    "mode": _NOTHING,
    "platform_target": _TARGET,
}
#: Those of the first generation's decorators.
FIRST = {
    "platform_target": "",
    **dict.fromkeys(
        (
            *("additional_compile_opt", "artifacts_dir", "debug_kernel"),
            *("experimental_flags", "kernel_return", "save_neff_name"),
            *("save_trace_name", "show_compiler_tb"),
        ),
        _NOT_COMPILED,
    ),
}
_TYPES = {
    "compile_config": CompileConfig,
    "specialization_config": SpecializationConfig,
}


def checked(
    function: str, options: Mapping[str, Any], known: Mapping[str, str]
) -> dict[str, Any]:
    """The options that a kernel keeps, after a warning of those without effect.

    Args:
        function: the decorator, for warnings.
        options: what it was given.
        known: `TODAY` or `FIRST`.

    Raises:
        NkiValidationError: a known one has a value that it cannot have.
    """
    for name, value in options.items():
        if name not in known:
            _warn_unknown(function, name, known)
        elif known[name]:
            warn_deprecated(f"{function}: {name}={value!r} {known[name]}")
        kind = _TYPES.get(name)
        if kind is not None and not isinstance(value, (kind, type(None))):
            raise invalid(
                f"{function}: {name} is {value!r}, and must be a "
                f"nki.compiler.{kind.__name__}"
            )
    if options.get("platform_target") is not None:
        _require_target(function, options["platform_target"])
    return dict(options)


def _require_target(function: str, given: Any) -> None:
    if not isinstance(given, str) or find_chip(str(given)) is None:
        raise invalid(
            f"{function}: platform_target is {given!r}, and must be a chip's name, "
            "such as 'trn2'"
        )


def _warn_unknown(function: str, name: str, known: Mapping[str, str]) -> None:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
    line = kernel_line()
    text = f"{function}: {name} is not known, and has no effect: {hint}\n  at {line}"
    warnings.warn_explicit(NkiWarning(text), None, line.file, line.number)


def target_of(options: Mapping[str, Any], target: str | Chip | None) -> Any:
    """The target that is asked for, or the one that the kernel was made for."""
    return options.get("platform_target") if target is None else target
