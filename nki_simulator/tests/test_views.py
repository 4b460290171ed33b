"""Views of tensors: what each shows, what it refuses, and random chains by NumPy's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.chips import find_chip
from nkipy_nki import NkiValidationError
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.errors import NkiProgramError
from nkipy_nki.findings import Findings
from nkipy_nki.language import ds
from nkipy_nki.memory import Memory, Storage
from nkipy_nki.program import Allocation, whole
from nkipy_nki.records import INSTRUCTIONS
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.replaying import replay
from nkipy_nki.running import Run, running
from nkipy_nki.tensors import NkiTensor, as_tensor
from nkipy_nki.wire import decode, encode

SBUF, HBM = MemoryRegion.sbuf, MemoryRegion.shared_hbm


def tensor(
    shape: tuple[int, ...], region: MemoryRegion = SBUF, dtype: str = "int32"
) -> NkiTensor:
    made = Allocation(0, region, shape, find_dtype(dtype), "t")
    return as_tensor(whole(made))


def bytes_of(made: NkiTensor) -> np.ndarray:
    """Bytes for a tensor, in which each int32 has another value."""
    nbytes = made.allocation.nbytes
    return np.arange(-(-nbytes // 4), dtype=np.int32).view(np.uint8)[:nbytes]


def shown(view: NkiTensor) -> np.ndarray:
    """What a view without an index at run time shows of its tensor's bytes."""
    return Storage(bytes_of(view), 1, True).elements(view)


def array_of(made: NkiTensor) -> np.ndarray:
    """The same bytes, as NumPy has them."""
    element = made.allocation.dtype.element
    return bytes_of(made).view(element).reshape(made.allocation.shape)


@pytest.fixture
def run() -> Iterator[Run]:
    chip = find_chip("trn2")
    assert chip is not None
    made = Run(chip, Findings(), Memory())
    with running(made):
        yield made


# -- what a tensor is ------------------------------------------------------------------
def test_a_tensor_says_what_it_is() -> None:
    t = tensor((128, 64), dtype="float32")
    assert (t.shape, t.strides, t.offset) == ((128, 64), (64, 1), 0)
    assert (t.ndim, t.size, t.name, t.buffer) == (2, 128 * 64, "t", nl.sbuf)
    assert t.is_contiguous() and not t.is_indirect()
    assert t.get_pattern() == [[64, 128], [1, 64]]
    assert repr(t) == "<tensor 't' [128, 64] float32 in sbuf>"


def test_a_shape_equals_a_list_and_a_tuple() -> None:
    shape = tensor((128, 64)).shape
    assert shape == [128, 64] and shape == (128, 64) and [128, 64] == shape
    assert shape != [128, 63] and shape != (128,) and not shape != [128, 64]
    assert hash(shape) == hash((128, 64)) and isinstance(shape, tuple)


def test_a_dtype_is_the_token_of_the_language() -> None:
    dtype = tensor((2, 2), dtype="bfloat16").dtype
    assert dtype == nl.bfloat16 and dtype == "bfloat16" and dtype != nl.float32
    assert f"{dtype}" == "bfloat16" and {nl.bfloat16: 1}[dtype] == 1
    assert find_dtype(dtype).itemsize == 2


def test_tensors_are_keys_by_identity() -> None:
    t = tensor((4, 4))
    other = t[...]
    assert {t: 1, other: 2}[t] == 1 and t == t and t != other


@pytest.mark.parametrize(
    "use, instead",
    [
        (lambda t: t + t, "nl.add"),
        (lambda t: 1.0 - t, "nl.subtract"),
        (lambda t: np.float32(2) * t, "nl.multiply"),
        (lambda t: -t, "nl.negative"),
        (lambda t: t < 1, "nl.less"),
        (lambda t: t @ t, "nisa.nc_matmul"),
        (lambda t: bool(t), "truth value"),
        (lambda t: len(t), "t.shape"),
        (lambda t: list(t), "range(t.shape[0])"),
        (lambda t: float(t), "nisa.register_load"),
    ],
)
def test_what_a_tensor_is_not_says_what_to_call(
    use: Callable[[NkiTensor], Any], instead: str
) -> None:
    with pytest.raises(NkiValidationError) as raised:
        use(tensor((4, 4)))
    assert instead in str(raised.value) and __file__ in str(raised.value)


def test_a_tensor_is_not_changed_in_place_by_operators() -> None:
    t = tensor((4, 4))
    with pytest.raises(NkiValidationError, match="__iadd__"):
        t += 1


def test_a_subclass_can_have_operators() -> None:
    class Tile(NkiTensor):
        __slots__ = ()

        def __add__(self, other: Any) -> str:
            return "sum"

    t = Tile(tensor((4, 4)).allocation, find_dtype("int32"), 0, (4, 4), (4, 1))
    assert t[:, 0:2] + 1 == "sum"


# -- indices ---------------------------------------------------------------------------
CHIP_INDICES = [
    ((slice(None), slice(0, 16)), (64, 16, 32)),
    ((Ellipsis, slice(None, None, 2)), (64, 32, 16)),
    ((slice(None), slice(None), 0), (64, 32)),
    ((0, slice(None), slice(None)), (1, 32, 32)),
    (0, (1, 32, 32)),
    ((0, 0, 10), (1, 1)),
    ((slice(None), 0), (64, 32)),
    ((slice(None), 0, 10), (64, 1)),
    ((0, Ellipsis, slice(None)), (1, 32, 32)),
    (Ellipsis, (64, 32, 32)),
    ((-1, -1), (1, 32)),
    ((slice(-8, None), slice(None), slice(None, -1)), (8, 32, 31)),
    ((range(64), range(2, 30, 3)), (64, 10, 32)),
    ((ds(8, 4), ds(np.int64(3), 5)), (4, 5, 32)),
    ((np.int32(3), slice(np.int64(1), np.int64(5))), (1, 4, 32)),
]


@pytest.mark.parametrize("index, shape", CHIP_INDICES, ids=str)
def test_an_index_on_the_chip(index: Any, shape: tuple[int, ...]) -> None:
    t = tensor((64, 32, 32))
    view = t[index]
    assert view.shape == shape
    parts = index if isinstance(index, tuple) else (index,)
    taken = tuple(
        slice(p.start, p.start + p.size)
        if isinstance(p, type(ds(0, 1)))
        else slice(p.start, p.stop, p.step)
        if isinstance(p, range)
        else p
        for p in parts
    )
    np.testing.assert_array_equal(
        shown(view).ravel(), np.asarray(array_of(t)[taken]).ravel()
    )


@pytest.mark.parametrize(
    "index, shape",
    [(0, (8, 4)), ((1, 2), (4,)), ((1, 2, 3), (1,)), ((slice(1, 3), -1), (2, 4))],
)
def test_an_index_in_hbm(index: Any, shape: tuple[int, ...]) -> None:
    t = tensor((4, 8, 4), HBM)
    assert t[index].shape == shape
    np.testing.assert_array_equal(
        shown(t[index]), np.atleast_1d(array_of(t)[index]).reshape(shape)
    )


def test_rows_of_hbm_have_a_step() -> None:
    t = tensor((8, 4), HBM)
    np.testing.assert_array_equal(shown(t[1::3]), array_of(t)[1::3])


@pytest.mark.parametrize(
    "index, problem",
    [
        ((slice(None), slice(0, 33)), "index 33 of dimension 1, which has 32 elements"),
        ((slice(None), 32), "index 32 of dimension 1, which has 32 elements"),
        ((slice(None), -33), "index -33 of dimension 1"),
        (64, "index 64 of dimension 0, which has 64 elements"),
        ((slice(None), slice(-40, None)), "index -40 of dimension 1"),
        ((slice(None), ds(30, 4)), "index 34 of dimension 1"),
        ((slice(None), ds(-1, 4)), "index -1 of dimension 1"),
        ((slice(None), range(30, 34)), "index 34 of dimension 1"),
        ((slice(None), range(-2, 2)), "index -2 of dimension 1"),
        ((slice(None), slice(4, 4)), "no elements are selected"),
        ((slice(None), range(0)), "no elements are selected"),
        ((slice(None), slice(None, None, -1)), "the step is -1"),
        (slice(None, None, 2), "partitions, which have no step"),
        ((slice(None), None), "expand_dim"),
        ((slice(None), True), "an index is True"),
        ((slice(None), 1.0), "an index is 1.0"),
        ((slice(None), [1, 2]), "an index is [1, 2]"),
        ((slice(None), object()), "a register or a tile"),
        ((0, 0, 0, 0), "4 indices, and there are 3 dimensions"),
        ((Ellipsis, Ellipsis), "more than one ellipsis"),
        ((slice(None), ds(0, 0)), "the size is 0"),
    ],
)
def test_a_wrong_index_is_refused(index: Any, problem: str) -> None:
    with pytest.raises(NkiValidationError) as raised:
        tensor((64, 32, 32))[index]
    text = str(raised.value)
    assert problem in text and "t [64, 32, 32] int32 in sbuf" in text
    assert __file__ in text


def test_an_index_beyond_the_end_is_a_finding_with_its_numbers(run: Run) -> None:
    t = nl.ndarray((4, 8), nl.float32)
    with pytest.raises(NkiValidationError, match="out-of-bounds"):
        t[:, 2:9]
    (finding,) = run.findings.found
    assert (finding.kind, finding.file) == ("out-of-bounds", __file__)
    assert finding.details == {"value": 9, "extent": 8, "dimension": 1}


def test_no_view_leaves_the_bytes_where_the_finding_is_off() -> None:
    chip = find_chip("trn2")
    assert chip is not None
    with running(Run(chip, Findings({"out-of-bounds": "off"}), Memory())):
        t = nl.ndarray((4, 8), nl.float32)
        with pytest.raises(NkiValidationError):
            t[:, 2:9]
        with pytest.raises(NkiValidationError):
            t.ap([[8, 5], [1, 8]])


# -- methods ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "look, expected",
    [
        (lambda t: t.slice(1, 1, 4), lambda a: a[:, 1:4]),
        (lambda t: t.slice(dim=-1, start=0, end=6, step=2), lambda a: a[:, :, ::2]),
        (lambda t: t.select(1, 3), lambda a: a[:, 3]),
        (lambda t: t.select(dim=0, index=3), lambda a: a[3:4]),
        (lambda t: t.permute((0, 2, 1)), lambda a: a.transpose(0, 2, 1)),
        (lambda t: t.expand_dim(1), lambda a: a[:, None]),
        (lambda t: t.expand_dim(3), lambda a: a[..., None]),
        (lambda t: t.expand_dim(-1).squeeze_dim(-1), lambda a: a),
        (
            lambda t: t.expand_dim(2).broadcast(2, 5),
            lambda a: np.broadcast_to(a[:, :, None], (8, 4, 5, 6)),
        ),
        (
            lambda t: t[:, 0:1].broadcast_to((8, 4, 6)),
            lambda a: np.broadcast_to(a[:, 0:1], (8, 4, 6)),
        ),
        (lambda t: t.reshape((8, 24)), lambda a: a.reshape(8, 24)),
        (lambda t: t.reshape((8, 2, 12)), lambda a: a.reshape(8, 2, 12)),
        (lambda t: t.reshape_dim(1, (2, 2)), lambda a: a.reshape(8, 2, 2, 6)),
        (lambda t: t.flatten_dims(1, 2), lambda a: a.reshape(8, 24)),
        (
            lambda t: t.rearrange(
                ("p", ("h", "w"), "c"), ("p", "w", "c", "h"), {"h": 2}
            ),
            lambda a: a.reshape(8, 2, 2, 6).transpose(0, 2, 3, 1),
        ),
        (
            lambda t: t.rearrange(("p", "h", "c"), ("p", ("h", "c")), {"h": 4}),
            lambda a: a.reshape(8, 24),
        ),
        (lambda t: t.view("float32"), lambda a: a.view(np.float32)),
        (lambda t: t.view(nl.uint8), lambda a: a.view(np.uint8)),
        (
            lambda t: t[:, :, 2:4].reinterpret_cast(nl.int16),
            lambda a: np.ascontiguousarray(a[:, :, 2:4]).view(np.int16),
        ),
        (
            lambda t: t[0:4].permute((0, 2, 1))[:, 0, :],
            lambda a: a[0:4].transpose(0, 2, 1)[:, 0, :],
        ),
    ],
)
def test_a_view_shows(
    look: Callable[[NkiTensor], NkiTensor], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    t = tensor((8, 4, 6))
    view = look(t)
    assert view.allocation is t.allocation
    np.testing.assert_array_equal(shown(view), expected(array_of(t)))


def test_a_rearranged_split_as_documented() -> None:
    t = tensor((128, 24))
    view = t.rearrange(("b", ("h", "w")), ("b", "w", "h"), {"h": 4})
    assert view.shape == (128, 6, 4)
    expected = array_of(t).reshape(128, 4, 6).transpose(0, 2, 1)
    np.testing.assert_array_equal(shown(view), expected)


def test_two_middle_dimensions_merge_whatever_the_innermost_stride() -> None:
    t = tensor((8, 2, 4, 16))[:, :, :, ::2]
    assert t.reshape((8, 8, 8)).strides == (128, 16, 2)
    with pytest.raises(NkiValidationError, match="without a copy"):
        t[:, :, :, 0:3].reshape((8, 2, 12))


@pytest.mark.parametrize(
    "look, problem",
    [
        (lambda t: t.permute((1, 0, 2)), "dim 0 is that of partitions"),
        (lambda t: t.permute((0, 1, 1)), "each dimension must be named once"),
        (lambda t: t.permute((0, 1)), "each dimension must be named once"),
        (lambda t: t.expand_dim(0), "dim 0 is that of partitions"),
        (lambda t: t[0:1].squeeze_dim(0), "dim 0 is that of partitions"),
        (lambda t: t[0:1].broadcast(0, 8), "dim 0 is that of partitions"),
        (lambda t: t.broadcast(1, 8), "has 4 elements, and not one"),
        (lambda t: t.squeeze_dim(1), "has 4 elements, and not one"),
        (lambda t: t[:, 0, 0].squeeze_dim(1), "has at least 2 dimensions"),
        (lambda t: t.broadcast_to((2, 8, 4, 6)), "the rank is 3"),
        (lambda t: t.reshape((4, 48)), "dim 0 is that of partitions"),
        (lambda t: t.reshape((8, 25)), "200 elements, and there are 192"),
        (lambda t: t.reshape((8, -1)), "not positive"),
        (lambda t: t.reshape_dim(0, (2, 4)), "dim 0 is that of partitions"),
        (lambda t: t.reshape_dim(1, (2, 3)), "has 4 elements, not 6"),
        (lambda t: t.flatten_dims(0, 1), "dim 0 is that of partitions"),
        (lambda t: t.permute((0, 2, 1)).flatten_dims(1, 2), "leave gaps"),
        (lambda t: t.permute((0, 2, 1)).reshape((8, 24)), "without a copy"),
        (lambda t: t.flatten_dims(2, 1), "behind the last"),
        (lambda t: t.select(3, 0), "dim 3 of 3 dimensions"),
        (lambda t: t.slice(1, 0, 5), "index 5 of dimension 1"),
        (lambda t: t[:, :, ::2].view(nl.int8), "the last dimension has the stride 2"),
        (lambda t: t[:, :, 0:1].view("float64"), "no element type"),
        (lambda t: t.view(nl.int8)[:, :, 1:5].view(nl.int32), "the offset, 1"),
        (lambda t: t.view(nl.int8)[:, :, 0:3].view(nl.int16), "3, is no whole"),
        (
            lambda t: t.rearrange(("p", "h", "c"), ("p", ("c", "h"))),
            "leave gaps",
        ),
        (lambda t: t.rearrange("abc", "abc", {"c": 5}), "c has 6 elements"),
        (lambda t: t.rearrange("ab", "ab"), "src names 2 of 3 dimensions"),
        (lambda t: t.rearrange("abc", "abd"), "the same names"),
        (
            lambda t: t.rearrange(("a", ("b", "c"), "d"), ("a", "b", "c", "d")),
            "the sizes of b and c are not given",
        ),
        (
            lambda t: t.rearrange(
                ("a", ("b", "c"), "d"), ("a", "b", "c", "d"), {"b": 3}
            ),
            "not divided by 3",
        ),
        (lambda t: t.vector_select(0, t), "of a tensor in HBM"),
    ],
)
def test_a_view_that_cannot_be_is_refused(
    look: Callable[[NkiTensor], Any], problem: str
) -> None:
    with pytest.raises(NkiValidationError) as raised:
        look(tensor((8, 4, 6)))
    assert problem in str(raised.value)
    assert __file__ in str(raised.value) or "element type" in problem


def test_hbm_has_no_partitions() -> None:
    t = tensor((8, 4, 6), HBM)
    a = array_of(t)
    np.testing.assert_array_equal(shown(t.permute((2, 0, 1))), a.transpose(2, 0, 1))
    np.testing.assert_array_equal(shown(t.reshape((192,))), a.reshape(192))
    np.testing.assert_array_equal(shown(t.flatten_dims(0, 1)), a.reshape(32, 6))
    np.testing.assert_array_equal(shown(t[0:1].squeeze_dim(0)), a[0])
    with pytest.raises(NkiValidationError, match="at least 1 dimensions"):
        t[0, 0, 0].squeeze_dim(0)


# -- access patterns -------------------------------------------------------------------
def test_a_pattern_as_documented() -> None:
    t = tensor((16, 16))
    np.testing.assert_array_equal(
        shown(t.ap(pattern=[[16, 16], [1, 8]], offset=8)), array_of(t)[:, 8:]
    )
    assert t.ap(t.get_pattern()).get_pattern() == t.get_pattern()


def test_a_pattern_of_another_element_type() -> None:
    t = tensor((128, 256))
    view = t.ap([[512, 128], [1, 512]], offset=0, dtype=nl.bfloat16)
    assert (view.shape, view.dtype) == ([128, 512], nl.bfloat16)
    np.testing.assert_array_equal(
        shown(view).view(np.uint16), array_of(t).view(np.uint16)
    )


def test_a_pattern_begins_where_its_view_does() -> None:
    t = tensor((16, 16))
    view = t[2:4, 4:].ap([[16, 2], [2, 3]], offset=1)
    np.testing.assert_array_equal(shown(view), array_of(t)[2:4, 5:10:2])


@pytest.mark.parametrize(
    "pattern, others, problem",
    [
        ([[64, 8], [1, 32]], {}, "the first stride is 64, and must be 32"),
        ([[32, 16], [1, 33]], {}, "element 32 of a partition, which has 32"),
        ([[32, 16], [1, 32]], {"offset": 1}, "element 32 of a partition"),
        ([[32, 17], [1, 32]], {}, "element 543, and there are 512"),
        ([[32, 16], [1, 32]], {"offset": -32}, "element -32, and there are 512"),
        ([[32, 16], [-1, 4]], {"offset": 8}, "must not be negative"),
        ([[32, 16], [1, 0]], {}, "a count must be positive"),
        ([[32, 16]], {}, "at least two dimensions"),
        ([[32, 16, 1], [1, 2]], {}, "[stride, count]"),
        ([], {}, "[stride, count]"),
        ([[32, 16], [1, 32]], {"vector_offset": 3}, "an index is 3"),
        ([[32, 2], [1, 2]], {"scalar_offset": 1, "vector_offset": 2}, "not both"),
    ],
)
def test_a_wrong_pattern_is_refused(
    pattern: Any, others: dict[str, Any], problem: str
) -> None:
    with pytest.raises(NkiValidationError) as raised:
        tensor((16, 32)).ap(pattern, **others)
    assert problem in str(raised.value) and __file__ in str(raised.value)


# -- indices at run time ---------------------------------------------------------------
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


# -- assignment ------------------------------------------------------------------------
def test_a_tensor_is_assigned_to_a_part_of_another() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((10, 6), x.dtype, buffer=nl.sbuf)
        tile[...] = x[:, 6:]
        result[:, 0:6] = tile
        tile[:] = x[:, 0:6]
        result[:, 6:] = tile
        return result

    got = nki.simulate(kernel)(TABLE)
    np.testing.assert_array_equal(got, np.roll(TABLE, 6, 1))


def test_another_shape_is_not_assigned(run: Run) -> None:
    x = nl.ndarray((4, 6), nl.float32, buffer=nl.shared_hbm)
    t = nl.ndarray((4, 2, 3), nl.float32)
    with pytest.raises(NkiValidationError, match=r"\[4, 6\] is assigned to one of"):
        t[...] = x


@pytest.mark.skipif(
    not {"tensor_copy", "memset"} <= INSTRUCTIONS.keys(), reason="no such instructions"
)
def test_tiles_and_numbers_are_assigned_on_the_chip(run: Run) -> None:
    t = nl.ndarray((4, 6), nl.float32)
    t[:, 0:3] = 2.0
    t[:, 3:6] = t[:, 0:3]
    names = [step.record.name for step in run.program.instructions()]
    assert names == ["memset", "tensor_copy"]
    assert run.machine is not None
    assert (run.machine.memory.values(t) == 2).all()


# -- random chains ---------------------------------------------------------------------
Pair = tuple[NkiTensor, np.ndarray]


def _sliced(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    parts: list[Any] = []
    for axis, count in enumerate(array.shape):
        start = draw(st.integers(0, count - 1))
        stop = draw(st.integers(start + 1, count))
        on_chip = view.buffer is SBUF and axis == 0
        step = 1 if on_chip else draw(st.integers(1, 3))
        parts.append(slice(start, stop, step))
    return view[tuple(parts)], array[tuple(parts)]


def _selected(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    axis = draw(st.integers(0, array.ndim - 1))
    count = array.shape[axis]
    number = draw(st.integers(-count, count - 1))
    on_chip = view.buffer is SBUF
    stays = (on_chip and axis == 0) or array.ndim <= (2 if on_chip else 1)
    kept = slice(number % count, number % count + 1)
    index = (slice(None),) * axis + (kept if stays else number,)
    return view.select(axis, number), array[index]


def _permuted(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    fixed = int(view.buffer is SBUF)
    dims = [*range(fixed), *draw(st.permutations(range(fixed, array.ndim)))]
    return view.permute(dims), array.transpose(dims)


def _expanded(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    axis = draw(st.integers(int(view.buffer is SBUF), array.ndim))
    size = draw(st.integers(1, 3))
    wide = np.expand_dims(array, axis)
    shape = (*array.shape[:axis], size, *array.shape[axis:])
    return view.expand_dim(axis).broadcast(axis, size), np.broadcast_to(wide, shape)


def _reshaped(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    """Any shape of as many elements: refused where NumPy needs a copy."""
    fixed = int(view.buffer is SBUF)
    shape = list(array.shape[:fixed])
    left = math.prod(array.shape[fixed:])
    while left > 1 and len(shape) < 5:
        divisors = [d for d in range(2, left + 1) if left % d == 0]
        shape.append(draw(st.sampled_from(divisors)))
        left //= shape[-1]
    shape.append(left)
    try:
        parts = array.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(NkiValidationError, match="without a copy"):
            view.reshape(shape)
        return view, array
    return view.reshape(shape), parts


def _flattened(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    first = draw(st.integers(int(view.buffer is SBUF), array.ndim - 1))
    last = draw(st.integers(first, array.ndim - 1))
    shape = (*array.shape[:first], -1, *array.shape[last + 1 :])
    try:
        merged = array.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(NkiValidationError, match="leave gaps"):
            view.flatten_dims(first, last)
        return view, array
    return view.flatten_dims(first, last), merged


def _reinterpreted(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    dtype = draw(st.sampled_from(["int8", "int16", "uint32"]))
    if view.strides[-1] != 1 or array.strides[-1] != array.itemsize:
        return view, array
    try:
        got = view.view(dtype)
    except NkiValidationError:
        assert np.dtype(dtype).itemsize > array.itemsize
        return view, array
    return got, array.view(dtype)


def _indexed(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    """By one index: numbers, ranges, slices from the end, and an ellipsis."""
    parts: list[Any] = []
    kept: list[Any] = []
    on_chip = view.buffer is SBUF
    for axis, count in enumerate(array.shape):
        first = draw(st.integers(0, count - 1))
        size = draw(st.integers(1, count - first))
        last = first + size
        ways: list[tuple[Any, Any]] = [
            (slice(first - count, last if last == count else last - count), None),
            (ds(first, size), slice(first, last)),
            (range(first, last), slice(first, last)),
        ]
        if axis or not on_chip:
            ways.append((first - count, first))
        else:
            ways.append((first, slice(first, first + 1)))
        given, same = draw(st.sampled_from(ways))
        parts.append(given)
        kept.append(given if same is None else same)
    least = 2 if on_chip else 1
    while sum(isinstance(part, slice) for part in kept) < least:
        # What would be too few dimensions keeps the last ones, of one element.
        axis = max(i for i, part in enumerate(kept) if not isinstance(part, slice))
        kept[axis] = slice(kept[axis], kept[axis] + 1)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(parts)))
        parts.insert(place, Ellipsis)
    return view[tuple(parts)], array[tuple(kept)]


def _divisors(count: int) -> list[int]:
    return [d for d in range(1, count + 1) if count % d == 0]


def _split(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    axis = draw(st.integers(int(view.buffer is SBUF), array.ndim - 1))
    count = array.shape[axis]
    outer = draw(st.sampled_from(_divisors(count)))
    sizes = (outer, count // outer)
    shape = (*array.shape[:axis], *sizes, *array.shape[axis + 1 :])
    return view.reshape_dim(axis, sizes), array.reshape(shape, copy=False)


def _rearranged(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    """One dimension is split, and the parts, with the others, are put in an order."""
    fixed = int(view.buffer is SBUF)
    axis = draw(st.integers(fixed, array.ndim - 1))
    names: list[Any] = [f"d{i}" for i in range(array.ndim)]
    outer = draw(st.sampled_from(_divisors(array.shape[axis])))
    source = [*names[:axis], ("o", "i"), *names[axis + 1 :]]
    flat = [*names[:axis], "o", "i", *names[axis + 1 :]]
    order = [*flat[:fixed], *draw(st.permutations(flat[fixed:]))]
    sizes = (outer, array.shape[axis] // outer)
    shape = (*array.shape[:axis], *sizes, *array.shape[axis + 1 :])
    turned = array.reshape(shape, copy=False).transpose([flat.index(n) for n in order])
    return view.rearrange(source, order, {"o": outer}), turned


def _squeezed(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    on_chip = view.buffer is SBUF
    axes = [a for a in range(int(on_chip), array.ndim) if array.shape[a] == 1]
    if not axes or array.ndim <= (2 if on_chip else 1):
        return view, array
    axis = draw(st.sampled_from(axes))
    return view.squeeze_dim(axis), array.squeeze(axis)


def _widened(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    fixed = int(view.buffer is SBUF)
    shape = [
        draw(st.integers(1, 3)) if count == 1 and axis >= fixed else count
        for axis, count in enumerate(array.shape)
    ]
    return view.broadcast_to(shape), np.broadcast_to(array, shape)


_STEPS = [
    _sliced,
    _indexed,
    _split,
    _rearranged,
    _squeezed,
    _widened,
    _selected,
    _permuted,
    _expanded,
    _reshaped,
    _flattened,
    _reinterpreted,
]


@given(st.data())
def test_chains_of_views_show_what_numpy_shows(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    view = tensor(shape, data.draw(st.sampled_from([SBUF, HBM])))
    array = array_of(view)
    for step in data.draw(st.lists(st.sampled_from(_STEPS), max_size=6)):
        view, array = step(data.draw, view, array)
        assert view.shape == array.shape
        assert view.size <= 100_000
        np.testing.assert_array_equal(shown(view), array)
    low, high = view.extent
    assert 0 <= low < high <= view.allocation.nbytes // view.dtype.itemsize
    assert view.is_contiguous() is bool(array.flags.c_contiguous)
    pattern = view.get_pattern()
    assert pattern == [list(pair) for pair in zip(view.strides, view.shape)]
    # The same pattern, from the tensor's beginning on, shows the same elements.
    again = as_tensor(whole(view.allocation)).ap(pattern, view.offset, dtype=view.dtype)
    np.testing.assert_array_equal(shown(again), array)


@given(st.data())
def test_patterns_show_what_strides_show_and_stay_inside(data: st.DataObject) -> None:
    region = data.draw(st.sampled_from([SBUF, HBM]))
    shape = tuple(data.draw(st.lists(st.integers(1, 8), min_size=2, max_size=3)))
    dtype = data.draw(st.sampled_from(["int32", "int16", "int8"]))
    t = tensor(shape, region)
    flat = bytes_of(t).view(dtype)
    per_partition = math.prod(shape[1:]) * 4 // flat.itemsize
    pairs = data.draw(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=3
        )
    )
    first = data.draw(st.integers(1, 9))
    pattern = [(per_partition, first), *pairs]
    offset = data.draw(st.integers(0, flat.size))
    span = sum(stride * (count - 1) for stride, count in pairs)
    fits = offset + per_partition * (first - 1) + span < flat.size
    if region is SBUF:
        fits = fits and offset % per_partition + span < per_partition
    if not fits:
        with pytest.raises(NkiValidationError, match="element .*"):
            t.ap(pattern, offset, dtype=dtype)
        return
    view = t.ap(pattern, offset, dtype=dtype)
    expected = np.lib.stride_tricks.as_strided(
        flat[offset:],
        [count for _, count in pattern],
        [stride * flat.itemsize for stride, _ in pattern],
    )
    np.testing.assert_array_equal(shown(view), expected)


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
