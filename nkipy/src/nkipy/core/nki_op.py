"""Kernels written in the NKI language, as ops.

A kernel that is called in a trace becomes one custom call, which carries the program
that the kernel made for operands of those shapes. It is traced by the package that
offers the language (``nkipy-nki``); a kernel that the vendor's ``nki.jit`` made, by the
vendor's frontend, for hardware (:mod:`nkipy.core.vendor_nki`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nkipy.compiler.targets import OVERRIDE_VARIABLE, get_platform_target
from nkipy.core import vendor_nki
from nkipy.core.backend import get_backend
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.dtypes import HLO_NAMES
from nkipy.core.errors import NKIPyError, NKIPyTypeError
from nkipy.core.tensor import NKIPyTensorRef, as_tensor
from nkipy.hlo.kernel_languages import emit_kernel, language

__all__ = [
    "BETA2_NKI_AVAILABLE",
    "BETA3_ALLOCATION_MODES",
    "BETA3_COMPILE_MODES",
    "BETA3_NKI_AVAILABLE",
    "LEGACY_NKI_AVAILABLE",
    "NKICustomOp",
    "NKICustomOpHandle",
    "NKINotAvailableError",
    "call_kernel",
    "nki_custom_op",
    "wrap_nki_kernel",
]

#: Which versions of the vendor's NKI are installed, whose kernels are traced by it.
BETA3_NKI_AVAILABLE, BETA2_NKI_AVAILABLE, LEGACY_NKI_AVAILABLE = (
    frontend.is_available for frontend in vendor_nki.FRONTENDS
)
#: What the third version's compiler takes as modes.
BETA3_COMPILE_MODES = ("standard", "integration-alloc")
BETA3_ALLOCATION_MODES = ("fast", "ring", "max-reuse")


class NKINotAvailableError(ImportError):
    """An NKI kernel was used, and nothing here can trace one."""


def _language() -> Any:
    """What traces kernels.

    Raises:
        NKINotAvailableError: no package that does is installed.
    """
    found = language()
    if found is None:
        raise NKINotAvailableError(
            "NKI kernels are traced by the package nkipy-nki, which is not installed"
        )
    return found


def call_kernel(
    kernel: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: str = ""
) -> Any:
    """Call a kernel in a trace: what it returns, tensors of the program.

    Tensors that the kernel writes to are written: the program's values of them are then
    those that it leaves.

    Args:
        kernel: the kernel.
        args: its arguments: tensors, arrays, and what else it takes.
        kwargs: those by name.
        target: the chip that it is traced for; "" is what
            ``NEURON_PLATFORM_TARGET_OVERRIDE`` says, else nkipy's default.

    Raises:
        NKINotAvailableError: no package that traces kernels is installed.
        nki.NkiValidationError: the kernel does what is not allowed.
    """
    if frontend := vendor_nki.frontend_of(kernel):
        return _emit_compiled(_compiled(frontend, kernel, args, kwargs, target))
    nki = _language()
    specs = _with_specs(nki, args), _with_specs(nki, dict(kwargs))
    return _emit_embedded(nki.embed(kernel, *specs, target), None)


@dataclass(frozen=True)
class _Emitted:
    """What is emitted for a kernel.

    Attributes:
        config: what the custom call carries.
        outputs: shape and dtype of each.
        aliases: output to operand: such an output is the operand, updated in place.
        returned: makes what the kernel returns of the outputs.
        attributes: of the call, besides.
        names: of the operands, as the kernel has them.
        variables: of the environment, that it was traced by.
    """

    config: bytes
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    aliases: Mapping[int, int]
    returned: Callable[[Sequence[Any]], Any]
    attributes: Mapping[str, Any]
    names: Sequence[str]
    variables: tuple[str, ...]


def _emit_embedded(embedded: Any, operands: Sequence[Any] | None) -> Any:
    """Emit the call of a kernel that our language traced."""
    found = embedded.interface
    attributes = {"has_side_effect": True} if found.prints else {}
    made = _Emitted(
        *(embedded.program, found.outputs, found.aliases, embedded.returned),
        *(attributes, embedded.names, _language().VARIABLES),
    )
    return _emit(made, list(embedded.operands if operands is None else operands))


def _compiled(
    frontend: vendor_nki.Frontend,
    kernel: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    target: str,
    modes: tuple[Any, ...] = (),
) -> tuple[vendor_nki.Compiled, list[Any], list[str]]:
    """What the vendor's frontend makes of a call, its operands and their names."""
    bound = inspect.signature(getattr(kernel, "func", kernel)).bind(*args, **kwargs)
    bound.apply_defaults()
    operands: list[Any] = []
    names: list[str] = []

    def stand_in(value: Any, name: str) -> Any:
        if isinstance(value, (tuple, list)):
            parts = enumerate(value)
            return tuple(stand_in(part, f"{name}[{i}]") for i, part in parts)
        if not isinstance(value, (NKIPyTensorRef, np.ndarray)):
            return value
        operands.append(value)
        names.append(name)
        return np.empty(value.shape, value.dtype)

    given = {name: stand_in(value, name) for name, value in bound.arguments.items()}
    chip = target or str(get_platform_target().value)
    call = vendor_nki.Call(given, chip, *modes)
    return frontend.compile(kernel, call), operands, names


def _emit_compiled(made: tuple[vendor_nki.Compiled, list[Any], list[str]]) -> Any:
    """Emit the call of a kernel that the vendor's frontend compiled."""
    compiled, operands, names = made
    collectives = {"frontend_attributes": (("has_collectives", "1"),)}
    emitted = _Emitted(
        *(compiled.config, compiled.outputs, compiled.aliases),
        tuple if compiled.is_tuple else _only,
        collectives if compiled.has_collectives else {},
        [*names, *("a constant of the kernel" for _ in compiled.constants)],
        (OVERRIDE_VARIABLE,),
    )
    return _emit(emitted, [*operands, *compiled.constants])


def _only(results: Sequence[Any]) -> Any:
    return results[0] if results else None


def _with_specs(nki: Any, value: Any) -> Any:
    """`value`, with a spec for each tensor and array in it."""
    if isinstance(value, (NKIPyTensorRef, np.ndarray)):
        return nki.ArraySpec(tuple(value.shape), np.dtype(value.dtype), value)
    if isinstance(value, (tuple, list)):
        return tuple(_with_specs(nki, part) for part in value)
    if isinstance(value, dict):
        return {key: _with_specs(nki, part) for key, part in value.items()}
    return value


def _emit(found: _Emitted, given: Sequence[Any]) -> Any:
    """Emit the custom call of a traced kernel."""
    ctx = get_hlo_context()
    ctx.variables.update(found.variables)
    for number, (_, dtype) in enumerate(found.outputs):
        if dtype not in HLO_NAMES:
            raise NKIPyTypeError(
                f"result {number} of the kernel is {dtype}, which a program has no "
                "tensors of: return its bits, as in result.view(nl.uint8)",
                op="nki",
            )
    tensors = [as_tensor(value) for value in given]
    _refuse_converted(given, tensors)
    _refuse_shared(given, found.names, set(found.aliases.values()))
    values = [tensor.backend_tensor for tensor in tensors]
    parts = emit_kernel(
        ctx, found.config, found.outputs, found.aliases, values, found.attributes
    )
    results = [NKIPyTensorRef._wrap(ctx, part) for part in parts]
    for out, i in found.aliases.items():
        results[out] = _written(given[i], tensors[i], results[out], found.names[i])
    return found.returned(results)


def _refuse_converted(given: Sequence[Any], tensors: Sequence[NKIPyTensorRef]) -> None:
    """Refuse arrays that are constants of another dtype in a program."""
    for value, tensor in zip(given, tensors):
        if value.dtype != tensor.dtype:
            raise NKIPyTypeError(
                f"an array of {value.dtype} is given to the kernel, and a program has "
                f"no such tensors: give it as in x.astype(np.{tensor.dtype})",
                op="nki",
            )


def _refuse_shared(
    given: Sequence[Any], names: Sequence[str], written: set[int]
) -> None:
    """Refuse arguments that share memory, of which the kernel writes to one."""
    roots = [g._root() if isinstance(g, NKIPyTensorRef) else g for g in given]
    for i in sorted(written):
        others = [
            name
            for name, root in zip(names, roots)
            if root is roots[i] and name != names[i]
        ]
        if others:
            raise NKIPyError(
                f"the kernel writes to its argument {names[i]}, which shares its "
                f"memory with {', '.join(others)}: give it a copy",
                op="nki",
                location=caller_location(),
            )


def _written(
    given: Any, tensor: NKIPyTensorRef, value: NKIPyTensorRef, name: str
) -> Any:
    """An argument that a kernel wrote to, with the values that it has then."""
    if not isinstance(given, NKIPyTensorRef):
        raise NKIPyError(
            f"the kernel writes to its argument {name}, which is an array of the "
            "program's constants: make it an argument of the program, or copy it "
            "inside",
            op="nki",
            location=caller_location(),
        )
    tensor[...] = value
    return given


class NKICustomOp:
    """An NKI kernel traced for operands of certain shapes; see `wrap_nki_kernel`.

    Args:
        config: the bytes that the custom call carries.
        inputs: shape and dtype of each operand.
        emit: emits the call, of operands.

    Attributes:
        config: the same.
    """

    def __init__(
        self,
        config: bytes,
        inputs: Sequence[tuple[tuple[int, ...], np.dtype]],
        emit: Callable[[Sequence[Any]], Any],
    ) -> None:
        self.config = config
        self._inputs = list(inputs)
        self._emit = emit

    def __call__(self, *operands: Any) -> Any:
        """Call it in a trace, with operands of the shapes that it was traced for.

        Raises:
            NotImplementedError: no trace is active.
            ValueError: shapes or dtypes differ.
        """
        if get_backend() == "cpu":
            raise NotImplementedError(
                "an NKI kernel that was wrapped is called in a trace; call the kernel "
                "itself to run it by the simulator"
            )
        given = [(tuple(o.shape), np.dtype(o.dtype)) for o in operands]
        if given != self._inputs:
            raise ValueError(
                f"the kernel was traced for {self._inputs}, and received {given}"
            )
        return self._emit(operands)


def wrap_nki_kernel(
    kernel: Callable[..., Any],
    operands: Sequence[Any],
    grid: Sequence[int] = (),
    is_nki_beta_2_version: bool = False,
    is_nki_beta_3_version: bool = False,
    platform_target: str | None = None,
    nki_compile_mode: str = "standard",
    nisa_allocation_mode: str | None = None,
) -> NKICustomOp:
    """Make an op of an NKI kernel, for operands of these shapes.

    Args:
        kernel: the kernel, or its function, which is the vendor's if its NKI is
            installed.
        operands: arrays, or what has their shapes and dtypes.
        grid: for how many cores: ``()``, ``(1,)`` or ``(2,)``.
        is_nki_beta_2_version, is_nki_beta_3_version: of the vendor's NKI; it is known
            by the kernel's class.
        platform_target: the chip.
        nki_compile_mode, nisa_allocation_mode: for the vendor's compiler.

    Raises:
        ValueError: a mode is none that there is.
        NKINotAvailableError: no package that traces kernels is installed.
    """
    _check_mode("nki_compile_mode", nki_compile_mode, BETA3_COMPILE_MODES)
    if nisa_allocation_mode is not None:
        _check_mode(
            "nisa_allocation_mode", nisa_allocation_mode, BETA3_ALLOCATION_MODES
        )
    found: Any = vendor_nki.with_vendors_jit(kernel)
    if frontend := vendor_nki.frontend_of(found):
        made = found[tuple(grid)] if grid else found
        arrays = tuple(np.empty(o.shape, o.dtype) for o in operands)
        modes = (nki_compile_mode, nisa_allocation_mode)
        compiled, _, names = _compiled(
            frontend, made, arrays, {}, platform_target or "", modes
        )
        inputs = [(array.shape, array.dtype) for array in arrays]
        return NKICustomOp(
            *(compiled.config, inputs),
            lambda given: _emit_compiled((compiled, list(given), names)),
        )
    nki = _language()
    made = nki.as_kernel(kernel)
    specs = tuple(nki.ArraySpec(tuple(o.shape), np.dtype(o.dtype)) for o in operands)
    made = made[tuple(grid)] if grid else made
    embedded = nki.embed(made, specs, {}, platform_target or "")
    return NKICustomOp(
        *(embedded.program, embedded.interface.inputs),
        lambda given: _emit_embedded(embedded, given),
    )


def _check_mode(name: str, mode: str, known: Sequence[str]) -> None:
    if mode not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; received {mode!r}")


class NKICustomOpHandle:
    """An op with an NKI kernel for one backend or more; see `nki_custom_op`."""

    def __init__(self, nki_kernel: Callable[..., Any] | None) -> None:
        self.nki_kernel = nki_kernel

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the kernel in a trace.

        Raises:
            RuntimeError: no trace is active, or there is no kernel for its backend.
            NKINotAvailableError: no package that traces kernels is installed.
        """
        if get_backend() == "cpu":
            raise RuntimeError("an NKI kernel is not supported on backend 'cpu'")
        if self.nki_kernel is None:
            raise RuntimeError(f"no nki_kernel was given for backend '{get_backend()}'")
        kernel = vendor_nki.with_vendors_jit(self.nki_kernel)
        if vendor_nki.frontend_of(kernel) is None:
            kernel = _language().as_kernel(kernel)
        return call_kernel(kernel, args, kwargs)


def nki_custom_op(
    *,
    nki_kernel: Callable[..., Any] | None = None,
    kernel_builder: Callable[..., Any] | None = None,
    input_specs: Sequence[Any] | None = None,
    output_specs: Sequence[Any] | None = None,
) -> NKICustomOpHandle:
    """Make an op of kernels, one for each backend.

    Args:
        nki_kernel: the kernel for the HLO backend.
        kernel_builder: makes the kernel for the nkigen backend, which is not supported.
        input_specs, output_specs: what a `kernel_builder` needs to know.

    Raises:
        ValueError: neither kernel is given, or a builder without specs.
    """
    if nki_kernel is None and kernel_builder is None:
        raise ValueError("At least one of nki_kernel and kernel_builder is required")
    if kernel_builder is not None and (input_specs is None or output_specs is None):
        raise ValueError("input_specs and output_specs are required by kernel_builder")
    return NKICustomOpHandle(nki_kernel)


vendor_nki.patch()
