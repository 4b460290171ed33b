"""Registers, scalars and loops that they bound; and that such programs run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki import NkiValidationError, Simulation
from nkipy_nki.findings import NkiWarning
from nkipy_nki.program import Instruction, Loop
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode

#: Loops in loops are no finding.
NESTED = {"would-not-compile": "off"}


def ran(kernel: Callable[..., Any], *arrays: np.ndarray) -> Simulation:
    """Run a kernel, and its program again: both give the same bytes."""
    before = [array.copy() for array in arrays]
    simulation = nki.simulate(kernel, findings=NESTED).run(*arrays)
    values = simulation.values
    expected = values if isinstance(values, tuple) else (values,)
    for programs in (simulation.programs, decode(encode(simulation.programs))):
        inputs = [array.copy() for array in before]
        for mine, theirs in zip(replay(programs, inputs), expected):
            assert mine.dtype == theirs.dtype
            assert mine.tobytes() == np.ascontiguousarray(theirs).tobytes()
        for mine, theirs in zip(inputs, arrays):
            assert mine.tobytes() == theirs.tobytes()
    return simulation


def result(shape: tuple[int, ...] = (1, 1), dtype: Any = nl.int32) -> Any:
    return nl.ndarray(shape, dtype, buffer=nl.shared_hbm)


def loops(simulation: Simulation) -> list[Loop]:
    (program,) = simulation.programs
    return [step for step in program.body if isinstance(step, Loop)]


# -- registers -------------------------------------------------------------------------
def test_a_register_is_moved_loaded_and_stored() -> None:
    def kernel(x: Any) -> Any:
        out = result((4, 1))
        number = nisa.register_alloc(7)
        copied = nisa.register_alloc(number)
        nisa.register_move(number, -3)
        loaded = nisa.register_alloc(x[1:2, 2:3])
        unset = nisa.register_alloc()
        nisa.register_load(unset, x[0:1, 0:1])
        for i, register in enumerate((number, copied, loaded, unset)):
            nisa.register_store(out[i : i + 1, :], register)
        return out

    x = np.arange(6, dtype=np.int32).reshape(2, 3) + 40
    assert ran(kernel, x).values.tolist() == [[-3], [7], [45], [40]]


@pytest.mark.parametrize(
    "dtype, given, expected",
    [
        ("int8", -5, -5),
        ("uint32", 0xFFFFFFFF, -1),
        ("float32", 2.5, 2),
        ("float32", -3.0, -3),
    ],
)
def test_a_register_holds_whole_numbers_of_32_bits(
    dtype: str, given: float, expected: int
) -> None:
    def kernel(x: Any) -> Any:
        out = result()
        nisa.register_store(out, nisa.register_alloc(x))
        return out

    assert ran(kernel, np.array([[given]], dtype)).values.tolist() == [[expected]]


def test_a_float_that_is_no_number_is_not_loaded() -> None:
    def kernel(x: Any) -> None:
        nisa.register_alloc(x)

    with pytest.raises(NkiValidationError, match="register_load: src holds nan"):
        nki.simulate(kernel)(np.array([[np.nan]], np.float32))


def test_a_register_that_was_never_set_is_not_read() -> None:
    def kernel() -> None:
        nisa.register_store(result(), nisa.register_alloc())

    with pytest.raises(NkiValidationError, match="never set"):
        nki.simulate(kernel)()


@pytest.mark.parametrize(
    "use, match",
    [
        (lambda r: bool(r), "nl.while_loop"),
        (lambda r: int(r), "nl.fori_loop"),
        (lambda r: list(range(r)), "nl.fori_loop"),
        (lambda r: float(r), "when the program runs"),
        (lambda r: nl.affine_range(r), "use nl.fori_loop"),
        (lambda r: nl.sequential_range(0, r), "use nl.fori_loop"),
        (lambda r: [0, 1][r], "nl.ds"),
    ],
)
@pytest.mark.parametrize("kind", [nisa.register_alloc, nisa.scalar_load])
def test_python_cannot_ask_what_is_in_a_register(
    use: Callable[[Any], Any], match: str, kind: Callable[[Any], Any]
) -> None:
    def kernel(x: Any) -> None:
        use(kind(x))

    with pytest.raises(TypeError, match=match):
        nki.simulate(kernel)(np.ones((1, 1), np.int32))


@pytest.mark.parametrize(
    "use, match",
    [
        (lambda x: nisa.register_alloc(x), "must have one element"),
        (lambda x: nisa.register_alloc(1.5), "must be an int of 32 bits"),
        (lambda x: nisa.register_alloc(1 << 32), "must be an int of 32 bits"),
        (lambda x: nisa.register_alloc("a"), "src is 'a'"),
        (lambda x: nisa.register_move(x, 1), "dst is a tensor"),
        (lambda x: nisa.register_store(x[:1, :1], 1), "src is 1, and must be"),
        (lambda x: nisa.scalar_store(x[:1, :1], 1), "must be an NkiScalar"),
        (
            lambda x: nisa.scalar_store(x[:1, :1], nisa.register_alloc(1)),
            "must be an NkiScalar",
        ),
        (lambda x: nisa.scalar_load(x), r"must be \[1, 1\]"),
        (lambda x: nisa.scalar_load(3), "src is 3"),
        (lambda x: nl.fori_loop(0, 2.5, print), "upper is 2.5"),
        (lambda x: nl.fori_loop(0, 4, print, step=0), "step is 0"),
        (lambda x: nl.while_loop(1, print), "init is 1"),
        (
            lambda x: nl.while_loop(nisa.register_alloc(1), lambda: None),
            "body returns is None",
        ),
    ],
)
def test_what_registers_and_loops_do_not_take_is_refused(
    use: Callable[[Any], Any], match: str
) -> None:
    with pytest.raises(NkiValidationError, match=match):
        nki.simulate(use)(np.ones((2, 2), np.int32))


def test_errors_of_loops_and_scalars_name_the_kernel_s_line() -> None:
    def kernel(x: Any) -> None:
        nl.fori_loop(0, 2, print, step=-1)

    def computes(x: Any) -> None:
        nisa.scalar_load(x) + 0.5

    for wrong in (kernel, computes):
        with pytest.raises(NkiValidationError) as error:
            nki.simulate(wrong)(np.ones((1, 1), np.int32))
        line = wrong.__code__.co_firstlineno + 1
        assert str(error.value).endswith(f"at {__file__}:{line}")


def test_a_register_is_of_a_kernel() -> None:
    with pytest.raises(NkiValidationError, match="outside of a kernel"):
        nisa.register_alloc(1)


# -- scalars ---------------------------------------------------------------------------
def scalar(x: Any, op: Callable[..., Any]) -> np.ndarray:
    """What `op` of the scalars in a column gives."""

    def kernel(x: Any) -> Any:
        out = result(dtype=x.dtype)
        loaded = [nisa.scalar_load(x[i : i + 1, :]) for i in range(x.shape[0])]
        nisa.scalar_store(out, op(*loaded))
        return out

    return ran(kernel, x).values


@pytest.mark.parametrize(
    "op, expected",
    [
        (lambda a, b: a + b, 4),
        (lambda a, b: a - b, 10),
        (lambda a, b: a * b, -21),
        (lambda a, b: a // b, -3),
        (lambda a, b: a % b, -2),
        (lambda a, b: -a, -7),
        (lambda a, b: +b, -3),
        (lambda a, b: 2 + a * 4 - 1, 29),
        (lambda a, b: 1 - b, 4),
        (lambda a, b: 100 // a, 14),
        (lambda a, b: 100 % a, 2),
        (lambda a, b: a * 100_000 * 100_000, 1_280_523_264),
    ],
)
def test_arithmetic_of_scalars_is_python_s_and_wraps(
    op: Callable[..., Any], expected: int
) -> None:
    x = np.array([[7], [-3]], np.int32)
    assert scalar(x, op).tolist() == [[expected]]


def test_documented_scalars_wrap_at_32_bits() -> None:
    x = np.array([[100_000], [(1 << 31) - 1]], np.int32)
    assert scalar(x, lambda a, b: a * a).tolist() == [[1_410_065_408]]
    assert scalar(x, lambda a, b: b + 1).tolist() == [[-(1 << 31)]]


@pytest.mark.parametrize(
    "op", [lambda a: a * 3 - 1, lambda a: 1 - a, lambda a: -a + (1 << 62)]
)
def test_a_scalar_of_64_bits_is_not_narrowed(op: Callable[[Any], Any]) -> None:
    def kernel(x: Any) -> Any:
        tile = nl.ndarray((1, 1), nl.int64)
        nisa.dma_copy(tile, x)
        value = nisa.scalar_load(tile)
        assert value.dtype == "int64"
        nisa.scalar_store(tile, op(value))
        out = result(dtype=nl.int64)
        nisa.dma_copy(out, tile)
        return out

    given = (1 << 61) + 12345
    found = ran(kernel, np.array([[given]], np.int64)).values
    wrapped = (op(given) + (1 << 63)) % (1 << 64) - (1 << 63)
    assert found.dtype == np.int64 and found.tolist() == [[wrapped]]


def _loaded(dtype: Any) -> Any:
    """A scalar, of a tile that is there for it only."""
    tile = result(dtype=dtype)
    return nisa.scalar_load(tile)


@pytest.mark.parametrize(
    "use, match",
    [
        (lambda a, b: a + b, "int32 and an int64"),
        (lambda a, b: b // 2, "added, subtracted and multiplied only"),
        (lambda a, b: b < 1, "added, subtracted and multiplied only"),
        (lambda a, b: a + 0.5, "not 0.5"),
        (lambda a, b: a + True, "not True"),
        (lambda a, b: a * (1 << 31), "does not fit in an int32"),
        (lambda a, b: a + (a < 2), "comparison of scalars cannot be used"),
        (lambda a, b: nisa.scalar_store(result(), a == 2), "cannot be used"),
        (lambda a, b: nl.while_loop(a < 2, lambda: a), "cannot be used"),
        (lambda a, b: nl.fori_loop(0, b, print), "upper has 64 bits"),
        (lambda a, b: nl.while_loop(b, lambda: a), "src has 64 bits, and dst 32"),
        (
            lambda a, b: nisa.scalar_store(result(), b),
            "dst is int32, and value is int64",
        ),
        (
            lambda a, b: nisa.scalar_store(result(dtype=nl.int64), a),
            "dst is int64, and value is int32",
        ),
        (
            lambda a, b: nisa.scalar_store(result(dtype=nl.uint32), a),
            "dst is uint32",
        ),
        (
            lambda a, b: nl.ndarray((2, 1), nl.int64),
            "which tensors of one element hold",
        ),
        (lambda a, b: nl.ndarray((4, 4), nl.float32)[:, nl.ds(b, 2)], "64 bits"),
        (
            lambda a, b: nisa.register_alloc(result(dtype=nl.int64)),
            "src is int64",
        ),
    ],
)
def test_what_scalars_do_not_do_is_refused(
    use: Callable[[Any, Any], Any], match: str
) -> None:
    def kernel(x: Any, y: Any) -> None:
        use(nisa.scalar_load(x), nisa.scalar_load(y))

    with pytest.raises(NkiValidationError, match=match):
        one = np.ones((1, 1), np.int32)
        nki.simulate(kernel)(one, one.astype(np.int64))


def test_a_comparison_says_nothing_to_python() -> None:
    def kernel(x: Any) -> None:
        if nisa.scalar_load(x) == 1:
            raise AssertionError

    with pytest.raises(TypeError, match="the truth of a register"):
        nki.simulate(kernel)(np.ones((1, 1), np.int32))


def test_lists_are_kept_as_they_were_and_numbers_as_python_s() -> None:
    def kernel() -> Any:
        tile, out = nl.ndarray((2, 4), nl.int32), result((2, 4))
        pattern = [[1, np.int64(4)]]
        nisa.iota(tile, pattern, offset=np.int32(5))
        pattern[0][0] = 100
        nisa.dma_copy(out, tile)
        return out

    assert ran(kernel).values.tolist() == [[5, 6, 7, 8]] * 2


# -- fori_loop -------------------------------------------------------------------------
def copy_rows(x: Any, lower: Any, upper: Any, step: int = 1) -> Any:
    """Copy rows of a tensor, by a loop."""
    out = result(x.shape, x.dtype)
    nisa.dma_copy(out, x)
    tile = nl.ndarray((1, x.shape[1]), x.dtype)

    def body(i: Any) -> None:
        nisa.dma_copy(tile, x[nl.ds(i, 1), :])
        nisa.tensor_tensor(tile, tile, tile, "add")
        nisa.dma_copy(out[nl.ds(i, 1), :], tile)

    nl.fori_loop(lower, upper, body, step)
    return out


ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


@pytest.mark.parametrize(
    "lower, upper, step", [(0, 8, 1), (2, 5, 1), (1, 8, 3), (7, 8, 5), (0, 0, 1)]
)
def test_a_loop_counts_as_range_does(lower: int, upper: int, step: int) -> None:
    expected = ROWS.copy()
    expected[lower:upper:step] *= 2

    def known(x: Any) -> Any:
        return copy_rows(x, lower, upper, step)

    def registers(x: Any) -> Any:
        first, last = nisa.register_alloc(lower), nisa.register_alloc(upper)
        return copy_rows(x, first, last, step)

    def loaded(x: Any, bounds: Any) -> Any:
        first, last = (nisa.scalar_load(bounds[i : i + 1, :]) for i in range(2))
        return copy_rows(x, first + 1, last * 2, step)

    bounds = np.array([[lower - 1], [upper // 2]], np.int32)
    for kernel in (known, registers):
        np.testing.assert_array_equal(ran(kernel, ROWS.copy()).values, expected)
    if upper % 2 == 0:
        found = ran(loaded, ROWS.copy(), bounds).values
        np.testing.assert_array_equal(found, expected)


def test_a_kept_program_runs_on_other_bounds() -> None:
    def kernel(x: Any, upper: Any) -> Any:
        return copy_rows(x, 0, nisa.scalar_load(upper))

    simulation = nki.simulate(kernel).run(ROWS.copy(), np.array([[1]], np.int32))
    for count in (0, 3, 8):
        expected = ROWS.copy()
        expected[:count] *= 2
        inputs = [ROWS.copy(), np.array([[count]], np.int32)]
        (found,) = replay(simulation.programs, inputs)
        np.testing.assert_array_equal(found, expected)


def test_the_counter_is_a_register_if_a_bound_is_one() -> None:
    found = []

    def kernel(x: Any) -> None:
        register, number = nisa.register_alloc(x), nisa.scalar_load(x)
        for upper in (register, number, 2):
            nl.fori_loop(0, upper, found.append)

    nki.simulate(kernel)(np.array([[2]], np.int32))
    assert [type(counter) for counter in found] == [
        nisa.VirtualRegister,
        nisa.NkiScalar,
        nisa.NkiScalar,
    ]


def test_bounds_are_those_at_the_loop_s_begin() -> None:
    def kernel() -> Any:
        upper, count = nisa.register_alloc(3), result()
        nisa.register_store(count, nisa.register_alloc(0))

        def body(i: Any) -> None:
            nisa.register_move(upper, 100)
            nisa.scalar_store(count, nisa.scalar_load(count) + 1)

        nl.fori_loop(0, upper, body)
        return count

    assert ran(kernel).values.tolist() == [[3]]


def test_loops_in_loops_count_each() -> None:
    def kernel() -> Any:
        out = result((3, 4))

        def outer(i: Any) -> None:
            def inner(j: Any) -> None:
                nisa.scalar_store(out[nl.ds(i, 1), nl.ds(j, 1)], i * 10 + j)

            nl.fori_loop(0, 4, inner)

        nl.fori_loop(0, 3, outer)
        return out

    simulation = ran(kernel)
    expected = np.arange(3)[:, None] * 10 + np.arange(4)
    np.testing.assert_array_equal(simulation.values, expected)
    (loop,) = loops(simulation)
    assert sum(isinstance(step, Loop) for step in loop.body) == 1


def test_a_loop_in_a_loop_is_warned_of_at_its_line() -> None:
    def nested() -> None:
        nl.fori_loop(0, 2, lambda i: nl.fori_loop(0, 2, lambda j: None))

    with pytest.warns(NkiWarning, match="a loop over a register is in another"):
        (finding,) = nki.simulate(nested).run().findings
    assert finding.kind == "nested-loops" and finding.level == "warning"
    assert (
        finding.file == __file__ and finding.line == nested.__code__.co_firstlineno + 1
    )


def test_an_inner_loop_s_count_may_be_the_outer_s_counter() -> None:
    def kernel() -> Any:
        total = result()
        nisa.register_store(total, nisa.register_alloc(0))

        def inner(j: Any) -> None:
            nisa.scalar_store(total, nisa.scalar_load(total) + j)

        nl.fori_loop(0, 5, lambda i: nl.fori_loop(0, i, inner))
        return total

    # The first outer iteration runs the inner loop's body no time.
    expected = sum(j for i in range(5) for j in range(i))
    assert ran(kernel).values.tolist() == [[expected]]


def test_a_body_is_called_once_and_its_tensors_are_made_once() -> None:
    called = []

    def kernel(x: Any) -> Any:
        out = result(x.shape, x.dtype)

        def body(i: Any) -> None:
            called.append(i)
            tile = nl.ndarray((1, 3), x.dtype, name="row")
            nisa.dma_copy(tile, x[nl.ds(i, 1), :])
            nisa.dma_copy(out[nl.ds(i, 1), :], tile)

        nl.fori_loop(0, 8, body)
        return out

    simulation = ran(kernel, ROWS.copy())
    np.testing.assert_array_equal(simulation.values, ROWS)
    assert len(called) == 1
    (program,) = simulation.programs
    assert [made.name for made in program.allocations].count("row") == 1
    assert sum(1 for _ in program.instructions()) == 2


def test_a_loop_that_runs_no_time_is_checked_and_kept() -> None:
    def kernel(x: Any) -> Any:
        out = result(x.shape, x.dtype)
        nisa.dma_copy(out, x)

        def body(i: Any) -> None:
            # Never written: to run it would be an error.
            nisa.dma_copy(out[nl.ds(i, 1), :], nl.ndarray((1, 3), x.dtype))

        nl.fori_loop(4, 4, body)
        nl.while_loop(nisa.register_alloc(0), lambda: body(0) or nisa.register_alloc(0))
        return out

    simulation = ran(kernel, ROWS.copy())
    np.testing.assert_array_equal(simulation.values, ROWS)
    for loop in loops(simulation):
        assert any(isinstance(step, Instruction) for step in loop.body)

    def wrong(x: Any) -> None:
        tile = nl.ndarray((1, 2), x.dtype)
        nl.fori_loop(4, 4, lambda i: nisa.dma_copy(tile, x[0:1, :]))

    with pytest.raises(NkiValidationError, match="dma_copy: dst has 2 elements"):
        nki.simulate(wrong)(ROWS)


def test_an_index_out_of_bounds_is_found_in_the_iteration_that_has_it() -> None:
    def kernel(x: Any) -> Any:
        return copy_rows(x, 6, 10)

    with pytest.raises(NkiValidationError, match="dma_copy: .*out-of-bounds") as error:
        nki.simulate(kernel)(ROWS)
    assert __file__ in str(error.value)


def test_a_loop_cannot_be_in_no_reorder() -> None:
    def kernel(x: Any) -> None:
        with nl.no_reorder():
            nl.fori_loop(0, 2, lambda i: None)

    with pytest.raises(NkiValidationError, match="no_reorder"):
        nki.simulate(kernel)(ROWS)

    def around(x: Any) -> Any:
        def body(i: Any) -> None:
            with nl.no_reorder():
                nisa.scalar_store(out[nl.ds(i, 1), :], i)

        out = result((4, 1))
        nl.fori_loop(0, 4, body)
        return out

    assert ran(around, ROWS.copy()).values.tolist() == [[0], [1], [2], [3]]


def test_an_error_in_a_body_is_its_own() -> None:
    def body(i: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        nki.simulate(lambda x: nl.fori_loop(0, 2, body))(ROWS)


# -- while_loop ------------------------------------------------------------------------
@pytest.mark.parametrize("start", [0, 1, 5])
def test_a_while_loop_runs_while_its_register_is_not_0(start: int) -> None:
    def kernel(x: Any) -> Any:
        left, turns = result(), result()
        nisa.dma_copy(left, x)
        nisa.register_store(turns, nisa.register_alloc(0))

        def body() -> Any:
            nisa.scalar_store(turns, nisa.scalar_load(turns) + 1)
            nisa.scalar_store(left, nisa.scalar_load(left) - 1)
            return nisa.register_alloc(left)

        nl.while_loop(nisa.register_alloc(x), body)
        return turns, left

    turns, left = ran(kernel, np.array([[start]], np.int32)).values
    assert turns.tolist() == [[start]] and left.tolist() == [[0]]


def test_the_condition_may_be_a_scalar() -> None:
    def kernel(x: Any) -> Any:
        left = result()
        nisa.dma_copy(left, x)

        def body() -> Any:
            going = nisa.scalar_load(left) - 1
            nisa.scalar_store(left, going)
            return going

        nl.while_loop(nisa.scalar_load(x), body)
        return left

    assert ran(kernel, np.array([[4]], np.int32)).values.tolist() == [[0]]


@pytest.mark.parametrize("load", [nisa.register_alloc, nisa.scalar_load])
def test_the_body_takes_the_condition_by_value(load: Any) -> None:
    def kernel(x: Any) -> Any:
        seen = nl.ndarray((8, 1), nl.int32, buffer=nl.shared_hbm)
        nisa.dma_copy(seen, nl.zeros((8, 1), nl.int32, nl.sbuf))
        left = result()
        nisa.dma_copy(left, x)

        def body(going: Any) -> Any:
            assert type(going) is type(load(x))
            nisa.register_store(seen[nl.ds(going, 1)], going)
            nisa.scalar_store(left, nisa.scalar_load(left) - 2)
            # It is the body's own: what is loaded to it is not the loop's.
            taken = nisa.register_alloc(left)
            nisa.register_move(going, 0)
            return taken

        nl.while_loop(load(x), body)
        return seen

    seen = ran(kernel, np.array([[6]], np.int32)).values
    assert seen.ravel().tolist() == [0, 0, 2, 0, 4, 0, 6, 0]


def test_a_while_loop_in_a_fori_loop() -> None:
    def kernel() -> Any:
        total, left = result(), result()
        nisa.register_store(total, nisa.register_alloc(0))

        def outer(i: Any) -> None:
            nisa.scalar_store(left, i)

            def inner() -> Any:
                nisa.scalar_store(total, nisa.scalar_load(total) + 1)
                going = nisa.scalar_load(left) - 1
                nisa.scalar_store(left, going)
                return going

            nl.while_loop(i, inner)

        nl.fori_loop(0, 5, outer)
        return total

    assert ran(kernel).values.tolist() == [[10]]


# -- partitions that a register says ---------------------------------------------------
def copies_from(start: int, count: int, skip: int) -> Any:
    """A kernel that copies partitions from one on that only the run knows."""

    def kernel(x: Any) -> Any:
        tile, out = nl.load(x), result((count, 64), nl.float32)
        made = nl.ndarray((count, 64), nl.float32)

        def body(i: Any) -> None:
            nisa.tensor_copy(made, tile[skip:][nl.ds(i, count)])

        nl.fori_loop(start, start + 1, body)
        nisa.dma_copy(out, made)
        return out

    return kernel


def moved_by_dma(x: Any) -> Any:
    tile, out = nl.load(x), result((32, 64), nl.float32)
    nl.fori_loop(1, 2, lambda i: nisa.dma_copy(out, tile[nl.ds(i, 32)]))
    return out


MATRIX = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)


@pytest.mark.parametrize(
    "start, count, skip",
    [(0, 32, 0), (32, 32, 0), (96, 32, 0), (64, 64, 0), (96, 1, 0), (16, 32, 16)],
)
def test_partitions_by_a_register(start: int, count: int, skip: int) -> None:
    values = ran(copies_from(start, count, skip), MATRIX.copy()).values
    first = start + skip
    np.testing.assert_array_equal(values, MATRIX[first : first + count])


@pytest.mark.parametrize(
    "start, count, skip, allowed",
    [
        (1, 32, 0, "0, 32, 64, 96"),
        (33, 1, 0, "0, 32, 64, 96"),
        (32, 64, 0, "0, 64"),
        (32, 32, 16, "0, 32, 64, 96"),
        (1, 127, 0, "0"),
    ],
)
def test_engines_begin_at_few_partitions(
    start: int, count: int, skip: int, allowed: str
) -> None:
    text = f"src begins at partition {start + skip}, and {count} partitions may begin"
    with pytest.raises(NkiValidationError, match=f"{text} at {allowed} only") as raised:
        nki.simulate(copies_from(start, count, skip)).run(MATRIX.copy())
    assert raised.value.finding.kind == "wrong-operand"
    assert "test_registers.py:" in str(raised.value)


def test_a_destination_too() -> None:
    def kernel(x: Any) -> None:
        tile = nl.load(x)
        nl.fori_loop(1, 2, lambda i: nisa.memset(tile[nl.ds(i, 32)], 0.0))

    with pytest.raises(NkiValidationError, match="dst begins at partition 1, and"):
        nki.simulate(kernel).run(MATRIX.copy())


def test_it_is_found_in_the_iteration_that_has_it() -> None:
    def kernel(x: Any) -> None:
        tile = nl.load(x)
        made = nl.ndarray((32, 64), nl.float32)

        def body(i: Any) -> None:
            nisa.tensor_copy(made, tile[nl.ds(i, 32)])

        nl.fori_loop(0, 40, body, step=32)
        nl.fori_loop(0, 40, body, step=20)

    with pytest.raises(NkiValidationError, match="begins at partition 20"):
        nki.simulate(kernel).run(MATRIX.copy())


def test_a_transfer_begins_at_any_partition() -> None:
    np.testing.assert_array_equal(ran(moved_by_dma, MATRIX.copy()).values, MATRIX[1:33])


def test_a_program_that_runs_again_is_refused_too() -> None:
    def kernel(x: Any, starts: Any) -> Any:
        tile, out = nl.load(x), result((32, 64), nl.float32)
        made = nl.ndarray((32, 64), nl.float32)
        first = nisa.register_alloc()
        nisa.register_load(first, nl.load(starts))
        nisa.tensor_copy(made, tile[nl.ds(first, 32)])
        nisa.dma_copy(out, made)
        return out

    starts = np.array([[32]], np.int32)
    programs = decode(encode(ran(kernel, MATRIX.copy(), starts).programs))
    with pytest.raises(NkiValidationError, match="begins at partition 1, and"):
        replay(programs, [MATRIX.copy(), np.array([[1]], np.int32)])
