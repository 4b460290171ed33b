"""``NKIPyTensorRef`` is to a kernel what NumPy's ndarray is."""

from __future__ import annotations

import copy
import math
import operator
from typing import Any

import numpy as np
import pytest

from nkipy.core.backend import tracing
from nkipy.core.backend.hlo import HLOTraceContext
from nkipy.core.errors import ConcretizationError
from nkipy.core.tensor import NKIPyTensorRef, TensorArithmeticMixin
from nkipy.core.trace import trace_function
from nkipy.hlo.ir import HLOModule
from tests.support.kernels import check_kernel

X = np.array([[1.5, -2.0, 0.25], [4.0, -0.0, 9.0]], np.float32)
N = np.array([[7, -8, 0], [100, -101, -1]], np.int32)
M = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
B = np.array([[True, False, True], [False, True, True]])
SQUARE = np.array([[1, -2, 3], [0, 4, -1], [2, 2, -3]], np.float32)


def trace(func: Any, *args: Any) -> HLOModule:
    return trace_function(func, args, {}).module


# -- the class -------------------------------------------------------------------------
def test_the_operators_are_those_of_the_mixin():
    assert issubclass(NKIPyTensorRef, TensorArithmeticMixin)
    for name in vars(TensorArithmeticMixin):
        if name.startswith("__") and name[2:-2] in ("add", "rsub", "imul", "eq", "neg"):
            assert name not in vars(NKIPyTensorRef)
            found = getattr(NKIPyTensorRef, name)
            assert found is getattr(TensorArithmeticMixin, name)


def test_a_tensor_is_made_of_an_instruction_of_the_active_trace():
    module = HLOModule("by_hand")
    x = module.add_parameter((2, 3), np.float32, "x")
    with pytest.raises(RuntimeError, match="No HLO context"):
        NKIPyTensorRef(x)
    with tracing(HLOTraceContext(module)):
        tensor = NKIPyTensorRef(x, name="weights")
        assert tensor.backend_tensor is x
        assert tensor.name == "weights"
        assert repr(tensor) == "<traced 'weights' float32[2,3]>"
        assert (tensor + 1).backend_tensor.opcode == "add"


def test_tensors_are_not_hashed():
    def kernel(x):
        with pytest.raises(TypeError, match="unhashable"):
            hash(x)
        return x + 0

    trace(kernel, X)


def test_hasattr_follows_pythons_protocol_for_all_that_ndarrays_have():
    def kernel(x):
        known = np.zeros((3, 2), np.float32)
        for tensor in (x, x.T, known):  # of two dimensions, as .mT wants
            for name in [n for n in dir(np.ndarray) if n[0] != "_"] + ["nonsense"]:
                found = getattr(tensor, name, LACKING) is not LACKING
                assert hasattr(tensor, name) == found
                assert tensor is known or hasattr(tensor, name) == (name not in LACKING)
        assert hasattr(known, "flat") and not hasattr(known, "nonsense")
        with pytest.raises(
            AttributeError, match=r"ndarray\.flat.*reshape\(-1\)"
        ) as lacks:
            _ = x.flat
        assert lacks.value.location is not None
        assert isinstance(lacks.value, NotImplementedError)
        return x + 0

    trace(kernel, X)


LACKING = (
    "base byteswap ctypes data flags flat getfield nonsense resize setfield setflags "
    "to_device"
).split()


def test_functions_bound_by_name_are_told_of_where_they_fail():
    bound = np.asarray
    with pytest.raises(ConcretizationError, match="from numpy import asarray"):
        trace(lambda x: bound(x), X)


def test_an_unknown_keyword_is_the_ops():
    with pytest.raises(TypeError, match=r"^\[sum\] sum\(\) got an unexpected keyword"):
        trace(lambda x: x.sum(nonsense=1), X)


# -- properties ------------------------------------------------------------------------
@pytest.mark.parametrize("array", [X, N, B, X[0, 0], X[:0], np.ones((2, 1, 3), "f2")])
def test_properties_are_the_arrays(array):
    def kernel(x):
        for name in "shape dtype ndim size itemsize nbytes strides device".split():
            assert getattr(x, name) == getattr(array, name), name
        return x + 0

    array = np.ascontiguousarray(array).reshape(np.shape(array))
    trace(kernel, array)


def test_strides_of_views_are_as_in_numpy():
    def kernel(x):
        views = x.T, x[:, ::2], x[::-1], x.reshape(3, 2), x[0]
        ours = X.T, X[:, ::2], X[::-1], X.reshape(3, 2), X[0]
        for view, own in zip(views, ours):
            assert view.strides == own.strides
        return x + 0

    trace(kernel, X)


def test_transposes_and_parts():
    check_kernel(lambda x: (x.T, x.mT, x.real, x.imag), X)


def test_length_is_that_of_the_first_axis():
    def kernel(x, scalar):
        assert len(x) == 2
        with pytest.raises(TypeError, match="unsized"):
            len(scalar)
        return x + scalar

    trace(kernel, X, np.ones((), np.float32))


def test_iteration_and_unpacking_over_the_first_axis():
    def kernel(x):
        a, b = x
        return a + b + sum(row for row in x)

    assert trace(kernel, X).results[0].shape == (3,)


# -- operators -------------------------------------------------------------------------
_ANY = (
    operator.add,
    operator.mul,
    operator.truediv,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
)
_NUMERIC = (operator.sub, operator.floordiv, operator.mod, divmod, operator.pow)
_BITWISE = (operator.and_, operator.or_, operator.xor)
_SHIFTS = (operator.lshift, operator.rshift)
_CASES = [
    *((op, x, y) for op in _ANY for x, y in ((X, X + 2), (N, M), (B, ~B), (X, N))),
    *((op, x, y) for op in _NUMERIC for x, y in ((abs(X) + 1, X + 0.5), (N, M))),
    *((op, x, y) for op in _BITWISE for x, y in ((N, M), (B, ~B))),
    *((op, N, M) for op in _SHIFTS),
    (operator.matmul, SQUARE, SQUARE.T),
    (operator.matmul, X, SQUARE),
]


@pytest.mark.parametrize(
    ("op", "x", "y"),
    _CASES,
    ids=lambda v: getattr(v, "__name__", getattr(v, "dtype", v)),
)
def test_an_operator_is_numpys(op, x, y):
    with np.errstate(all="ignore"):
        check_kernel(lambda x, y: op(x, y), x, y)
        check_kernel(lambda x: op(x, y), x)  # with an array to the right
        check_kernel(lambda y: op(x, y), y)  # and to the left


@pytest.mark.parametrize("op", [*_ANY, *_NUMERIC], ids=lambda op: op.__name__)
@pytest.mark.parametrize("scalar", [3, 2.5], ids=str)
def test_python_scalars_stand_on_either_side(op, scalar):
    check_kernel(lambda x: (op(x, scalar), op(scalar, x)), abs(X) + 0.5)


@pytest.mark.parametrize("op", [*_BITWISE, *_SHIFTS], ids=lambda op: op.__name__)
def test_python_integers_stand_on_either_side(op):
    check_kernel(lambda n: (op(n, 3), op(3, n)), M)


_IN_PLACE = "iadd isub imul ifloordiv imod iand ior ixor ilshift irshift".split()


@pytest.mark.parametrize("name", _IN_PLACE)
def test_an_operator_that_assigns_writes_the_parameter(name):
    def kernel(n, m):
        seen = n
        n = getattr(operator, name)(n, m)
        return seen, n

    check_kernel(kernel, N, M)


def test_true_division_and_powers_that_assign():
    def kernel(x):
        x /= 2
        x **= 2

    check_kernel(kernel, X)


@pytest.mark.parametrize("array", [X, N], ids=["float32", "int32"])
def test_signs_and_absolute_values(array):
    check_kernel(lambda x: (-x, +x, abs(x)), array)


def test_inversion():
    check_kernel(lambda n, b: (~n, ~b), N, B)


def test_squares_of_booleans_are_numpys():
    check_kernel(lambda b: (b**2, b**1, b**3), B)


@pytest.mark.parametrize("op", [operator.sub, operator.neg, operator.matmul])
def test_operators_refuse_what_numpys_do(op):
    operands = (
        (B,) if op is operator.neg else (B, X.T) if op is operator.sub else (X, X)
    )
    with pytest.raises((TypeError, ValueError)):
        trace(op, *operands)


def test_in_place_operators_keep_the_dtype():
    def kernel(x, n):
        x += 1
        x *= n
        n //= 2
        n <<= 1
        x **= 2

    check_kernel(kernel, X, N % 100)


def test_in_place_product_writes_the_parameter():
    def kernel(a, b):
        a @= b

    check_kernel(kernel, SQUARE, SQUARE.T)


def test_in_place_product_writes_an_array_made_in_the_kernel():
    def kernel(x):
        made = np.zeros((3, 3), np.float32)
        made[:] = x
        made @= x
        return made

    check_kernel(kernel, SQUARE)


def test_positive_is_a_new_array():
    def kernel(x):
        y = +x
        y[0] = 1
        return x, y

    check_kernel(kernel, X)


# -- methods ---------------------------------------------------------------------------
_METHODS = [
    lambda x: x.all(axis=0),
    lambda x: x.any(),
    lambda x: x.argmax(axis=1),
    lambda x: x.argmin(),
    lambda x: x.argpartition(1),
    lambda x: x.argsort(axis=0),
    lambda x: x.astype(np.int32),
    lambda x: x.clip(-1, 1),
    lambda x: x.compress([True, False], axis=0),
    lambda x: x.conj(),
    lambda x: x.copy(),
    lambda x: x.cumprod(axis=1),
    lambda x: x.cumsum(),
    lambda x: x.diagonal(),
    lambda x: x.dot(x.T),
    lambda x: x.flatten(),
    lambda x: x.max(axis=0, keepdims=True),
    lambda x: x.mean(axis=1),
    lambda x: x.min(),
    lambda x: x.prod(axis=0),
    lambda x: x.ravel(),
    lambda x: x.repeat(2, axis=0),
    lambda x: x.reshape(3, 2),
    lambda x: x.reshape((3, -1)),
    lambda x: x.round(1),
    lambda x: x[0].searchsorted(2.0),
    lambda x: x[None].squeeze(),
    lambda x: x.std(axis=0, ddof=1),
    lambda x: x.sum(axis=(0, 1)),
    lambda x: x.swapaxes(0, 1),
    lambda x: x.take([0, 2], axis=1),
    lambda x: x.trace(),
    lambda x: x.transpose(),
    lambda x: x.transpose(1, 0),
    lambda x: x.transpose((1, 0)),
    lambda x: x.var(axis=1),
    lambda x: x.view(np.int32),
    lambda x: copy.copy(x),
    lambda x: copy.deepcopy(x),
]


def test_methods_are_numpys():
    check_kernel(lambda x: [method(x) for method in _METHODS], np.sort(X, axis=1) + 1)


def test_a_fill_and_a_put_write_the_parameter():
    def kernel(x, n):
        x.fill(3)
        n.put([0, 4], 7)

    check_kernel(kernel, X, N)


def test_methods_are_the_functions():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    check_kernel(lambda a: (a.sum(0), a.max(axis=1), a.argmin(), a.std(ddof=1)), x)


def test_methods_of_arrays():
    def kernel(x, n):
        return x.clip(min=0), x.clip(0, 2), x.round(), n.round(-1), x.conj(), abs(x)

    check_kernel(kernel, X, N[0])


def test_sort_in_place():
    def kernel(a):
        a.sort(axis=0)
        return a

    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    check_kernel(kernel, x)


def test_methods_that_sort_do_so_in_place_and_return_nothing():
    def kernel(x):
        made = np.zeros((3, 2), np.float32)
        made[:] = x
        nothing = [x.sort(axis=0, stable=True), x[1:].partition(1), made.partition(0)]
        return nothing, made

    x = np.array([[5, 4], [3, 2], [7, 1]], np.float32)
    check_kernel(kernel, x)
    with pytest.raises(ValueError, match="out of bounds"):
        trace(lambda a: a.partition(9), x)


def test_traced_arrays_answer_the_array_api_as_arrays_do():
    def kernel(x):
        xp = x.__array_namespace__()
        return xp.sort(x), x.device

    check_kernel(kernel, X)


# -- what is not known -----------------------------------------------------------------
@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda x: 1 if x > 0 else 2, "truth value"),
        (lambda x: 1 if x[0] else 2, "truth value"),
        (lambda x: x[0] > 0 and x[1] > 0, "& and [|] for 'and' and 'or'"),
        (lambda x: max(x[0], x[1]), "np.maximum and np.minimum for max and min"),
        (lambda x: math.exp(x[0]), "np.exp for math.exp"),
        (lambda x: int(x[0]), "astype"),
        (lambda x: float(x[0]), "astype"),
        (lambda x: list(x[0]), "0-d"),
        (lambda x: 1 in x, "membership"),
        (lambda x: range(x[0]), "index"),
        (lambda x: x.item(), "item"),
        (lambda x: x.tolist(), "tolist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_are_not_known_while_tracing(use, text):
    with pytest.raises(ConcretizationError, match=text) as caught:
        trace(use, X[0])
    assert __file__ in str(caught.value)


def test_an_attribute_that_no_array_has_is_said_to_be_none_of_numpys():
    text = "a traced array has no attribute 'unsqueeze', and neither has an ndarray"
    with pytest.raises(AttributeError, match=text) as caught:
        trace(lambda x: x.unsqueeze(0), X)
    assert __file__ in str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda n: np.zeros(n),
        lambda n: np.full(n, 1.0),
        lambda n: np.empty((n, 2)),
        lambda n: f"{n:.2f}",
    ],
)
def test_values_that_are_not_known_are_named(use):
    with pytest.raises(ConcretizationError, match="not known while") as caught:
        trace(use, np.array(3, np.int32))
    assert caught.value.location is not None
    trace(lambda n: (f"{n}", n + 1)[1], np.array(3, np.int32))


def test_rounding_as_python_does():
    module = trace(lambda x: (round(x[0]), round(x[0], 1)), X[0, :2])
    assert [r.dtype for r in module.results] == [np.int32, np.float32]
    with pytest.raises(TypeError, match="__round__"):
        trace(round, X[0, :2])
