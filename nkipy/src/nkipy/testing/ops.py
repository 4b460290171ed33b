"""Runs the samples of an op's record, and compares them with the op's reference."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nkipy.core.arguments import is_array_like
from nkipy.core.errors import NKIPyError
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample
from nkipy.core.trace import trace_function
from nkipy.core.tree import map_tree
from nkipy.runtime.simulate import SimulatedKernel
from nkipy.testing.comparison import compare
from nkipy.testing.low_precision import following_table, involves_table
from nkipy.testing.tolerances import Tolerance

__all__ = ["check_error", "check_op"]

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
    """Compare an op with its reference, in one of the dtypes that it claims.

    All samples are calls of one kernel, so that they are compiled together. Results,
    written arguments, shapes and dtypes are compared; an error names its sample.

    Args:
        op: an op whose record has samples and a reference.
        dtype: what to make the samples in.
        jit: what runs a kernel, such as ``simulate_jit`` or ``baremetal_jit``.
        keep: which samples to take.

    Raises:
        AssertionError: a sample's result differs, or there is no sample.
    """
    if op.samples is None or op.reference is None:
        raise AssertionError(f"{op} has no samples, or nothing to compare them with")
    samples = list(filter(keep, op.samples(dtype)))
    if not samples:
        raise AssertionError(f"{op} has no samples in {dtype}")

    def kernel(calls: list[tuple[Any, Any]]) -> Any:
        return [
            (_entry(op, sample)(*args, **kwargs), _arrays(args), _arrays(kwargs))
            for sample, (args, kwargs) in zip(samples, calls)
        ]

    calls = [(copy.deepcopy(s.args), copy.deepcopy(s.kwargs)) for s in samples]
    with _quiet():
        computed = jit(kernel)(calls)
        expected = [_reference(op, sample) for sample in samples]
    for sample, got, want in zip(samples, computed, expected):
        label = f"{op.name}[{dtype}] {sample.label or sample.args}"
        compare(got, want, tolerance=Tolerance.of(op), label=label)


def check_error(op: Op, sample: ErrorSample) -> None:
    """Check that a mistaken call raises its error while tracing, and says why.

    Raises:
        AssertionError: it does not raise, raises another error, or one that does not
            name the op, what was received and the line.
    """
    error = _error_of(op, sample)
    what = f"{op.name}{sample.args}: {type(error).__name__}: {error}"
    if not isinstance(error, sample.error) or not isinstance(error, NKIPyError):
        raise AssertionError(f"expected {sample.error.__name__} of {what}") from error
    if sample.match and re.search(sample.match, str(error)) is None:
        raise AssertionError(f"{sample.match!r} is not in the text of {what}")
    if not (error.op and error.received and error.location is not None):
        raise AssertionError(f"the op, what it received or the line is not in {what}")


def _error_of(op: Op, sample: ErrorSample) -> Exception | None:
    def kernel(args: Any, kwargs: Any) -> Any:
        return _entry(op, sample)(*args, **kwargs)

    try:
        with _quiet():
            trace_function(kernel, (sample.args, sample.kwargs), {})
    except Exception as error:
        return error
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


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
    reference = op.reference
    if involves_table((args, kwargs)):
        reference = following_table(reference)
    return reference(*args, **kwargs), _arrays(args), _arrays(kwargs)


def _arrays(tree: Any) -> Any:
    """`tree` without its static leaves: a kernel cannot return a dtype or a slice."""
    return map_tree(lambda path, leaf: leaf if is_array_like(leaf) else None, tree)
