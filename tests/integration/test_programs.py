"""Random programs of 1 to 12 ops: NumPy and the executed HLO agree.

A program is a list of steps; each takes earlier values and appends one, or changes one
in place. The same Python function runs under NumPy and traced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

from nkipy.testing import following_table
from tests.support.kernels import check_kernel

F32, I32, BF16 = np.float32, np.int32, ml_dtypes.bfloat16
#: float8_e4m3fn is not on the device, and its overflow is NaN.
FP8 = (ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2)


@dataclass(frozen=True)
class Step:
    """`apply(values)` appends to the values or changes them; `text` is its source."""

    text: str
    apply: Callable[[list[Any]], None]


def _same_shape(values: list[Any], i: int) -> Any:
    """Another value that broadcasts with value `i`: the last of its shape."""
    fitting = [v for v in values if v.shape == values[i].shape]
    return fitting[-1]


UNARY = {
    "negative": np.negative,
    "abs": np.abs,
    "square-bounded": lambda x: np.square(np.clip(x, -8, 8)),
    "sign": np.sign,
    "transpose": np.transpose,
    "ravel": np.ravel,
    "flip": np.flip,
    "twice": lambda x: np.concatenate([x, x]) if x.ndim else x,
    "row": lambda x: x[-1] if x.ndim and x.shape[0] else x,
    "every other": lambda x: x[::2] if x.ndim else x,
    "reversed": lambda x: x[..., ::-1] if x.ndim else x,
    "new axis": lambda x: x[:, None] if x.ndim == 1 else x,
    "sum": lambda x: np.sum(x, axis=-1) if x.ndim else x,
    "max keepdims": lambda x: (
        np.max(x, axis=0, keepdims=True) if x.size and x.ndim else x
    ),
    "argmax": lambda x: np.argmax(x, axis=-1) if x.size and x.ndim else x,
    "cumsum": lambda x: np.cumsum(x, axis=-1) if x.ndim else x,
    "roll": lambda x: np.roll(x, 1),
    "pad": lambda x: np.pad(x, 1) if x.ndim else x,
    "positive": lambda x: x > 0,
    "to float": lambda x: x.astype(F32),
    "to int": lambda x: np.clip(x, -100, 100).astype(I32),
    "to bfloat16": lambda x: x.astype(BF16),
    "to fp8": lambda x: np.clip(x, -8, 8).astype(FP8[x.ndim % 2]),
    "half": lambda x: x * 0.5,
    "next": lambda x: x + np.int64(1),
    "root": lambda x: x / np.sqrt(64),
    "mean": lambda x: np.mean(x, axis=-1) if x.size and x.ndim else x,
    "where positive": lambda x: np.where(x > 0, x, 0.0),
    "sort": lambda x: np.sort(x, axis=-1) if x.ndim else x,
    "gather": lambda x: x[np.array([0, -1, 0])] if x.ndim and x.shape[0] else x,
}
BINARY = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "less": np.less,
    "where": lambda x, y: np.where(x > y, x, y),
    "outer sum": lambda x, y: np.add.outer(np.ravel(x)[:3], np.ravel(y)[:2]),
    "stack": lambda x, y: np.stack([x, y]),
    "products": lambda x, y: x @ np.swapaxes(y, -1, -2) if x.ndim > 1 else x,
}


def _store(x: Any, y: Any) -> None:
    x[...] = y


def _store_row(x: Any, y: Any) -> None:
    if x.ndim and x.shape[0]:
        x[0] = y[-1]


def _add_in_place(x: Any, y: Any) -> None:
    if x.dtype != bool and np.can_cast(y.dtype, x.dtype, "same_kind"):
        x += y


def _through_view(x: Any, y: Any) -> None:
    if x.ndim and x.shape[0]:
        view = x[-1]
        view[...] = 3


def _masked(x: Any, y: Any) -> None:
    x[x > y] = 0


IN_PLACE = {
    "store": _store,
    "store row": _store_row,
    "add in place": _add_in_place,
    "through view": _through_view,
    "masked": _masked,
}


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(["unary", "unary", "binary", "in place"]))
    pick = draw(st.integers(0, 7))
    if kind == "unary":
        name = draw(st.sampled_from(sorted(UNARY)))
        return Step(
            f"{name}({pick})",
            lambda values: values.append(UNARY[name](values[pick % len(values)])),
        )
    table = BINARY if kind == "binary" else IN_PLACE
    name = draw(st.sampled_from(sorted(table)))

    def apply(values: list[Any]) -> None:
        i = pick % len(values)
        made = table[name](values[i], _same_shape(values, i))
        if made is not None:
            values.append(made)

    return Step(f"{name}({pick})", apply)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.sampled_from([(), (3,), (2, 3), (3, 1), (0, 3), (2, 3, 4)]))
    others = [I32, np.int8, np.uint8, np.float16, bool]
    dtype = draw(st.sampled_from([F32, BF16, *FP8, *others]))
    seed = draw(st.integers(0, 2**16))
    # Small whole numbers: sums and products of a few are exact in every dtype.
    rng = np.random.default_rng(seed)
    low = 0 if np.dtype(dtype) in (np.uint8, bool) else -3
    return rng.integers(low, 4, shape).astype(dtype)


class Program:
    """The steps, as a function of arrays."""

    def __init__(self, parts: list[Step]) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        return " ; ".join(step.text for step in self.parts)

    __name__ = "program"

    def __call__(self, *inputs: Any) -> list[Any]:
        values = list(inputs)
        for step in self.parts:
            if sum(v.size for v in values[-1:]) > 5000:
                break
            step.apply(values)
        return [v.copy() for v in values[len(inputs) :]]


def _runs_under_numpy(program: Any, inputs: list[np.ndarray]) -> bool:
    try:
        with np.errstate(all="ignore"):
            program(*(x.copy() for x in inputs))
    except (TypeError, ValueError, IndexError):
        return False
    return True


def check(parts: list[Step], inputs: list[np.ndarray]) -> None:
    program = Program(parts)
    reference = following_table(program)
    if not _runs_under_numpy(reference, inputs):
        with pytest.raises((TypeError, ValueError, IndexError, NotImplementedError)):
            check_kernel(program, *inputs)
        return
    with np.errstate(all="ignore"):
        check_kernel(program, *inputs, reference=reference)


PROGRAMS = {
    "parts": st.lists(steps(), min_size=1, max_size=12),
    "inputs": st.lists(arrays(), min_size=1, max_size=3),
}


@given(**PROGRAMS)
def test_program_equals_numpy(parts, inputs):
    check(parts, inputs)


@pytest.mark.slow
@settings(max_examples=400)
@given(**PROGRAMS)
def test_many_programs_equal_numpy(parts, inputs):
    check(parts, inputs)
