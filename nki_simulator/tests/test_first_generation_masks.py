"""Indices and masks of the first generation: which elements are read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nkipy_nki import NkiValidationError
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl
from nkipy_nki.neuronxcc.nki.indices import Grid, Mask
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# -- algebra ---------------------------------------------------------------------------
def _expressions(p: Any, f: Any, choose: Callable[[int], int]) -> Any:
    """A random expression of two indices, NumPy's or ours."""
    made = p * choose(4) + f * (choose(5) - 1) + choose(3)
    if choose(2):
        made = made // (choose(3) + 1) + f
    if choose(2):
        made = made % (choose(6) + 2) + p
    return 7 - made if choose(2) else made


@given(st.lists(st.integers(0, 100), min_size=12, max_size=12))
@settings(max_examples=60, deadline=None)
def test_expressions_are_those_of_numpy(numbers: list[int]) -> None:
    def chooser() -> Callable[[int], int]:
        left = iter(numbers)
        return lambda limit: next(left) % limit

    ours = _expressions(nl.arange(5)[:, None], nl.arange(2, 8)[None, :], chooser())
    numpys = _expressions(np.arange(5)[:, None], np.arange(2, 8)[None, :], chooser())
    assert ours.shape == numpys.shape
    np.testing.assert_array_equal(np.broadcast_to(ours.values, ours.shape), numpys)
    assert ours.limits() == (numpys.min(), numpys.max())
    limit = numbers[0] % 9
    for one, other in (
        (ours < limit, numpys < limit),
        ((ours >= limit) & (nl.arange(6) > 2), (numpys >= limit) & (np.arange(6) > 2)),
        (~(ours == limit) | (ours != 3), ~(numpys == limit) | (numpys != 3)),
        ((ours <= limit) ^ True, (numpys <= limit) ^ True),
    ):
        assert isinstance(one, Mask)
        np.testing.assert_array_equal(one.values, other)
        assert one.is_empty == (not other.any())
        assert one.is_full == other.all()


def test_mgrid_is_that_of_numpy() -> None:
    ours, numpys = nl.mgrid[0:4, 1:9:2, 3:5], np.mgrid[0:4, 1:9:2, 3:5]
    for mine, its in zip(ours, numpys):
        np.testing.assert_array_equal(np.broadcast_to(mine.values, mine.shape), its)
    assert [ours.p is ours[0], ours.x is ours[1], ours.y is ours[2]] == [True] * 3
    assert isinstance(ours.y, Grid)
    with pytest.raises(AttributeError, match="no z"):
        ours.z  # noqa: B018


# -- masks -----------------------------------------------------------------------------
MASKS: dict[str, Callable[[Any, Any], Any]] = {
    "rows": lambda p, f: p < 5,
    "columns": lambda p, f: f >= 3,
    "rectangle": lambda p, f: (p < 6) & (f > 1) & (f < 8),
    "not-from-the-first-row": lambda p, f: p > 2,
    "triangle": lambda p, f: f <= p,
    "every-other": lambda p, f: (p + f) % 2 == 0,
    "but-one": lambda p, f: f != 4,
    "either": lambda p, f: (p < 2) | (f < 2),
    "nothing": lambda p, f: p < 0,
    "all": lambda p, f: p >= 0,
}


@pytest.fixture(params=MASKS.values(), ids=MASKS.keys())
def mask(request: Any) -> Any:
    return request.param


def where(mask: Callable[[Any, Any], Any], shape: tuple[int, int]) -> np.ndarray:
    p, f = np.ogrid[: shape[0], : shape[1]]
    return np.broadcast_to(mask(p, f), shape)


@nki.trace
def masked_everywhere(a, out, mask):
    """A mask for the load, one for what is computed, one for the store."""
    i_p, i_f = nl.arange(a.shape[0])[:, None], nl.arange(a.shape[1])[None, :]
    made = nl.full(a.shape, -1.0, nl.float32)
    made[i_p, i_f] = nl.load(a[i_p, i_f], mask=mask(i_p, i_f))
    other = nl.full(a.shape, 5.0, nl.float32)
    other[i_p, i_f] = nl.multiply(made, 3.0, mask=mask(i_p, i_f))
    nl.store(out[i_p, i_f], value=other, mask=mask(i_p, i_f))


def test_masks_say_what_is_read_and_written(mask: Any) -> None:
    a, out = random(9, 10), np.full((9, 10), 7, np.float32)
    nki.simulate_kernel(masked_everywhere, a, out, mask)
    np.testing.assert_array_equal(out, np.where(where(mask, a.shape), a * 3, 7))


@nki.trace
def reduced_by_mask(a, out, mask):
    i_p, i_f = nl.arange(a.shape[0])[:, None], nl.arange(a.shape[1])[None, :]
    made = nl.full((a.shape[0], 1), 7.0, nl.float32)
    made[...] = nisa.tensor_reduce(
        np.max, nl.load(a), axis=[1], mask=mask(i_p, i_f), keepdims=True
    )
    nl.store(out, value=made)


def test_a_reduction_takes_the_elements_of_its_mask(mask: Any) -> None:
    a, out = random(9, 10), np.zeros((9, 1), np.float32)
    nki.simulate_kernel(reduced_by_mask, a, out, mask)
    meant = where(mask, a.shape)
    wanted = np.where(meant, a, -np.inf).max(1, keepdims=True)
    np.testing.assert_array_equal(out, np.where(meant.any(1, keepdims=True), wanted, 7))


@nki.jit
def reduced_where(a: Any, op: Any, over_rows: bool) -> Any:
    shape = (1, 4) if over_rows else (8, 1)
    result = nl.ndarray(shape, dtype=a.dtype, buffer=nl.shared_hbm)
    i, j = nl.arange(8)[:, None], nl.arange(4)[None, :]
    tile = nl.load(a)[i, j]
    if over_rows:
        made = nisa.tensor_partition_reduce(op, tile, mask=(i < j + 2))
    else:
        made = nisa.tensor_reduce(op, tile, axis=[1], mask=(j <= i))
    nl.store(result, made)
    return result


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int32"])
@pytest.mark.parametrize("op", [np.bitwise_and, np.bitwise_or])
def test_bits_that_a_mask_leaves_out_do_not_count(op: Any, dtype: str) -> None:
    a = (np.random.default_rng(4).integers(0, 100, (8, 4)) | 9).astype(dtype)
    for over_rows in (True, False):
        got = nki.simulate_kernel(reduced_where, a, op, over_rows).reshape(-1)
        columns = [a[: k + 2, k] for k in range(4)]
        parts = columns if over_rows else [a[k, : k + 1] for k in range(8)]
        for mine, part in zip(got, parts, strict=True):
            assert mine == op.reduce(part)


def test_a_mean_over_partitions_has_a_mask_of_rows() -> None:
    with pytest.raises(NkiValidationError, match="a mask that is no rectangle"):
        nki.simulate_kernel(reduced_where, np.ones((8, 4), np.float32), np.mean, True)


@nki.trace
def beyond_the_end(a, out, last):
    """What the mask leaves out may lie out of bounds."""
    i_p, i_f = nl.arange(8)[:, None], nl.arange(6)[None, :]
    x = nl.load(a[i_p * 2, i_f * i_f], mask=(i_p * 2 < 9) & (i_f * i_f < last))
    nl.store(out[i_p, i_f], value=x, mask=(i_p * 2 < 9) & (i_f * i_f < last))


def test_what_a_mask_leaves_out_may_lie_out_of_bounds() -> None:
    a, out = random(9, 10), np.zeros((8, 6), np.float32)
    nki.simulate_kernel(beyond_the_end, a, out, 10)
    wanted = np.zeros_like(out)
    wanted[:5, :4] = a[::2, [0, 1, 4, 9]]
    np.testing.assert_array_equal(out, wanted)
    with pytest.raises(NkiValidationError, match="err_tensor_access_out_of_bound"):
        nki.simulate_kernel(beyond_the_end, a, out, 17)


@nki.jit
def predicated(a):
    """A mask that loop variables alone decide."""
    out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
    total = nl.zeros(a.shape, nl.float32)
    x = nl.load(a)
    for k in nl.sequential_range(4):
        total[...] = nl.add(total, x, mask=k % 2 == 0)
        total[...] = nl.multiply(total, 2.0, mask=(k == 3) | (k == 1))
    nl.store(out, value=total)
    return out


def test_a_mask_of_loop_variables_is_a_condition() -> None:
    a = random(4, 4)
    np.testing.assert_allclose(predicated(a), ((a * 2) + a) * 2, rtol=1e-6)


def test_what_a_mask_left_out_is_not_summed() -> None:
    @nki.jit
    def kernel(a):
        i_p, i_f = nl.arange(4)[:, None], nl.arange(6)[None, :]
        x = nl.load(a[i_p, i_f], mask=i_f < 3)
        out = nl.ndarray((4, 1), a.dtype, buffer=nl.shared_hbm)
        nl.store(out, value=nl.sum(x, axis=1))
        return out

    with pytest.raises(NkiValidationError, match="never written"):
        kernel(random(4, 6))


def test_what_a_mask_left_out_is_not_stored() -> None:
    @nki.jit
    def kernel(a):
        i_p, i_f = nl.arange(4)[:, None], nl.arange(6)[None, :]
        x = nl.load(a[i_p, i_f], mask=i_p < 3)
        out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        nl.store(out, value=nl.exp(x))
        return out

    with pytest.raises(NkiValidationError, match="never written"):
        kernel(random(4, 6))


@pytest.mark.parametrize("part", ["grid", "slice", "columns"])
def test_rows_that_a_mask_left_out_stay_so_in_parts(part: str) -> None:
    @nki.jit
    def kernel(a):
        out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(6)[None, :]
        x = nl.load(a[i_p, i_f], mask=i_p < a.shape[0])
        y = {"grid": x[i_p, i_f], "slice": x[:, 0:6], "columns": x[...]}[part]
        nl.store(out[i_p, i_f], value=nl.exp(y), mask=i_p < a.shape[0])
        return out

    a = random(5, 6)
    np.testing.assert_allclose(kernel(a), np.exp(a), rtol=1e-6)


# -- tiles of indices ------------------------------------------------------------------
@nki.jit
def gather_rows(table, rows):
    out = nl.ndarray((rows.shape[0], table.shape[1]), table.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.arange(rows.shape[0])[:, None], nl.arange(table.shape[1])[None, :]
    at = nl.load(rows)
    nl.store(out[i_p, i_f], value=nl.load(table[at[i_p, 0], i_f]))
    return out


@nki.trace
def scatter_rows(a, rows, out):
    i_p, i_f = nl.arange(rows.shape[0])[:, None], nl.arange(a.shape[1])[None, :]
    at = nl.load(rows)
    nl.store(out[at[i_p, 0], i_f], value=nl.load(a), mask=i_p < 3)


def test_rows_are_gathered_and_scattered_by_a_tile() -> None:
    table = random(10, 6)
    rows = np.array([[7], [0], [3], [3], [9]], np.int32)
    np.testing.assert_array_equal(gather_rows(table, rows), table[rows[:, 0]])
    a, out = random(5, 6, seed=1), np.zeros((10, 6), np.float32)
    nki.simulate_kernel(scatter_rows, a, rows, out)
    wanted = np.zeros_like(out)
    wanted[rows[:3, 0]] = a[:3]
    np.testing.assert_array_equal(out, wanted)


def test_an_index_that_is_out_of_bounds_is_found() -> None:
    with pytest.raises(NkiValidationError, match="out-of-bounds"):
        gather_rows(random(10, 6), np.array([[1], [10]], np.int32))


@nki.jit
def by_parts_of_a_block(a):
    """Indices that are not affine, of a part of a part of a block."""
    out = nl.ndarray((4, 6), a.dtype, buffer=nl.shared_hbm)
    tiles = nl.zeros((2, nl.par_dim(4), 10), a.dtype)
    i_p, i_f = nl.arange(4)[:, None], nl.arange(6)[None, :]
    half = tiles[1][:, 2:9]
    half[i_p, i_f * i_f % 7] = nl.load(a[i_p, i_f], mask=i_f < 4)
    nl.store(out, value=nl.copy(tiles[1, :, 2:8]))
    return out


def test_positions_are_those_of_the_part() -> None:
    a = random(4, 6)
    wanted = np.zeros((4, 7), np.float32)
    for f in range(4):
        wanted[:, f * f % 7] = a[:, f]
    np.testing.assert_array_equal(by_parts_of_a_block(a), wanted[:, :6])


# -- patterns --------------------------------------------------------------------------
@nki.jit
def numbered(n):
    out = nl.ndarray((4, 3 * n), nl.int32, buffer=nl.shared_hbm)
    i_p, i_f = nl.arange(4)[:, None], nl.arange(3 * n)[None, :]
    nl.store(out, value=nisa.iota(i_p * 10 + i_f * 2 + 1, dtype=nl.int32))
    return out


def test_iota_is_what_indices_are() -> None:
    p, f = np.ogrid[:4, :6]
    np.testing.assert_array_equal(numbered(2), p * 10 + f * 2 + 1)


# -- programs --------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["triangle", "rectangle", "every-other"])
def test_a_masked_program_runs_again_without_the_kernel(name: str) -> None:
    a, out = random(9, 10), np.full((9, 10), 7, np.float32)
    run = masked_everywhere.simulate(a, out.copy(), MASKS[name])
    again = out.copy()
    replay(decode(encode(run.programs)), [a, again])
    wanted = np.where(where(MASKS[name], a.shape), a * 3, 7)
    np.testing.assert_array_equal(again, wanted)


# -- masks of rows, on what is made of several instructions ----------------------------
RAGGED = np.random.default_rng(3).standard_normal((200, 30)).astype(np.float32)


def _statistics(x: Any, mask: Any) -> Any:
    parts = nisa.bn_stats(x, mask=mask, dtype=nl.float32)
    return nisa.bn_aggr(parts, mask=mask)[:, 1:2]


def _identity(x: Any, mask: Any) -> Any:
    eye = nl.load(nl.shared_identity_matrix(30, dtype=x.dtype))
    return nl.matmul(x, eye, mask=mask)


def _turned_twice(x: Any, mask: Any) -> Any:
    return nl.transpose(nl.copy(nl.transpose(x, mask=mask)))


_POWERS = np.exp(RAGGED - RAGGED.max(1, keepdims=True))
_TRIANGLE = np.arange(30) <= np.arange(200)[:, None] % 128
BY_ROWS: dict[str, tuple[Callable[[Any, Any], Any], np.ndarray]] = {
    "softmax": (
        lambda x, mask: nl.softmax(x, axis=-1, mask=mask),
        _POWERS / _POWERS.sum(1, keepdims=True),
    ),
    "mean": (
        lambda x, mask: nl.mean(x, axis=1, mask=mask, keepdims=True),
        RAGGED.mean(1, keepdims=True),
    ),
    "var": (
        lambda x, mask: nl.var(x, axis=[1], mask=mask),
        RAGGED.var(1, keepdims=True),
    ),
    "rms-norm": (
        lambda x, mask: nl.rms_norm(x, nl.ones((1, 30), x.dtype), 1, 30, mask=mask),
        RAGGED / np.sqrt((RAGGED**2).mean(1, keepdims=True) + 1e-6),
    ),
    "where": (
        lambda x, mask: nl.where(x > 0, x, 0.0, mask=mask),
        np.maximum(RAGGED, 0),
    ),
    "statistics": (_statistics, RAGGED.var(1, keepdims=True)),
    "max8": (
        lambda x, mask: nisa.max8(src=x, mask=mask),
        np.sort(RAGGED, 1)[:, ::-1][:, :8],
    ),
    "affine-select": (
        lambda x, mask: nisa.affine_select(
            nl.arange(128)[:, None] >= nl.arange(30)[None, :], x, -9.0, mask=mask
        ),
        np.where(_TRIANGLE, RAGGED, np.float32(-9)),
    ),
    "product": (_identity, RAGGED),
    "transposes": (_turned_twice, RAGGED),
}
#: What searches reads all rows, unless it is told which.
_INHERITED = [name for name in BY_ROWS if name not in ("statistics", "max8")]


@pytest.mark.parametrize(
    ("name", "is_given"),
    [*((name, True) for name in BY_ROWS), *((name, False) for name in _INHERITED)],
)
@pytest.mark.filterwarnings("error")
def test_rows_that_a_mask_leaves_out_do_not_count(name: str, is_given: bool) -> None:
    function, expected = BY_ROWS[name]

    @nki.jit
    def kernel(a):
        out = nl.ndarray(expected.shape, a.dtype, buffer=nl.shared_hbm)
        p, f = nl.arange(128)[:, None], nl.arange(30)[None, :]
        columns = nl.arange(expected.shape[1])[None, :]
        for i in nl.affine_range(2):
            inside = i * 128 + p < 200
            x = nl.load(a[i * 128 + p, f], mask=inside)
            made = function(x, inside if is_given else None)
            nl.store(out[i * 128 + p, columns], made, mask=inside)
        return out

    np.testing.assert_allclose(kernel(RAGGED), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, mask: nl.softmax(x, axis=1, mask=mask),
        lambda x, mask: nl.where(x > 0, x, 0.0, mask=mask),
        lambda x, mask: nisa.affine_select(
            nl.arange(8)[:, None] >= nl.arange(8)[None, :], x, -9.0, mask=mask
        ),
        lambda x, mask: nl.transpose(x, mask=mask),
        lambda x, mask: nl.matmul(x, x, mask=mask),
        lambda x, mask: nisa.max8(src=x, mask=mask),
    ],
    ids=["softmax", "where", "affine-select", "transpose", "product", "max8"],
)
def test_what_a_false_mask_guards_is_not_done(function: Callable[..., Any]) -> None:
    """Of a loop's iterations, only those that the mask is true for assign."""

    @nki.jit
    def kernel(a):
        out = nl.ndarray((8, 8), a.dtype, buffer=nl.shared_hbm)
        x, kept = nl.load(a), nl.zeros((8, 8), a.dtype)
        for i in nl.sequential_range(3):
            kept[...] = function(x + i, i == 1)
        nl.store(out, kept)
        return out

    @nki.jit
    def once(a):
        out = nl.ndarray((8, 8), a.dtype, buffer=nl.shared_hbm)
        nl.store(out, function(nl.load(a) + 1, True))
        return out

    a = RAGGED[:8, :8].copy()
    np.testing.assert_array_equal(kernel(a), once(a))


def test_a_pattern_with_a_mask_of_columns() -> None:
    @nki.jit
    def kernel():
        out = nl.ndarray((8, 6), nl.int32, buffer=nl.shared_hbm)
        p, f = nl.mgrid[0:8, 0:6]
        nl.store(out, -1)
        inside = (f >= 2) & (p >= 3)
        nl.store(out[p, f], nisa.iota(10 * p + f, nl.int32, mask=inside), mask=inside)
        return out

    p, f = np.mgrid[0:8, 0:6]
    expected = np.where((f >= 2) & (p >= 3), 10 * p + f, -1)
    np.testing.assert_array_equal(kernel(), expected)


# -- masks of products -----------------------------------------------------------------
def _operands(k: int, m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    return random(k, m, seed=1), random(k, n, seed=2)


def _product_of_rows(multiply: Callable[..., Any], loads: Callable[..., Any]) -> Any:
    @nki.jit
    def kernel(a, b):
        (k, m), n = a.shape, b.shape[1]
        out = nl.ndarray((m, n), nl.float32, buffer=nl.shared_hbm)
        i_p, i_m, i_n = nl.arange(128)[:, None], nl.arange(m)[None], nl.arange(n)[None]
        total = nl.zeros((m, n), nl.float32, buffer=nl.psum)
        for i in nl.affine_range((k + 127) // 128):
            inside = i * 128 + i_p < k
            left, right = loads(a, b, i * 128 + i_p, i_m, i_n, inside)
            total += multiply(left[i_p, i_m], right[i_p, i_n], mask=inside)
        nl.store(out, nl.copy(total))
        return out

    return kernel


def _masked_loads(a: Any, b: Any, p: Any, m: Any, n: Any, inside: Any) -> Any:
    return nl.load(a[p, m], mask=inside), nl.load(b[p, n], mask=inside)


def _filled_loads(a: Any, b: Any, p: Any, m: Any, n: Any, inside: Any) -> Any:
    """Tiles that have values everywhere, of which the last rows are not meant."""
    left = nl.full((128, a.shape[1]), 7.0, a.dtype)
    right = nl.full((128, b.shape[1]), 7.0, b.dtype)
    left[...] = nl.load(a[p, m], mask=inside)
    right[...] = nl.load(b[p, n], mask=inside)
    return left, right


MULTIPLY: dict[str, Callable[..., Any]] = {
    "nl": lambda x, y, mask: nl.matmul(x, y, transpose_x=True, mask=mask),
    "nisa": lambda x, y, mask: nisa.nc_matmul(x, y, mask=mask),
}


@pytest.mark.parametrize("multiply", MULTIPLY.values(), ids=MULTIPLY.keys())
@pytest.mark.parametrize("loads, m", [(_masked_loads, 128), (_filled_loads, 64)])
def test_rows_that_a_mask_leaves_out_are_not_summed(
    multiply: Callable[..., Any], loads: Callable[..., Any], m: int
) -> None:
    a, b = _operands(200, m, 96)
    found = _product_of_rows(multiply, loads)(a, b)
    np.testing.assert_allclose(found, a.T @ b, rtol=1e-4, atol=1e-4)


def test_a_mask_of_rows_and_of_columns_of_a_product() -> None:
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((16, 24), nl.float32, buffer=nl.shared_hbm)
        p, n = nl.arange(32)[:, None], nl.arange(24)[None, :]
        nl.store(out, 0.0)
        inside = (p < 20) & (n < 9)
        made = nisa.nc_matmul(nl.load(a), nl.load(b), mask=inside)
        nl.store(out[:, 0:9], made[:, 0:9])
        return out

    a, b = _operands(32, 16, 24)
    expected = np.zeros((16, 24), np.float32)
    expected[:, :9] = a[:20].T @ b[:20, :9]
    np.testing.assert_allclose(kernel(a, b), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("multiply", MULTIPLY.values(), ids=MULTIPLY.keys())
@pytest.mark.parametrize(
    "mask, problem",
    [
        (lambda p: p < 20, "the 32 rows of the mask may be those of the result, or"),
        (
            lambda p: nl.arange(31)[:, None] < 20,
            r"shape \[31, 1\] fits neither the",
        ),
        (lambda p: p >= 20, r"do not begin at 0 .* x\[0:n\] to sum over the first n"),
    ],
    ids=["of-which", "of-none", "from-the-middle"],
)
def test_a_mask_that_a_product_cannot_have_is_told(
    multiply: Callable[..., Any], mask: Callable[[Any], Any], problem: str
) -> None:
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((32, 24), nl.float32, buffer=nl.shared_hbm)
        x, y = nl.load(a), nl.load(b)
        nl.store(out, multiply(x, y, mask=mask(nl.arange(32)[:, None])))
        return out

    name = "nl.matmul" if multiply is MULTIPLY["nl"] else "nisa.nc_matmul"
    with pytest.raises(NkiValidationError, match=f"in_mask: {name}: .*{problem}"):
        kernel(*_operands(32, 32, 24))
