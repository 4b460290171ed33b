"""Runs lowerings of single operations, with padding and without, beside the CPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import (
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)
from torch.testing import assert_close
from torch.testing._comparison import default_tolerances
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nkipy.execution import simulate
from spike_torch.aten import OPERATORS
from spike_torch.lowering import Array, NeedsExactSize, Sizes
from spike_torch.lowering.graph import SIZES
from spike_torch.tensors import array_of, numpy_dtype

from .lowered_operation import Program, lower_operation
from .op_samples import samples, tensors


class Call(NamedTuple):
    """A call of an aten operator, and what the CPU returned."""

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    returned: Any


def operator_of(name: str) -> Any:
    """torch's operator of a record's name, as ``"aten::add.Tensor"``."""
    space, _, rest = name.partition("::")
    packet, _, overload = rest.partition(".")
    return getattr(getattr(getattr(torch.ops, space), packet), overload or "default")


class Recorder(TorchDispatchMode):
    """Keeps the calls that reach the dispatcher, of operators that `wanted` takes."""

    def __init__(self, wanted: Callable[[Any], bool]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._wanted = wanted

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        wanted = self._wanted(func) and not func._schema.is_mutable
        kept = pytree.tree_map(_copied, (args, kwargs)) if wanted else None
        returned = func(*args, **kwargs)
        if kept is not None:
            copied = pytree.tree_map(_copied, returned)
            self.calls.append(Call(func, tuple(kept[0]), kept[1], copied))
        return returned


def _copied(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone(memory_format=torch.contiguous_format)


def calls_in(
    op: OpInfo, dtype: torch.dtype, wanted: Callable[[Any], bool], most: int = 100
) -> list[Call]:
    """The calls that torch's samples of an operation make, forward and backward."""
    recorder = Recorder(wanted)
    for sample in samples(op, dtype, most):
        given = tensors((sample.input, sample.args, sample.kwargs))
        if any(t.layout != torch.strided for t in given):
            continue
        with recorder:
            result = op(sample.input, *sample.args, **sample.kwargs)
            for out in tensors(result):
                if out.requires_grad and not out.is_complex():
                    out.sum().backward(retain_graph=True)
    return recorder.calls


def calls_with(
    op: Any, arguments: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]
) -> list[Call]:
    """Calls of an operator with these arguments."""
    return [Call(op, args, kwargs, op(*args, **kwargs)) for args, kwargs in arguments]


def check_static(call: Call, **tolerance: Any) -> None:
    """The lowering's value, dtype and shape are the CPU's, without any padding."""
    program = lower_operation(call.op, call.args, call.kwargs, call.returned)
    given = tensors((call.args, call.kwargs))
    _compare(call, _run(program, [array_of(t) for t in given]), tolerance)


def check_padded(
    call: Call,
    dynamic: Callable[[int, int], bool] = lambda tensor, dim: True,
    extra: int = 3,
    shared: bool = False,
    **tolerance: Any,
) -> int:
    """The same with sizes in larger buckets, whose padding is NaN.

    Args:
        call: what is checked.
        dynamic: which dimensions have symbols: by number of tensor and of dimension.
        extra: how much larger than a size its bucket is.
        shared: whether dimensions of one size have one symbol.

    Returns:
        How many symbols there were, after torch has looked at the operation.

    Raises:
        NeedsExactSize: the lowering says that it has no mask.
    """
    shape_env = ShapeEnv()
    fakes, leaves, tree = _fake(call, shape_env, dynamic, shared)
    args, kwargs = pytree.tree_unflatten(leaves, tree)
    with fakes:
        returned = _returned(call.op, args, kwargs)
    values = {
        symbol: int(shape_env.backed_var_to_val[symbol])
        for symbol in _symbols(leaves, shape_env)
    }
    buckets = {symbol: value + extra for symbol, value in values.items()}
    program = lower_operation(call.op, args, kwargs, returned, Sizes(buckets))
    given = tensors((call.args, call.kwargs))
    padded = [_padded(t, a) for t, a in zip(given, program.inputs)]
    actual = np.array([values[s] for s in buckets], np.int32)
    made = _run(program, padded, actual)
    cut = [
        _cut(array, out, values)
        for array, out in zip(made, program.outputs, strict=True)
    ]
    _compare(call, cut, tolerance)
    return len(buckets)


def _fake(
    call: Call,
    shape_env: ShapeEnv,
    dynamic: Callable[[int, int], bool],
    shared: bool = False,
    name: str = "t",
) -> tuple[FakeTensorMode, list[Any], Any]:
    symbolic = DimDynamic.DUCK if shared else DimDynamic.DYNAMIC
    mode = FakeTensorMode(shape_env=shape_env)
    leaves, tree = pytree.tree_flatten((call.args, call.kwargs))
    number = 0
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor):
            context = StatelessSymbolicContext(
                dynamic_sizes=[
                    symbolic if dynamic(number, d) else DimDynamic.STATIC
                    for d in range(leaf.dim())
                ]
            )
            leaves[i] = mode.from_tensor(
                leaf, source=ConstantSource(f"{name}{number}"), symbolic_context=context
            )
            number += 1
    return mode, leaves, tree


def _returned(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What torch says the operation returns."""
    try:
        return op(*args, **kwargs)
    except UnsupportedOperatorException as error:
        raise NeedsExactSize("has no shape rule of torch's") from error
    except RuntimeError as error:
        if "concrete integers" in str(error) or "symbolic sizes" in str(error):
            raise NeedsExactSize("has a shape rule of torch's for numbers") from error
        if "INTERNAL ASSERT" in str(error):
            raise NeedsExactSize("has no shape rule of torch's") from error
        raise


def _symbols(leaves: Sequence[Any], shape_env: ShapeEnv) -> list[Any]:
    found: dict[Any, None] = {}
    for tensor in leaves:
        if isinstance(tensor, torch.Tensor):
            for size in tensor.shape:
                if isinstance(size, torch.SymInt):
                    expr = shape_env.replace(size.node.expr)
                    found |= dict.fromkeys(sorted(expr.free_symbols, key=str))
    return list(found)


def from_host(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """What a program computed, whose bits are of this dtype, as a tensor."""
    if not array.size:
        return torch.empty(array.shape, dtype=dtype)
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(array.shape)


def _padded(tensor: torch.Tensor, array: Array) -> np.ndarray:
    shape = array.value.shape
    dtype = numpy_dtype(tensor.dtype)
    if dtype.kind in "iu":
        made = np.full(shape, np.iinfo(dtype).max, dtype)
    else:
        made = np.full(shape, True if dtype == np.bool_ else np.nan, dtype)
    made[tuple(slice(0, n) for n in tensor.shape)] = array_of(tensor)
    return made


def _run(
    program: Program, given: Sequence[np.ndarray], sizes: np.ndarray | None = None
) -> list[np.ndarray]:
    inputs = {f"input{i}": x for i, x in enumerate(given)}
    if sizes is not None and SIZES in [p.name for p in program.module.inputs]:
        inputs[SIZES] = sizes
    made = simulate(program.module).bind({})(inputs)
    return [np.asarray(made[spec.name]) for spec in program.module.outputs]


def _cut(made: np.ndarray, array: Array, values: Mapping[Any, int]) -> np.ndarray:
    """What counts of a result."""
    factors = [f for d in array.dims for f in d.factors]
    sizes = [
        f.size if isinstance(f.size, int) else int(f.size.xreplace(values))
        for f in factors
    ]
    made = made.reshape([f.padded for f in factors])
    made = made[tuple(slice(0, n) for n in sizes)]
    return made.reshape(
        [
            d.size if isinstance(d.size, int) else int(d.size.xreplace(values))
            for d in array.dims
        ]
    )


def _compare(call: Call, made: Sequence[np.ndarray], tolerance: Any) -> None:
    wanted = tensors(call.returned)
    assert len(made) == len(wanted), call.op
    for array, truth in zip(made, wanted):
        assert array.dtype == numpy_dtype(truth.dtype), (call.op, array.dtype)
        assert array.shape == tuple(truth.shape), (call.op, array.shape)
        ours = from_host(array, truth.dtype)
        allowed = tolerance or _rounding(call, truth)
        assert_close(ours, truth, equal_nan=True, **allowed)


def _rounding(call: Call, truth: torch.Tensor) -> dict[str, float]:
    """What sums in another order may differ by, if the record says that there are."""
    known = OPERATORS.get(call.op.name())
    if known is None or not known.rounding or not truth.is_floating_point():
        return {}
    finite = truth[truth.isfinite()].abs()
    greatest = float(finite.max()) if finite.numel() else 0.0
    rtol, least = default_tolerances(truth)
    is_wide = truth.dtype == torch.float32
    steps = known.rounding * torch.finfo(truth.dtype).eps if is_wide else rtol
    return {"rtol": rtol, "atol": max(least, steps * greatest)}


def every_dimension(call: Call) -> Iterator[Callable[[int, int], bool]]:
    """All dimensions at once, then each by itself."""
    yield lambda tensor, dim: True
    for n, t in enumerate(tensors((call.args, call.kwargs))):
        for d in range(t.dim()):
            yield lambda tensor, dim, n=n, d=d: (tensor, dim) == (n, d)
