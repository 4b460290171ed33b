"""The vendor's custom calls: as plain HLO, or answered by a Python handler.

A handler registered here runs in the middle of an XLA program: it gets the operands as
read-only arrays and writes into the arrays of the results.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy_emulator import _xla
from nkipy_emulator.errors import UnsupportedCustomCallError

#: ``handler(inputs, outputs, backend_config)``. Inputs are read-only; it fills outputs.
Handler = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], bytes], None]

TYPED_FFI = 4  # XLA's custom_call_api_version of handlers with typed arguments

_handlers: dict[str, Handler] = {}


def register_custom_call(target: str, handler: Handler) -> None:
    """Let `handler` answer custom calls to `target` in modules compiled from now on.

    Args:
        target: the call's ``custom_call_target``.
        handler: called as ``handler(inputs, outputs, backend_config)`` with lists of
            arrays of the call's shapes and dtypes. It fills every output, keeps no
            reference to any array, and may be called from several threads at a time.
            What it raises, the running call raises; no result is written then.

    Raises:
        ValueError: `target` is lowered to plain HLO and cannot be replaced.
    """
    if target in _LOWERINGS:
        raise ValueError(f"{target} is computed by XLA itself, as plain HLO")
    _handlers[target] = handler


def unregister_custom_call(target: str) -> None:
    """Forget the handler of `target`. Programs already compiled keep it."""
    _handlers.pop(target, None)


def known_targets() -> list[str]:
    """The targets that a module may call."""
    return sorted([*_LOWERINGS, *_handlers])


# -------------------------------------------------------------------- Python handlers


class _Site(NamedTuple):
    """One custom call of a compiled module."""

    handler: Handler
    backend_config: bytes
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


_sites: dict[int, _Site] = {}
_next_site = itertools.count(1)
_lock = threading.Lock()


def _call_site(
    number: int, inputs: list[memoryview], outputs: list[memoryview]
) -> None:
    site = _sites[number]
    site.handler(
        [_array(view, shape) for view, shape in zip(inputs, site.inputs)],
        [_array(view, shape) for view, shape in zip(outputs, site.outputs)],
        site.backend_config,
    )


def _array(view: memoryview, shape: Shape) -> np.ndarray:
    return np.frombuffer(view, np.uint8).view(shape.dtype).reshape(shape.dims)


_xla.set_python_hook(_call_site)


def _shapes_of(inst: HLOInstruction) -> tuple[Shape, ...]:
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    assert inst.dtype is not None
    return (Shape(inst.dtype, inst.shape),)


class CustomCalls:
    """The Python handlers that one compiled module uses; release them with it."""

    def __init__(self) -> None:
        self.sites: list[int] = []

    def add(self, site: _Site) -> int:
        number = next(_next_site)
        with _lock:
            _sites[number] = site
        self.sites.append(number)
        return number

    def release(self) -> None:
        """Forget the call sites."""
        _forget_sites(self.sites)

    def release_with(self, owner: object) -> None:
        """Forget the call sites when `owner`, which makes the calls, is gone."""
        if self.sites:
            weakref.finalize(owner, _forget_sites, self.sites)


def _forget_sites(numbers: list[int]) -> None:
    with _lock:
        for number in numbers:
            _sites.pop(number, None)


def lower_custom_calls(
    module: HLOModule, vector: HLOInstruction, calls: CustomCalls
) -> HLOModule:
    """A copy of `module` whose custom calls XLA can execute.

    Args:
        module: what to copy.
        vector: the parameter that points to the state of the running call.
        calls: receives the call sites of Python handlers.

    Raises:
        UnsupportedCustomCallError: a target is neither lowered nor registered.
    """

    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "custom-call":
            return None
        target = inst.attributes["custom_call_target"]
        lowering = _LOWERINGS.get(target)
        if lowering is not None:
            return lowering(inst, operands, place.builder)
        handler = _handlers.get(target)
        if handler is None:
            raise UnsupportedCustomCallError(_unknown(target, inst))
        site = _Site(
            handler,
            inst.attributes.get("backend_config", b""),
            tuple(s for o in operands for s in _shapes_of(o)),
            _shapes_of(inst),
        )
        state = (vector,) if place.is_entry else ()
        return _python_call(inst, operands, state, calls.add(site), place.builder)

    if all(
        inst.opcode != "custom-call"
        for computation in module.computations()
        for inst in computation.instructions
    ):
        return module
    return rewrite(module, rule)


def _unknown(target: str, inst: HLOInstruction) -> str:
    where = f" ({inst.source_location})" if inst.source_location else ""
    return (
        f"custom call to {target!r}{where} cannot be simulated; known targets are "
        f"{', '.join(known_targets())}. nkipy_emulator.register_custom_call adds one"
    )


def _python_call(
    inst: HLOInstruction,
    operands: tuple[HLOInstruction, ...],
    state: tuple[HLOInstruction, ...],
    site: int,
    builder: HLOBuilder,
) -> HLOInstruction:
    config = f"{{id = {site} : i64, state = {len(state)} : i64}}"
    attributes = {
        "custom_call_target": "nkipy_call_python",
        "backend_config": config.encode(),
        "api_version": TYPED_FFI,
        "has_side_effect": bool(inst.attributes.get("has_side_effect", False)),
    }
    return builder.emit(
        "custom-call",
        (*operands, *state),
        inst.shape,
        inst.dtype,
        MappingProxyType(attributes),
        inst.tuple_shapes,
    )


# -------------------------------------------------------------------- plain HLO


def _lower_topk(
    inst: HLOInstruction, operands: tuple[HLOInstruction, ...], b: HLOBuilder
) -> HLOInstruction:
    """The k greatest along the last axis, in descending order, and where they were.

    The order is that of ``np.sort``, turned around: NaN is above every number. Equal
    values (both zeros are equal, and so are all NaNs) keep the order of their indices.
    """
    (x,) = operands
    assert inst.tuple_shapes is not None and x.dtype is not None
    values, indices = inst.tuple_shapes
    axis = len(x.shape) - 1
    positions = b.iota(x.shape, axis, indices.dtype)
    both = b.tuple_result(
        "sort",
        (x, positions),
        (Shape(x.dtype, x.shape), Shape(indices.dtype, x.shape)),
        {
            "dimension": axis,
            "is_stable": True,
            "to_apply": _descending(x.dtype, indices.dtype),
        },
    )
    parts = tuple(b.slice_dim(part, axis, 0, values.dims[-1]) for part in both)
    return b.emit("tuple", parts, (), None, tuple_shapes=inst.tuple_shapes)


def _descending(dtype: np.dtype, index_dtype: np.dtype) -> HLOComputation:
    comparator = HLOComputation(f"descending_{dtype.name}")
    x, y = (comparator.add_parameter((), dtype) for _ in range(2))
    for _ in range(2):
        comparator.add_parameter((), index_dtype)
    b = HLOBuilder(comparator)
    before = b.compare(x, y, "GT")
    if dt.is_float(dtype):
        x_is_nan, y_is_number = b.compare(x, x, "NE"), b.compare(y, y, "EQ")
        before = b.or_(before, b.and_(x_is_nan, y_is_number))
    comparator.root = before
    return comparator


_LOWERINGS: dict[
    str, Callable[[HLOInstruction, tuple[HLOInstruction, ...], HLOBuilder], Any]
] = {"AwsNeuronTopK": _lower_topk}
