"""Ops refuse arguments of wrong kinds by errors of NumPy's kinds, with the user's line.

Each op is called as in its first sample, with one argument replaced by something else.
That may succeed; what it raises is an error of ours or of NumPy's own, and none of what
goes wrong inside an op that was not made for such an argument.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

import nkipy
from nkipy.core.errors import NKIPyError
from nkipy.core.ops._registry import Op
from nkipy.core.trace import trace_function
from nkipy.hlo import HLOProtoError
from nkipy.testing.samples import sampled_ops

X = np.ones((2, 3), np.float32)
TRACED: Any = type("Traced", (), {})()  # stands for a traced array
OURS = Path(nkipy.__file__).parent
#: Texts of Python and of our own that tell a user nothing.
RAW = re.compile(r"<locals>|HLOInstruction|<HLO |has no attribute")
#: What NumPy too raises for such arguments.
NUMPYS = (TypeError, ValueError, IndexError, OverflowError)


class SaysSo:
    """Equal to nothing and to everything: the answer is an array."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return np.array([True, False])


# fmt: off
WRONG: tuple[Any, ...] = (
    None, "bad", b"bad", object(), SaysSo(), Mock(), MagicMock(), int, np.float32, min,
    {"a": 1}, {}, {1, 2}, [], (), [None], ["a"], [[1], [1, 2]], (0, 0), range(3),
    slice(None), ..., TRACED, [TRACED], True, 1.5, 1j, float("nan"), float("inf"),
    99, -99, 2**31, 2**63, 10**30, -(10**30), np.int64(-7), np.datetime64("2020"),
    np.zeros(0), np.ones((2, 3, 4, 5)), np.array("a"), np.array(None),
)
# fmt: on
KEYWORDS = ("axis", "out", "nonsense", "ctx")


class Call(NamedTuple):
    op: Op
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    text: str


def calls() -> Iterator[Call]:
    """Every op with every argument replaced by everything, and with too many."""
    for op in sampled_ops():
        assert op.samples is not None
        sample = next(iter(op.samples(op.dtypes[0])))
        for number, wrong in enumerate(WRONG):
            for i in range(len(sample.args)):
                if op.name == "array_split" and type(wrong) is int and wrong > 99:
                    continue  # so many parts are made
                args = (*sample.args[:i], wrong, *sample.args[i + 1 :])
                yield Call(op, args, sample.kwargs, f"argument {i}, {number}")
            for name in {*sample.kwargs, *KEYWORDS}:
                kwargs = {**sample.kwargs, name: wrong}
                yield Call(op, sample.args, kwargs, f"{name}, {number}")
        yield Call(op, sample.args[:-1], sample.kwargs, "one too few")
        yield Call(op, (*sample.args, *range(14)), sample.kwargs, "14 too many")


def check(call: Call) -> None:
    op, what = call.op, f"{call.op.name} with {call.text}"

    def kernel(x: Any, arrays: Any) -> Any:
        args, kwargs = _with_arrays((call.args, call.kwargs), x, iter(arrays))
        function = op.numpy[0] if op.numpy and arrays else op
        return function(*args, **kwargs)

    arrays = copy.deepcopy(list(_arrays_in((call.args, call.kwargs))))
    try:
        trace_function(kernel, (X, arrays), {})
    except NKIPyError as error:
        assert error.location is not None, what
        assert not RAW.search(error.reason), f"{what}: {error}"
    except HLOProtoError as error:  # a size that no device has
        assert "elements" in str(error), f"{what}: {error}"
    except Exception as error:
        is_ours = _raised_in(error).is_relative_to(OURS)
        assert isinstance(error, NUMPYS) or not is_ours, f"{what}: {error!r}"


def _arrays_in(tree: Any) -> Iterator[np.ndarray]:
    if isinstance(tree, np.ndarray) and tree.dtype.kind not in "OU":
        yield tree
    elif type(tree) in (list, tuple, dict):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _arrays_in(part)


def _with_arrays(tree: Any, x: Any, arrays: Iterator[Any]) -> Any:
    """`tree` with traced arrays in the place of its own."""
    if tree is TRACED:
        return x
    if isinstance(tree, np.ndarray) and tree.dtype.kind not in "OU":
        return next(arrays)
    if type(tree) is dict:
        return {key: _with_arrays(part, x, arrays) for key, part in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)([_with_arrays(part, x, arrays) for part in tree])
    return tree


def _raised_in(error: BaseException) -> Path:
    traceback = error.__traceback__
    assert traceback is not None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return Path(traceback.tb_frame.f_code.co_filename)


@pytest.mark.filterwarnings("ignore")  # of NumPy's numbers
@pytest.mark.parametrize(
    "step", [97, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.exhaustive])]
)
def test_wrong_arguments_of_ops(step):
    for number, call in enumerate(calls()):
        if number % step == 0:
            check(call)
