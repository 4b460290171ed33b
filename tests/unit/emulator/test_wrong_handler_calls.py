"""Handlers refuse numbers and functions that are not those of their operands.

Nothing of ours says such things; a damaged file of compiled code could.
"""

from __future__ import annotations

import numpy as np
import pytest

from nkipy_emulator import _xla
from nkipy_emulator.errors import SimulationError
from nkipy_emulator.fast_calls import know_functions
from tests.support.fast_calls import by_handlers, call, runner, traced

WORDS = {"words": ()}
MOST = (1 << 63) - 1
X = np.arange(240, dtype=np.float32).reshape(6, 40)
ONE, SIX, FORTY = (np.zeros(size, np.float32) for size in (1, 6, 40))
#: Sizes whose product, in 64 bits, is the number of elements, that of the first and the
#: last being 1; and others.
WRONG_AXES = (
    *((-1, 240, -1), (0, 240, 1), (6, 0, 40), (6, 41, 1), (6, 40), (6, 40, 1, 1), ()),
    *((1 << 32, 240, 1 << 32), (MOST, 240, MOST), (-6, -40, 1), (1 << 61, 8, 15)),
)


FUNCTIONS = (
    *("tan", "tan_float64", "add_int64", "matmul_float32", "matmul_float64"),
    *("maximum_float32", "maximum_float64"),
)


@pytest.fixture(autouse=True)
def functions():
    assert know_functions(FUNCTIONS)


def refusal(target, attributes, arguments, results):
    """The error of a call."""
    made = runner(call(target, attributes, arguments, results), arguments, results)
    before = [array.copy() for array in results]
    with pytest.raises(SimulationError) as caught:
        made.run(arguments, results)
    for array, wanted in zip(results, before):
        np.testing.assert_array_equal(array, wanted)
    return str(caught.value)


@pytest.mark.parametrize("axes", WRONG_AXES, ids=str)
def test_axes(axes):
    of_axes = {"axes": axes, **WORDS}
    wrong = "sizes that are not the operand's"
    for shape in (1, 6, 40, 240):
        to, indices = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        found = {**of_axes, "least": 0}
        assert wrong in refusal("nkipy_extreme", found, [X], [indices])
        assert wrong in refusal("nkipy_count", of_axes, [X > 3], [indices])
        fold = {**of_axes, "function": "maximum_float32"}
        assert wrong in refusal("nkipy_fold", fold, [X], [to])
    scan = {**of_axes, "by": "add"}
    assert wrong in refusal("nkipy_scan", scan, [X, ONE[0:1].reshape(())], [X.copy()])
    for ranks, dtype in ((0, np.float32), (1, np.int32)):
        sort = {**of_axes, "descending": 0, "ranks": ranks}
        to = np.zeros(X.shape, dtype)
        assert wrong in refusal("nkipy_sort", sort, [X], [to])


@pytest.mark.parametrize(
    ("target", "function", "dtype"),
    [
        ("nkipy_elements", "tan_float64", np.float32),
        ("nkipy_elements", "matmul_float32", np.float32),
        ("nkipy_elements", "maximum_float64", np.float32),
        ("nkipy_elements", "none", np.float32),
        ("nkipy_fold", "maximum_float64", np.float32),
        ("nkipy_fold", "add_int64", np.int32),
        ("nkipy_fold", "matmul_float32", np.float32),
        ("nkipy_fold", "tan", np.float32),
        ("nkipy_products", "matmul_float64", np.float32),
        ("nkipy_products", "maximum_float32", np.float32),
    ],
)
def test_functions_of_other_operands(target, function, dtype):
    x = np.ones((6, 6), dtype)
    attributes = {"function": function, **WORDS}
    arguments, result = [x], np.zeros(6, dtype)
    if target == "nkipy_fold":
        attributes["axes"] = (6, 6, 1)
    else:
        arguments, result = [x, x], np.zeros((6, 6), dtype)
    if target == "nkipy_products":
        attributes["layout"] = (1, 6, 6, 6, 0, 0, 6, 1, 0, 0, 1, 6)
    if function.startswith("tan"):
        arguments = [x]
    told = refusal(target, attributes, arguments, [result])
    assert "function that is not known" in told or "number of operands" in told


def test_results_and_starts_of_other_types():
    start, scan = np.zeros((), np.float32), {"axes": (6, 40, 1), "by": "add", **WORDS}
    for arguments, dtype in (
        ([X, start], np.float64),
        ([X, start], np.int8),
        ([X, start.astype(np.float64)], np.float32),
        ([X, SIX], np.float32),
    ):
        told = refusal("nkipy_scan", scan, arguments, [np.zeros(X.shape, dtype)])
        assert "shapes that differ" in told
    rows, indices = {"rows": 6, "wraps": 0, **WORDS}, np.zeros(3, np.int32)
    for result in (np.zeros((3, 20), np.float64), np.zeros((3, 40), np.int32)):
        told = refusal("nkipy_rows", rows, [X, indices], [result])
        assert "shapes that differ" in told


@pytest.mark.parametrize(
    "sizes",
    [(-9, -3, 2, 4), (9, 3, -2, -4), (9, 3, 2), (1 << 60, 3, 2, 4), (0, 3, 2, 4)],
    ids=str,
)
def test_sizes_of_small_products(sizes):
    given = [np.ones((9, 3, 2), np.float32), np.ones((9, 2, 4), np.float32)]
    result = np.zeros((9, 3, 4), np.float32)
    attributes = {"sizes": sizes, "turned": (0, 0), **WORDS}
    assert "sizes" in refusal("nkipy_small_products", attributes, given, [result])
    fits = {**attributes, "sizes": (9, 3, 2, 4)}
    for arguments, made in (
        ([given[0], given[1].astype(np.int32)], result),
        (given, result.astype(np.int32)),
        (given, result.astype(np.float64)),
    ):
        told = refusal("nkipy_small_products", fits, arguments, [made])
        assert "types that differ" in told
    made = runner(call("nkipy_small_products", fits, given, [result]), given, [result])
    made.run(given, [result])
    np.testing.assert_array_equal(result, np.full((9, 3, 4), 2, np.float32))


def test_an_operand_that_no_blas_reads_in_columns():
    """Terms that lie three elements apart, of columns that do so too."""
    x = np.arange(100 * 60, dtype=np.float32).reshape(100, 60) % 7
    memory = np.arange(3 * 60 * 60, dtype=np.float32) % 5
    y = np.lib.stride_tricks.as_strided(memory, (60, 60), (12, 4 * 180))
    layout = (1, 100, 60, 60, *(0, 0, 60, 1), *(0, 0, 180, 3))
    attributes = {"function": "matmul_float32", "layout": layout, **WORDS}
    result = np.zeros((100, 60), np.float32)
    made = call("nkipy_products", attributes, [x, memory], [result])
    runner(made, [x, memory], [result]).run([x, memory], [result])
    np.testing.assert_array_equal(result, (x.astype("f8") @ y.astype("f8")))


def test_stores_in_more_dimensions_than_an_array_has():
    places = (1, 0, 1, 1) * 100_000 + (240, 0, 1, 240)
    told = refusal("nkipy_strided_store", {"places": places}, [X, X], [X.copy()])
    assert "places" in told


@pytest.mark.parametrize(
    "places",
    [
        (6, 0, MOST, 2, 40, 0, 1, 40),
        (6, 0, MOST // 2, 3, 40, 0, 1, 40),
        (6, -1, 1, 1, 40, 0, 1, 40),
        (MOST, 0, 1, 1, 40, 0, 1, 40),
        (-6, 0, 1, 1, -40, 0, 1, 1),
    ],
    ids=str,
)
def test_places_that_are_outside(places):
    told = refusal("nkipy_strided_store", {"places": places}, [X, ONE], [X.copy()])
    assert "places" in told


def test_one_place_at_whatever_distance():
    places, result = (6, 5, MOST, 1, 40, 39, MOST, 1), np.zeros_like(X)
    program = call("nkipy_strided_store", {"places": places}, [X, ONE], [result])
    runner(program, [X, ONE], [result]).run([X, ONE], [result])
    wanted = X.copy()
    wanted[5, 39] = 0
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("numbers", [(-1, 40, 0, 40), (0, -40, 0, 40), (0, 40, 41, -1)])
def test_pieces_that_are_outside(numbers):
    attributes = {"rows": 6, "pieces": numbers, **WORDS}
    assert "pieces" in refusal("nkipy_join", attributes, [X], [X.copy()])


@pytest.mark.parametrize("target", ["store", "rank", "call_python", "collective"])
def test_handlers_that_need_to_know_the_call(target):
    with pytest.raises(ValueError, match="needs XLA"):
        runner(call(f"nkipy_{target}", {}, [X], [X]), [X], [X])


def test_operands_that_lie_where_a_vector_says():
    vector = np.zeros(4, np.uint64)
    attributes = {"elements": 240, "words": (0, -1)}
    with pytest.raises(ValueError, match="vector"):
        runner(call("nkipy_copy", attributes, [X, vector], [X]), [X, vector], [X])


def test_programs_that_contradict_themselves():
    given = traced(lambda x: np.sort(x) + np.float32(1), X)
    assert by_handlers(given)
    copied = call("nkipy_copy", {"elements": 240, **WORDS}, [X], [X])
    kind, shape, _ = copied.values[0]
    ((target, attributes, _, _),) = copied.steps
    third = (*copied.values, (kind, shape, 2))
    swapped = ((target, attributes, (2,), (1,)), (target, attributes, (0,), (2,)))
    for wrong in (
        {"threads": 0},
        {"threads": -1},
        {"inputs": -1, "constants": (bytes(960),)},
        {"inputs": 3},
        {"inputs": 0, "constants": (bytes(956),)},
        {"values": ((kind, (-6, -40), 0), copied.values[1])},
        {"values": ((kind, (1 << 62, 4), 0), copied.values[1])},
        {"values": ((kind + 256, shape, 0), copied.values[1])},
        {"values": ((14, shape, 0), copied.values[1])},
        {"values": third, "steps": swapped},
        {"values": third, "results": (2,)},
        {"steps": ((target, attributes, (0,), (0,)),)},
        {"results": (1, 1)},
    ):
        with pytest.raises(ValueError):
            results = [X] * len(wrong.get("results", (1,)))
            runner(copied._replace(**wrong), [X], results)
    for arguments, results in (([SIX], [X]), ([X], [SIX]), ([X, X], [X]), ([X], [])):
        with pytest.raises(ValueError, match="other sizes"):
            runner(copied, arguments, results)


def test_element_programs_that_contradict_themselves():
    program = (6, 2, 1, (3.0,), (("tan", (0,)), ("tan", (2,))), (1,))

    def made(place, value):
        wrong = (*program[:place], value, *program[place + 1 :])
        return _xla.direct_runner([24], [24] * len(wrong[5]), "elements", wrong)

    out = np.zeros(6, np.float32)
    made(0, 6).run([SIX], [out])
    for place, value in (
        *((0, -1), (0, 7), (0, MOST), (1, 0), (2, -1), (2, 2), (2, MOST), (5, (2,))),
        *((5, (1, 1)), (4, (("maximum_float64", (0, 0)),)), (4, (("none", (0,)),))),
    ):
        with pytest.raises(ValueError):
            made(place, value)
    made(5, ()).run([SIX], [])
    alone = (6, 2, 1, (), (("tan", (0,)),), ())
    _xla.direct_runner([24], [], "elements", alone).run([SIX], [])
