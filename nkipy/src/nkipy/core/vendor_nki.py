"""Drives the vendor's NKI frontends where they are installed: kernels for hardware.

A kernel that the vendor's ``nki.jit`` made is compiled by the vendor's own frontend, of
the generation that the kernel's class is of; only kernels of ``nkipy_nki`` are ours. No
module of the vendor's is imported here before a kernel of it is there, and what stands
under its names without being it is left alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import wraps
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from nkipy.core.backend import get_backend
from nkipy.core.tensor import NKIPyTensorRef

__all__ = [
    "FRONTENDS",
    "Call",
    "Compiled",
    "Frontend",
    "frontend_of",
    "patch",
    "with_vendors_jit",
]


class Call(NamedTuple):
    """A call of a kernel, by its signature.

    Attributes:
        arguments: by name, in the signature's order; arrays that have shapes and dtypes
            and no values stand for tensors.
        target: the chip's name, such as ``"trn2"``.
        compile_mode, allocation_mode: for the third generation's compiler.
    """

    arguments: Mapping[str, Any]
    target: str
    compile_mode: str = "standard"
    allocation_mode: str | None = None


@dataclass(frozen=True)
class Compiled:
    """What a frontend made of a kernel.

    Attributes:
        config: what the custom call carries.
        outputs: shape and dtype of each.
        aliases: output to operand: such an output is the operand, updated in place.
        is_tuple: whether the kernel returns several.
        has_collectives: whether ranks exchange something.
        constants: operands behind those of the call.
    """

    config: bytes
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    aliases: Mapping[int, int]
    is_tuple: bool
    has_collectives: bool = False
    constants: tuple[np.ndarray, ...] = field(default=(), compare=False)


class Frontend(NamedTuple):
    """A generation of the vendor's NKI.

    Attributes:
        package: whose ``jit`` makes a kernel of a function.
        classes: module and class of kernels that can be called.
        modules: which must be there beside those.
        compile: ``compile(kernel, call)``.
    """

    package: str
    classes: tuple[tuple[str, str], ...]
    compile: Callable[[Any, Call], Compiled]
    modules: tuple[str, ...] = ()

    @property
    def is_available(self) -> bool:
        """Whether its modules are installed, and are the vendor's."""
        modules = (*(module for module, _ in self.classes), *self.modules)
        return all(map(_is_installed, modules))

    def kernel_classes(self) -> list[type]:
        """Those of its classes whose modules are imported."""
        found = [
            getattr(sys.modules.get(module), name, None)
            for module, name in self.classes
        ]
        return [one for one in found if isinstance(one, type)]


def _is_installed(module: str) -> bool:
    """Whether there is such a module of the vendor's; nothing is imported to find out.

    Ours may stand under the same name.
    """
    name, path = "", None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = find_spec(name) if path is None else PathFinder.find_spec(name, path)
        if spec is None or type(spec.loader).__module__.startswith("nkipy_nki"):
            return False
        path = list(spec.submodule_search_locations or ())
    return True


# -- the third generation --------------------------------------------------------------
def _compile_third(kernel: Any, call: Call) -> Compiled:
    """Have ``CompileKernel`` compile to what the compiler of a program takes in.

    Raises:
        ValueError: it does not take the modes.
    """
    import tempfile  # which kernels of ours have no use for

    known = _fields_of(kernel)
    # The compiler of the program reads what is there: it stays.
    directory = tempfile.mkdtemp(prefix="nkipy_nki_")
    known |= {"target": call.target, "artifacts_dir": directory}
    known["lnc"] = known.get("lnc") or 1
    compiling = import_module("nki.framework.compiled").CompileKernel
    wanted = {f.name for f in fields(compiling)} | _parameters(compiling)
    modes = {
        "nki_compile_mode": call.compile_mode,
        "nisa_allocation_mode": call.allocation_mode,
    }
    for name, mode in modes.items():
        if name not in wanted and mode not in ("standard", None):
            raise ValueError(
                f"{name}={mode!r}: the frontend of the NKI that is installed does not "
                "take it"
            )
    known |= modes
    made = compiling(**{name: v for name, v in known.items() if name in wanted})
    frontend = made._frontend_cls(enable_backend_opt=made._enable_backend_opt)
    result = made._cached_compile_to_bir(
        frontend, dict(call.arguments), made._compile_opts()
    )
    config = result.build_config()
    return Compiled(
        _config_bytes(config.backend_config_b64),
        tuple(_output(spec.shape, spec.dtype) for spec in config.output_specs),
        _aliases(config.operand_output_aliases),
        bool(result.is_tuple_return),
        bool(config.has_collectives),
    )


def _fields_of(kernel: Any) -> dict[str, Any]:
    if not is_dataclass(kernel):
        return dict(vars(kernel))
    return {f.name: getattr(kernel, f.name) for f in fields(kernel)}


def _parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


# -- the first and the second ----------------------------------------------------------
def _compile_by_dump(kernel: Any, call: Call) -> Compiled:
    """Have a ``GenericKernel`` dump its configuration for bound arguments."""
    kernel.is_framework_tensor = lambda value: isinstance(value, np.ndarray)
    kernel.map_framework_tensor = lambda value: (value.shape, value.dtype)
    kernel.translate_to_neuron_dtype = lambda dtype: dtype
    if hasattr(kernel, "opts"):
        kernel.opts.enable_const_rewrite = True
    with kernel.bind_arguments(**call.arguments) as bound:
        config = kernel.dump_config_with_boundargs(bound)
    return Compiled(
        _config_bytes(config.dumped_config),
        tuple(_output(shape, dtype) for dtype, shape in config.return_types),
        _aliases(config.operand_output_aliases),
        bool(config.result_is_sequence),
        bool(config.has_collectives),
        tuple(np.asarray(value) for value in config.constant_values or ()),
    )


def _config_bytes(config: bytes | str) -> bytes:
    return config.encode() if isinstance(config, str) else bytes(config)


def _output(shape: Sequence[int], dtype: Any) -> tuple[tuple[int, ...], np.dtype]:
    return tuple(int(size) for size in shape), np.dtype(dtype)


def _aliases(by_operand: Mapping[int, int] | None) -> dict[int, int]:
    return {int(out): int(i) for i, out in (by_operand or {}).items()}


_THIRD = Frontend(
    "nki",
    (("nki.framework.kernel", "Kernel"),),
    _compile_third,
    ("nki.framework.compiled",),
)
_SECOND = Frontend(
    "nki",
    (
        ("nki.compile", "GenericKernel"),
        ("nki.compiler.backends.neuron.FrameworkKernel", "UnifiedKernel"),
    ),
    _compile_by_dump,
)
_FIRST = Frontend(
    "neuronxcc.nki",
    (
        ("neuronxcc.nki.compile", "GenericKernel"),
        ("neuronxcc.nki.compiler.backends.neuron.FrameworkKernel", "UnifiedKernel"),
    ),
    _compile_by_dump,
)
#: The generations, the newest first: that of ``nki`` from 0.3 on, the one before, and
#: that of ``neuronxcc.nki``.
FRONTENDS = (_THIRD, _SECOND, _FIRST)


def frontend_of(kernel: Any) -> Frontend | None:
    """The frontend whose kernel this is; None of a kernel of ours, or a function."""
    for frontend in FRONTENDS:
        if isinstance(kernel, tuple(frontend.kernel_classes())):
            return frontend
    return None


def with_vendors_jit(function: Any) -> Any:
    """A kernel of a plain function by the vendor's newest frontend, if there is one.

    What is a kernel already stays as it is: one of ours is ours.
    """
    if not inspect.isfunction(function):
        return function
    for frontend in FRONTENDS:
        if frontend.is_available:
            return import_module(frontend.package).jit(function)
    return function


# -- calls in a trace ------------------------------------------------------------------
def patch() -> None:
    """Let calls of the vendor's kernels in a trace become custom calls.

    All other calls stay as they are. Classes are patched whose modules are imported; to
    do it again does no harm.
    """
    for frontend in FRONTENDS:
        for kernel_class in frontend.kernel_classes():
            original = vars(kernel_class).get("__call__")
            if original is not None and not hasattr(original, "__nkipy_original__"):
                setattr(kernel_class, "__call__", _patched(original))  # noqa: B010


def _patched(original: Callable[..., Any]) -> Any:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if get_backend() == "cpu":
            return original(self, *args, **kwargs)
        module, _, function = NKIPyTensorRef.__nki_kernel__.partition(":")
        return getattr(import_module(module), function)(self, args, kwargs)

    setattr(__call__, "__nkipy_original__", original)  # noqa: B010
    return __call__
