"""Sorts by comparators that contradict themselves."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule, Shape
from nkipy.hlo.rewrites.comparators import ComparatorError, order_sorts
from nkipy.runtime import simulate_jit

FLOAT, INT = dt.float32, dt.int32


def sort_of(body, *dtypes, size=100):
    """A module that sorts arrays by ``body(builder, x0, y0, x1, y1, ...)``."""
    comparator = HLOComputation("compare")
    pairs = [comparator.add_parameter((), d) for d in dtypes for _ in range(2)]
    comparator.root = body(HLOBuilder(comparator), *pairs)
    module = HLOModule("sorts")
    arrays = tuple(module.add_parameter((size,), d) for d in dtypes)
    b = HLOBuilder(module.entry)
    attributes = {"dimension": 0, "is_stable": True, "to_apply": comparator}
    if len(arrays) == 1:
        module.set_results(b.emit("sort", arrays, (size,), dtypes[0], attributes))
    else:
        shapes = [Shape(d, (size,)) for d in dtypes]
        module.set_results(b.tuple_result("sort", arrays, shapes, attributes))
    module.verify()
    return module


def less(b, x, y):
    return b.compare(x, y, "LT")


def nan_last(b, x, y):
    return b.and_(b.compare(x, x, "EQ"), b.not_(b.compare(y, x, "LE")))


def by_two(b, x, y, p, q):
    return b.select(b.compare(x, y, "EQ"), less(b, p, q), less(b, x, y))


def by_magnitude(b, x, y):
    return b.compare(b.unary("abs", x), b.unary("abs", y), "GT")


ORDERS = [
    (less, (INT,)),
    (nan_last, (FLOAT,)),
    (by_two, (INT, INT)),
    (by_magnitude, (INT,)),
]
NAN = [(less, (FLOAT,)), (by_two, (FLOAT, FLOAT)), (by_magnitude, (FLOAT,))]
NONE = [
    lambda b, x, y: b.compare(x, y, "LE"),
    lambda b, x, y: b.compare(x, y, "NE"),
    lambda b, x, y: b.constant(np.array(True)),
    lambda b, x, y: b.compare(b.subtract(x, y), b.full_like(x, 0), "LT"),
    lambda b, x, y: b.compare(b.multiply(x, y), b.add(y, x), "LT"),
    lambda b, x, y: b.compare(x, b.full_like(x, 0), "LT"),
    lambda b, x, y: b.compare(x, b.unary("negate", y), "LT"),
]


@pytest.mark.parametrize(("body", "dtypes"), ORDERS)
def test_an_order_is_left_as_it_is(body, dtypes):
    module = sort_of(body, *dtypes)
    assert order_sorts(module) is module


@pytest.mark.parametrize(("body", "dtypes"), NAN)
def test_nan_becomes_greater_than_all_numbers(body, dtypes):
    module = order_sorts(sort_of(body, *dtypes))
    module.verify()
    assert order_sorts(module) is module


def test_values_with_nan_are_sorted(engine, rng):
    x = rng.standard_normal(100).astype(np.float32)
    x[rng.integers(0, 100, 20)] = np.nan
    out = np.empty_like(x)
    engine.compile(sort_of(less, FLOAT)).run([x], [out])
    np.testing.assert_array_equal(out, np.sort(x))


@pytest.mark.parametrize("dtype", [INT, FLOAT], ids=str)
@pytest.mark.parametrize("body", NONE)
def test_what_is_none_is_refused(engine, body, dtype):
    with pytest.raises(ComparatorError, match="strict weak order"):
        engine.compile(sort_of(body, dtype))


def test_many_keys_are_looked_at_one_by_one(rng):
    keys = rng.integers(0, 2, (9, 50)).astype(np.float32)
    order = simulate_jit(lambda a: np.lexsort(a))(keys)
    np.testing.assert_array_equal(order, np.lexsort(keys))


def test_many_keys_of_which_one_is_none():
    def body(b, *pairs):
        root = b.compare(pairs[0], pairs[1], "LE")
        for x, y in zip(pairs[2::2], pairs[3::2]):
            same = b.not_(nan_last(b, y, x))
            root = b.or_(nan_last(b, x, y), b.and_(same, root))
        return root

    with pytest.raises(ComparatorError, match="strict weak order"):
        order_sorts(sort_of(body, *([FLOAT] * 8)))
