"""Compares ops with NumPy: value, dtype and shape, through the executed HLO."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.errors import NKIPyError
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample
from nkipy.core.ops._ufunc import UFuncOp
from nkipy.core.trace import is_array_like, trace_function
from nkipy.core.tree import children, is_container, map_tree, path_name
from nkipy.runtime.simulate import SimulatedKernel

#: About four units in the last place: a function may be rounded differently.
RTOL = {
    dt.float32: 1e-6,
    dt.float16: 2e-3,
    dt.bfloat16: 1.6e-2,
    dt.float8_e4m3: 0.13,
    dt.float8_e4m3fn: 0.13,
    dt.float8_e5m2: 0.26,
}


#: Makes something to call, with a kernel's arguments, of the kernel.
Jit = Callable[[Callable[..., Any]], Callable[..., Any]]


def _keep_all(sample: Sample) -> bool:
    return True


def check_op(
    op: Op,
    dtype: np.dtype,
    jit: Jit = SimulatedKernel,
    keep: Callable[[Sample], bool] = _keep_all,
) -> None:
    """The samples of `op` in `dtype`, compiled as one module, against the reference.

    Args:
        op: the op.
        dtype: one of those that it claims.
        jit: what runs a kernel.
        keep: which samples to take.
    """
    assert op.samples is not None and op.reference is not None
    samples = list(filter(keep, op.samples(dtype)))
    assert samples, f"{op} has no samples in {dtype}"

    def kernel(calls: list[tuple[Any, Any]]) -> Any:
        return [
            (_entry(op, sample)(*args, **kwargs), _arrays(args), _arrays(kwargs))
            for sample, (args, kwargs) in zip(samples, calls)
        ]

    calls = [(copy.deepcopy(s.args), copy.deepcopy(s.kwargs)) for s in samples]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        computed = jit(kernel)(calls)
        expected = [_reference(op, sample) for sample in samples]
    for sample, got, want in zip(samples, computed, expected):
        label = f"{op.name}[{dtype}] {sample.label or sample.args}"
        compare(got, want, op=op, label=label)


def check_error(op: Op, sample: ErrorSample) -> None:
    """A mistaken call raises its error at trace time, and says what it received."""

    def kernel(args: Any, kwargs: Any) -> Any:
        return _entry(op, sample)(*args, **kwargs)

    with pytest.raises(sample.error, match=sample.match or None) as caught:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace_function(kernel, (sample.args, sample.kwargs), {})
    error = caught.value
    assert isinstance(error, NKIPyError), f"{type(error)} is not of our family"
    assert error.op and error.received and error.location is not None


def run_simulated(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Trace `func`, execute its HLO, return what it returns."""
    return SimulatedKernel(func)(*args, **kwargs)


def check_kernel(
    func: Callable[..., Any], *args: Any, rtol: float | None = None
) -> None:
    """`func` gives the same under NumPy and simulated, written arguments included."""
    ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
    got = run_simulated(func, *ours)
    want = func(*theirs)
    compare((got, ours), (want, theirs), label=func.__name__, rtol=rtol)


def _entry(op: Op, sample: Sample | ErrorSample) -> Callable[..., Any]:
    """NumPy's own function where it would dispatch to the op, else the op."""
    found = False

    def look(path: Any, leaf: Any) -> None:
        nonlocal found
        found = found or is_array_like(leaf)

    map_tree(look, [sample.args, sample.kwargs])
    return op.numpy[0] if op.numpy and found else op


def _reference(op: Op, sample: Sample) -> Any:
    assert op.reference is not None
    args, kwargs = copy.deepcopy(sample.args), copy.deepcopy(sample.kwargs)
    return op.reference(*args, **kwargs), _arrays(args), _arrays(kwargs)


def _arrays(tree: Any) -> Any:
    """`tree` without its static leaves: a kernel cannot return a dtype or a slice."""
    return map_tree(lambda path, leaf: leaf if is_array_like(leaf) else None, tree)


def compare(
    got: Any,
    want: Any,
    *,
    op: Op | None = None,
    label: str = "",
    rtol: float | None = None,
    path: tuple[str, ...] = (),
) -> None:
    """Both trees have the same leaves, in shape, dtype and value."""
    if is_container(want) and is_container(got):
        ours, theirs = list(children(got)), list(children(want))
        assert [k for k, _ in ours] == [k for k, _ in theirs], f"{label} {path}"
        for (key, a), (_, b) in zip(ours, theirs):
            compare(a, b, op=op, label=label, rtol=rtol, path=(*path, key))
        return
    where = f"{label} at {path_name(path)}" if path else label
    if want is None or isinstance(want, (str, type)):
        assert got is want or got == want, where
        return
    want = np.asarray(want)
    if want.dtype.kind not in "OSUMmc":
        want_dtype = dt.narrow(want.dtype)
        got_dtype = dt.narrow(np.asarray(got).dtype)
        assert got_dtype == want_dtype, f"{where}: {got_dtype} is not {want_dtype}"
    got = np.asarray(got)
    assert got.shape == want.shape, f"{where}: shape {got.shape} is not {want.shape}"
    with np.errstate(over="ignore"):  # NumPy's result has 64 bits, ours is narrowed
        want = want.astype(got.dtype)
    _compare_values(got, want, op, where, rtol)


def _compare_values(
    got: np.ndarray, want: np.ndarray, op: Op | None, where: str, rtol: float | None
) -> None:
    if not dt.is_float(got.dtype):
        np.testing.assert_array_equal(got, want, err_msg=where)
        return
    kind = got.dtype if got.dtype in RTOL else dt.float32
    given = op.rtol.get(kind) if op is not None else None
    tolerance = rtol if rtol is not None else RTOL[kind] if given is None else given
    x, y = got.astype(np.float64), want.astype(np.float64)
    finite = np.abs(y[np.isfinite(y)])
    smallest = float(ml_dtypes.finfo(kind).smallest_normal)
    elementwise = isinstance(op, UFuncOp)
    # A result that is a sum of terms is only as exact as the largest of them.
    scale = smallest if elementwise else max(tolerance * np.max(finite, initial=1), 0)
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=scale, err_msg=where)
    if elementwise:
        zero = (x == 0) & (y == 0)
        np.testing.assert_array_equal(
            np.signbit(x[zero]), np.signbit(y[zero]), err_msg=f"{where}: sign of zero"
        )
