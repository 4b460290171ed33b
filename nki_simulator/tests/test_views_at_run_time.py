"""Views by indices that only the run knows: what each shows, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki import NkiValidationError
from nkipy_nki.errors import NkiProgramError
from nkipy_nki.language import ds
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode

TABLE = np.arange(10 * 12, dtype=np.float32).reshape(10, 12)


def gathered(look: Callable[..., Any], index: Any, shape: tuple[int, ...]) -> Any:
    """What a view of TABLE in HBM by indices in SBUF shows."""

    @nki.jit
    def kernel(table: Any, index: Any) -> Any:
        tile = nl.ndarray(index.shape, index.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, index)
        result = nl.ndarray(shape, table.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, look(table, tile))
        return result

    return nki.simulate(kernel)(TABLE, np.asarray(index, np.int32))


def scattered(look: Callable[..., Any], index: Any, values: np.ndarray) -> Any:
    """TABLE after values were written to a view of it."""

    @nki.jit
    def kernel(table: Any, index: Any, values: Any) -> Any:
        tile = nl.ndarray(index.shape, index.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, index)
        nisa.dma_copy(look(table, tile), values)
        return table

    table = TABLE.copy()
    nki.simulate(kernel)(table, np.asarray(index, np.int32), values)
    return table


@pytest.mark.parametrize(
    "look",
    [
        lambda t, i: t.vector_select(0, i),
        lambda t, i: t.ap([[12, 4], [1, 12]], vector_offset=i, indirect_dim=0),
    ],
)
def test_rows_by_a_tile_of_indices(look: Callable[..., Any]) -> None:
    rows = [7, 0, 9, 7]
    index = np.array(rows)[:, None]
    np.testing.assert_array_equal(gathered(look, index, (4, 12)), TABLE[rows])
    np.testing.assert_array_equal(
        gathered(lambda t, i: look(t, i)[:, 3:9:2], index, (4, 3)), TABLE[rows, 3:9:2]
    )
    values = -np.arange(48, dtype=np.float32).reshape(4, 12)
    expected = TABLE.copy()
    expected[[1, 0, 9, 7]] = values
    again = scattered(look, [[1], [0], [9], [7]], values)
    np.testing.assert_array_equal(again, expected)


def test_indices_of_several_columns_are_taken_column_by_column() -> None:
    index = np.array([[1, 4], [2, 5], [3, 6]])
    got = gathered(
        lambda t, i: t.ap([[12, 5], [1, 12]], vector_offset=i), index, (5, 12)
    )
    np.testing.assert_array_equal(got, TABLE[[1, 2, 3, 4, 5]])


@pytest.mark.parametrize(
    "look, expected",
    [
        (lambda t, i: t.select(0, i), TABLE[3]),
        (lambda t, i: t[i], TABLE[3]),
        (lambda t, i: t[:, i], TABLE[:, 3]),
        (lambda t, i: t[ds(i, 4), 2:5], TABLE[3:7, 2:5]),
        (lambda t, i: t[ds(i, 2), ds(i, 5)], TABLE[3:5, 3:8]),
        (lambda t, i: t[ds(i, 4)].permute((1, 0))[2:4], TABLE[3:7, 2:4].T),
        (lambda t, i: t.ap([[12, 2], [1, 12]], scalar_offset=i), TABLE[3:5]),
        (
            lambda t, i: t.ap([[12, 10], [2, 3]], scalar_offset=i, indirect_dim=1),
            TABLE[:, 3:9:2],
        ),
        (lambda t, i: t[2:].ap([[12, 2], [1, 5]], 4, i), TABLE[5:7, 4:9]),
    ],
)
@pytest.mark.parametrize("kind", ["tensor", "register", "scalar"])
def test_one_index_at_run_time(
    kind: str, look: Callable[..., Any], expected: np.ndarray
) -> None:
    def by_kind(table: Any, tile: Any) -> Any:
        if kind == "tensor":
            return look(table, tile)
        register = nisa.register_alloc(0)
        nisa.register_load(register, tile)
        return look(table, register)

    got = gathered(by_kind, [[3]], expected.shape)
    np.testing.assert_array_equal(got, expected)
    values = -np.arange(expected.size, dtype=np.float32).reshape(expected.shape)
    wanted = TABLE.copy()
    for place in zip(*np.unravel_index(range(expected.size), expected.shape)):
        wanted[np.nonzero(TABLE == expected[place])] = values[place]
    np.testing.assert_array_equal(scattered(by_kind, [[3]], values), wanted)


@pytest.mark.parametrize(
    "look, index, shape",
    [
        (lambda t, i: t.vector_select(0, i), [[1], [10]], (2, 12)),
        (lambda t, i: t.vector_select(0, i), [[-1], [1]], (2, 12)),
        (lambda t, i: t[i], [[10]], (12,)),
        (lambda t, i: t[ds(i, 4)], [[7]], (4, 12)),
        (lambda t, i: t[:, ds(i, 4)], [[9]], (10, 4)),
        (lambda t, i: t.ap([[12, 2], [1, 12]], scalar_offset=i), [[9]], (2, 12)),
    ],
)
def test_an_index_at_run_time_beyond_the_end(
    look: Callable[..., Any], index: Any, shape: tuple[int, ...]
) -> None:
    with pytest.raises(NkiValidationError, match=r"src at .*\[out-of-bounds\]"):
        gathered(look, index, shape)
    with pytest.raises(NkiValidationError, match=r"dst at .*\[out-of-bounds\]"):
        scattered(look, index, np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "look, index, text",
    [
        (
            lambda t, i: t[:, ds(i, 4)],
            [[9]],
            "starts at index 9, .* 0 to 8, in",
        ),
        (
            lambda t, i: t.vector_select(0, i),
            [[1], [10]],
            "index 10, and there are 10",
        ),
    ],
)
def test_what_an_index_may_be_is_told(
    look: Callable[..., Any], index: Any, text: str
) -> None:
    with pytest.raises(NkiValidationError, match=text):
        gathered(look, index, (10, 4) if len(index) == 1 else (2, 12))


@pytest.mark.parametrize(
    "look, problem",
    [
        (lambda t, i: t.vector_select(0, i)[0:2], "indexed at run time"),
        (lambda t, i: t.vector_select(0, i).vector_select(0, i), "already"),
        (lambda t, i: t.vector_select(0, i).permute((1, 0)), "indexed at run time"),
        (lambda t, i: t.vector_select(0, i).ap([[1, 1]]), "no access pattern"),
        (
            lambda t, i: t.vector_select(0, t),
            "a register or a tile of integers in the SBUF",
        ),
        (lambda t, i: t[i], "must have one element"),
        (lambda t, i: t[i.view(nl.float32)], "a tile of integers"),
        (lambda t, i: t[nisa.register_alloc(0) :], "use nl.ds"),
        (lambda t, i: t.ap([[12, 3], [1, 2]], vector_offset=i), "3 indices are needed"),
        (lambda t, i: t.ap([[12, 4], [1, 2]], scalar_offset=i), "it must be of one"),
        (
            lambda t, i: t.ap([[12, 4], [1, 2]], vector_offset=i, indirect_dim=1),
            "of dim 0 of a tensor in HBM",
        ),
        (lambda t, i: t[ds(nisa.register_alloc(0), 11)], "index 11 of dimension 0"),
    ],
)
def test_a_wrong_index_at_run_time_is_refused(
    look: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(NkiValidationError) as raised:
        gathered(look, [[1], [2], [3], [4]], (1, 1))
    assert problem in str(raised.value) and __file__ in str(raised.value)


def test_a_loop_reads_a_tile_at_a_time() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((4, 12), x.dtype, buffer=nl.sbuf)

        def body(i: Any) -> None:
            nisa.dma_copy(tile, x[ds(i * 4, 4)])
            nisa.dma_copy(result[ds(4 - i * 4, 4)], tile)

        nl.fori_loop(0, 2, body)
        return result

    got = nki.simulate(kernel)(TABLE[:8])
    np.testing.assert_array_equal(got, TABLE[:8].reshape(2, 4, 12)[::-1].reshape(8, 12))


def test_views_by_indices_are_the_same_from_bytes() -> None:
    @nki.jit
    def kernel(table: Any, index: Any) -> Any:
        result = nl.ndarray((3, 2, 5), table.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((3, 1), index.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, index)
        register = nisa.register_alloc(0)
        nisa.register_load(register, tile[0:1])
        nisa.dma_copy(result[:, 0], table.vector_select(0, tile)[:, ds(register, 5)])
        nisa.dma_copy(result[:, 1], table[ds(register, 3), ds(register, 5)])
        return result

    index = np.array([[2], [8], [5]], np.int32)
    ran = nki.simulate(kernel).run(TABLE, index)
    expected = np.stack([TABLE[index[:, 0], 2:7], TABLE[2:5, 2:7]], 1)
    np.testing.assert_array_equal(ran.values, expected)
    data = encode(ran.programs)
    programs = decode(data)
    assert encode(programs) == data
    (again,) = replay(programs, [TABLE, index])
    np.testing.assert_array_equal(again, expected)
    document = data.decode("latin-1")
    for right, wrong in (('"view":0', '"view":9'), (",0,false", ",7,false")):
        damaged = document.replace(right, wrong, 1)
        assert damaged != document
        with pytest.raises(NkiProgramError):
            decode(damaged.encode("latin-1"))


def test_elements_by_indices_interleaved_over_groups() -> None:
    rng = np.random.default_rng(5)
    table = rng.normal(size=(32, 20)).astype(np.float32)
    index = rng.integers(0, 20, (32, 2)).astype(np.int32)

    @nki.jit
    def kernel(table: Any, index: Any) -> Any:
        data = nl.ndarray(table.shape, table.dtype, buffer=nl.sbuf)
        tile = nl.ndarray(index.shape, index.dtype, buffer=nl.sbuf)
        nisa.dma_copy(data, table)
        nisa.dma_copy(tile, index)
        result = nl.ndarray((32, 24), table.dtype, buffer=nl.shared_hbm)
        view = data.indirect(tile, 24)
        assert view.shape == [32, 24] and view.is_indirect()
        nisa.dma_copy(result, view)
        return result

    expected = np.empty((32, 24), np.float32)
    for p in range(32):
        for i in range(24):
            expected[p, i] = table[p, index[p // 16 * 16 + i % 16, i // 16]]
    got = nki.simulate(kernel, target="trn3")(table, index)
    np.testing.assert_array_equal(got, expected)
    with pytest.raises(NkiValidationError, match=r"of gen4 .*\[generation\]"):
        nki.simulate(kernel, target="trn2")(table, index)


@given(st.data())
@settings(max_examples=25)
def test_patterns_by_an_index_show_what_strides_show(data: st.DataObject) -> None:
    """What an index moves, along any dimension of any part of a tensor in HBM."""
    draw = data.draw
    first, columns = draw(st.integers(0, 3)), draw(st.integers(2, 12))
    rows = draw(st.integers(first + 1, 10))
    offset, axis = draw(st.integers(0, 6)), draw(st.integers(0, 1))
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 13), st.integers(1, 4)), min_size=1, max_size=3
        )
    )
    index, kind = draw(st.integers(-1, 12)), draw(st.sampled_from(["tile", "register"]))
    table = TABLE[:10]
    begin = first * 12 + offset
    span = sum(stride * (count - 1) for stride, count in pairs)
    if begin + span >= table.size:
        return  # refused whatever the index is

    def look(t: Any, i: Any) -> Any:
        if kind == "register":
            tile, i = i, nisa.register_alloc(0)
            nisa.register_load(i, tile)
        part = t[first:rows, :columns]
        return part.ap(pairs, offset, scalar_offset=i, indirect_dim=axis)

    shape = tuple(count for _, count in pairs)
    at = begin + index * (12, 1)[axis]
    is_inside = at >= 0 and at + span < table.size
    is_index = 0 <= index < (rows - first, columns)[axis]
    try:
        got = gathered(look, [[index]], shape)
    except NkiValidationError as error:
        assert "out-of-bounds" in str(error)
        assert not (is_inside and is_index)
        return
    assert is_inside
    wanted = np.lib.stride_tricks.as_strided(
        table.reshape(-1)[at:], shape, [4 * stride for stride, _ in pairs]
    )
    np.testing.assert_array_equal(got, wanted)


@given(st.data())
@settings(max_examples=25)
def test_patterns_by_rows_show_what_is_taken(data: st.DataObject) -> None:
    """Rows by a tile of indices, which takes the place of the first stride."""
    draw = data.draw
    first, offset = draw(st.integers(0, 3)), draw(st.integers(0, 6))
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=2
        )
    )
    rows = draw(st.lists(st.integers(-1, 10), min_size=1, max_size=4))
    span = sum(stride * (count - 1) for stride, count in pairs)
    if first * 12 + offset + span >= TABLE.size:
        return

    def look(t: Any, i: Any) -> Any:
        pattern = [(12, len(rows)), *pairs]
        return t[first:].ap(pattern, offset, vector_offset=i)

    at = [first * 12 + offset + 12 * row for row in rows]
    is_right = all(0 <= a and a + span < TABLE.size for a in at) and min(rows) >= 0
    shape = (len(rows), *(count for _, count in pairs))
    index = [[row] for row in rows]
    if not is_right:
        with pytest.raises(NkiValidationError, match="out-of-bounds"):
            gathered(look, index, shape)
        return
    strides = [4 * stride for stride, _ in pairs]
    flat = TABLE.reshape(-1)
    wanted = [np.lib.stride_tricks.as_strided(flat[a:], shape[1:], strides) for a in at]
    np.testing.assert_array_equal(gathered(look, index, shape), wanted)
