"""Views of tensors: what each shows, what it refuses, and assignment to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
from nki_simulator.tests.made_tensors import (
    HBM,
    array_of,
    shown,
    tensor,
)
from nkipy.chips import find_chip
from nkipy_nki import NkiValidationError
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.findings import Findings
from nkipy_nki.language import ds
from nkipy_nki.memory import Memory
from nkipy_nki.running import Run, running
from nkipy_nki.tensors import NkiTensor


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

    x = np.arange(10 * 12, dtype=np.float32).reshape(10, 12)
    np.testing.assert_array_equal(nki.simulate(kernel)(x), np.roll(x, 6, 1))


def test_another_shape_is_not_assigned(run: Run) -> None:
    x = nl.ndarray((4, 6), nl.float32, buffer=nl.shared_hbm)
    t = nl.ndarray((4, 2, 3), nl.float32)
    with pytest.raises(NkiValidationError, match=r"\[4, 6\] is assigned to one of"):
        t[...] = x


def test_tiles_and_numbers_are_assigned_on_the_chip(run: Run) -> None:
    t = nl.ndarray((4, 6), nl.float32)
    t[:, 0:3] = 2.0
    t[:, 3:6] = t[:, 0:3]
    names = [step.record.name for step in run.program.instructions()]
    assert names == ["memset", "tensor_copy"]
    assert run.machine is not None
    assert (run.machine.memory.values(t) == 2).all()
