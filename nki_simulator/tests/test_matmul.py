"""Products in kernels: accumulation element by element, bits, transposes, blocks."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.kernels import loaded, run, stored
from nkipy_nki import NkiValidationError
from nkipy_nki.findings import NkiWarning
from nkipy_nki.products import product

LEFT = np.random.default_rng(1).integers(-4, 5, (8, 6)).astype(np.float32)
RIGHT = np.random.default_rng(2).integers(-4, 5, (8, 10)).astype(np.float32)


def psum(shape: tuple[int, ...], dtype: Any = nl.float32) -> Any:
    return nl.ndarray(shape, dtype, buffer=nl.psum)


# -- accumulation ----------------------------------------------------------------------
COLUMNS = st.tuples(st.integers(0, 9), st.integers(1, 10)).map(
    lambda pair: slice(pair[0], min(pair[0] + pair[1], 10))
)
STEPS = st.lists(st.tuples(COLUMNS, st.sampled_from([None, False, True])), max_size=8)


@given(STEPS, st.booleans())
def test_products_accumulate_element_by_element(steps: Any, is_valued: bool) -> None:
    """Each element by itself: whether it was written, and to what it is added."""
    expected = np.full((6, 10), np.nan)
    if is_valued:
        expected[:, :4] = 2.0
    for columns, flag in steps:
        new = LEFT.T @ RIGHT[:, columns]
        old = expected[:, columns]
        if flag is True:
            expected[:, columns] = np.nan_to_num(old) + new
        elif flag is None:
            expected[:, columns] = np.where(np.isnan(old), new, old + new)
        else:
            expected[:, columns] = new

    def kernel(left: Any, right: Any) -> Any:
        total, left, right = psum((6, 10)), loaded(left), loaded(right)
        if is_valued:
            nisa.memset(total[:, :4], 2.0)
        for columns, flag in steps:
            nisa.nc_matmul(total[:, columns], left, right[:, columns], accumulate=flag)
        return stored(total)

    off = {"psum-never-written": "off", "uninitialized-read": "off"}
    options = {"findings": {**off, "output-not-written": "off"}, "target": "trn3"}
    found = nki.simulate(kernel, **options)(LEFT, RIGHT)
    np.testing.assert_array_equal(found, np.nan_to_num(expected))


def accumulating(left: Any, right: Any, before: Any, flag: Any = True) -> Any:
    """A product that is added to what `before` did to the tile."""
    total, left, right = psum((6, 10)), loaded(left), loaded(right)
    before(total, left, right)
    nisa.nc_matmul(total, left, right, accumulate=flag)
    nisa.nc_matmul(total, left, right, accumulate=flag)
    return stored(total)


def set_by_memset(total: Any, left: Any, right: Any) -> None:
    nisa.memset(total, 0.0)


def set_in_part(total: Any, left: Any, right: Any) -> None:
    nisa.nc_matmul(total, left, right)
    nisa.tensor_copy(total[:, 3:4], right[:6, 3:4])


def set_by_computing(total: Any, left: Any, right: Any) -> None:
    nisa.nc_matmul(total, left, right)
    nisa.tensor_tensor(total, right[:6], right[:6], op=nl.add)


def set_and_overwritten(total: Any, left: Any, right: Any) -> None:
    nisa.memset(total, 7.0)
    nisa.nc_matmul(total, left, right, accumulate=False)


def set_and_overwritten_in_parts(total: Any, left: Any, right: Any) -> None:
    nisa.memset(total, 7.0)
    nisa.nc_matmul(total[:, :5], left, right[:, :5], accumulate=False)
    nisa.nc_matmul(total[:, 5:], left, right[:, 5:], accumulate=False)


@pytest.mark.parametrize("flag", [True, None])
@pytest.mark.parametrize("before", [set_by_memset, set_in_part, set_by_computing])
def test_adding_to_what_no_product_wrote_is_found_once(before: Any, flag: Any) -> None:
    def kernel(left: Any, right: Any) -> Any:
        return accumulating(left, right, before, flag)

    for target in ("trn1", "trn2"):
        with pytest.warns(NkiWarning, match="psum-value-initialized") as warned:
            ran = nki.simulate(kernel, target=target).run(LEFT, RIGHT)
        assert len(warned) == 1
        (finding,) = ran.findings
        assert finding.file == __file__ and finding.instruction == "nc_matmul"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nki.simulate(kernel, target="trn3")(LEFT, RIGHT)


@pytest.mark.parametrize("before", [set_and_overwritten, set_and_overwritten_in_parts])
def test_adding_to_products_has_no_finding(before: Any) -> None:
    def kernel(left: Any, right: Any) -> Any:
        return accumulating(left, right, before)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = run(kernel, LEFT, RIGHT)
    np.testing.assert_array_equal(found, 3 * LEFT.T @ RIGHT)


def test_adding_to_nothing_is_an_error_with_its_position() -> None:
    def kernel(left: Any, right: Any) -> Any:
        total, left, right = psum((6, 10)), loaded(left), loaded(right)
        nisa.nc_matmul(total[:, :4], left, right[:, :4])
        nisa.nc_matmul(total, left, right, accumulate=True)
        return stored(total)

    with pytest.raises(NkiValidationError, match="psum-never-written") as raised:
        nki.simulate(kernel)(LEFT, RIGHT)
    text = str(raised.value)
    assert "36 of 60" in text and "[0, 4] of [6, 10]" in text and __file__ in text


def test_a_register_picks_the_part_of_the_psum() -> None:
    def kernel(left: Any, right: Any) -> Any:
        total, left, right = psum((6, 10)), loaded(left), loaded(right)

        def body(i: Any) -> None:
            part = total.ap([[10, 6], [1, 1]], scalar_offset=i, indirect_dim=1)
            one = right.ap([[10, 8], [1, 1]], scalar_offset=i, indirect_dim=1)
            nisa.nc_matmul(part, left, one)

        nl.fori_loop(0, nisa.register_alloc(10), body)
        nl.fori_loop(0, nisa.register_alloc(5), body)
        return stored(total)

    expected = LEFT.T @ RIGHT
    expected[:, :5] *= 2
    np.testing.assert_array_equal(run(kernel, LEFT, RIGHT), expected)


def test_sums_in_bfloat16_round_at_each_product() -> None:
    def kernel(left: Any, right: Any) -> Any:
        total, left, right = psum((1, 1), nl.bfloat16), loaded(left), loaded(right)
        for i in range(3):
            nisa.nc_matmul(total, left[:, :1], right[:, i : i + 1])
        return stored(total)

    left = np.ones((1, 1), np.float32)
    right = np.array([[256, 1, 1]], np.float32)
    assert run(kernel, left, right, target="trn3") == 256


# -- bits ------------------------------------------------------------------------------
def test_bits_depend_on_values_and_shapes_not_on_how_they_lie() -> None:
    random = np.random.default_rng(3)
    for depth, rows, columns in ((128, 128, 512), (128, 1, 300), (100, 70, 1)):
        left = random.standard_normal((depth, rows)).astype(np.float32)
        right = random.standard_normal((depth, columns)).astype(np.float32)
        expected = product(left, right).tobytes()
        wide = np.zeros((depth, 3, columns), np.float32)
        wide[:, 1] = right
        for other in (np.asfortranarray(right), wide[:, 1], np.flip(right[::-1], 0)):
            assert product(left, other).tobytes() == expected
        assert product(np.asfortranarray(left), right).tobytes() == expected
        both = product(left, left).tobytes()
        assert product(left, left.copy()).tobytes() == both


def test_bits_do_not_depend_on_threads() -> None:
    code = (
        "import hashlib, numpy as np; from nkipy_nki.products import product\n"
        "random = np.random.default_rng(0); found = hashlib.sha256()\n"
        "for k, m, n in ((128, 128, 512), (128, 1, 512), (256, 128, 512), (512, 8, 99),"
        " (64, 128, 1)):\n"
        "    a, b = (random.standard_normal((k, i)).astype('f4') for i in (m, n))\n"
        "    found.update(product(a, b).tobytes())\n"
        "print(found.hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "3")
    }
    assert len(found) == 1


@pytest.mark.parametrize("depth", (64, 128))
def test_a_tile_times_itself_and_times_a_copy_are_the_same(depth: int) -> None:
    def kernel(x: Any, is_copied: bool) -> Any:
        tile = loaded(x)
        other = loaded(x) if is_copied else tile
        total = psum((64, 64))
        nisa.nc_matmul(total, tile, other)
        return stored(total)

    x = np.random.default_rng(4).standard_normal((depth, 64)).astype(np.float32)
    once, again = (nki.simulate(kernel)(x, flag) for flag in (False, True))
    assert once.tobytes() == again.tobytes()


def test_a_tile_that_was_written_again_is_multiplied_as_it_is() -> None:
    """Blocks that are kept of an operand go when any of its elements changes."""

    def kernel(x: Any, y: Any) -> Any:
        tile, total = loaded(x), psum((8, 40))
        for change in (
            lambda: None,
            lambda: nisa.memset(tile[0:1, 3:4], 7.0),
            lambda: nisa.dma_copy(tile[2:5, 0:16], y[2:5, 0:16]),
            lambda: nisa.tensor_tensor(tile, tile, tile, op=nl.add),
            lambda: nisa.tensor_copy_predicated(tile, 2.0, loaded(y).view(nl.uint32)),
            lambda: nisa.nc_transpose(tile[0:8, 0:8], tile[0:8, 8:16]),
        ):
            change()
            nisa.nc_matmul(total, tile[:, 0:8], tile[:, 0:40], accumulate=False)
            copy = nl.ndarray((64, 40), nl.float32)
            nisa.tensor_copy(copy, tile)
            again = psum((8, 40))
            nisa.nc_matmul(again, copy[:, 0:8], copy[:, 0:40])
            totals.append((stored(total), stored(again)))
        return tuple(part for pair in totals for part in pair)

    totals: list[Any] = []
    random = np.random.default_rng(5)
    x, y = (random.standard_normal((64, 40)).astype(np.float32) for _ in range(2))
    y[:, ::2] = 0
    found = nki.simulate(kernel)(x, y)
    assert len({part.tobytes() for part in found[::2]}) == len(found) // 2
    for mine, expected in zip(found[::2], found[1::2]):
        assert mine.tobytes() == expected.tobytes()


# -- transposes ------------------------------------------------------------------------
def test_transposes_of_bfloat16_move_bits() -> None:
    data = np.arange(32 * 16, dtype=np.uint16).reshape(32, 16) * 127
    data[3] = 0x7FC5  # NaN of its own
    data = data.view(ml_dtypes.bfloat16)

    def by_transpose(x: Any, engine: Any) -> Any:
        tile = psum((16, 32), nl.bfloat16)
        nisa.nc_transpose(tile, loaded(x), engine=engine)
        return stored(tile)

    def by_matmul(x: Any, identity: Any) -> Any:
        tile = psum((16, 32), nl.bfloat16)
        nisa.nc_matmul(tile, loaded(x), loaded(identity), is_transpose=True)
        return stored(tile)

    for engine in (nisa.tensor_engine, nisa.vector_engine):
        found = nki.simulate(by_transpose)(data, engine)
        assert found.tobytes() == data.T.tobytes()
    identity = np.eye(32, dtype=ml_dtypes.bfloat16)
    assert run(by_matmul, data, identity).tobytes() == data.T.tobytes()


def test_a_transpose_overwrites_and_is_no_set_value() -> None:
    def kernel(x: Any, left: Any, right: Any) -> Any:
        total = psum((6, 10))
        nisa.nc_transpose(total, loaded(x))
        nisa.nc_transpose(total, loaded(x))
        nisa.nc_matmul(total, loaded(left), loaded(right), accumulate=True)
        return stored(total)

    x = np.arange(60, dtype=np.float32).reshape(10, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = run(kernel, x, LEFT, RIGHT)
    np.testing.assert_array_equal(found, x.T + LEFT.T @ RIGHT)


# -- blocks with scales ----------------------------------------------------------------
def quantized_product(left: Any, right: Any, offset: int = 4) -> Any:
    """A product of two tiles that are rounded first, their scales in one tile."""
    partitions, columns = left.shape[0], (left.shape[1] // 4, right.shape[1] // 4)
    scales = nl.ndarray((partitions, max(columns)), nl.uint8)
    packed = []
    for i, (data, count) in enumerate(zip((left, right), columns)):
        tile = nl.ndarray((partitions, count), nl.float8_e4m3fn_x4)
        scale = scales[i * offset :, :count]
        nisa.quantize_mx(tile, loaded(data), scale)
        packed.append((tile, scale))
    (first, first_scale), (second, second_scale) = packed
    total = psum(columns)
    nisa.nc_matmul_mx(total, first, second, first_scale, second_scale)
    return stored(total)


def test_a_product_of_blocks_is_near_that_of_what_they_were_made_of() -> None:
    random = np.random.default_rng(5)
    left, right = (
        (random.standard_normal((64, 4 * n)) * 2.0 ** random.integers(-9, 9, (64, 1)))
        for n in (6, 10)
    )
    left, right = (x.astype(ml_dtypes.bfloat16) for x in (left, right))
    found = run(quantized_product, left, right, target="trn3")
    wide = [x.astype(float).reshape(64, -1, 4) for x in (left, right)]
    expected = np.einsum("pmi,pni->mn", *wide)
    sizes = np.einsum("pmi,pni->mn", *map(np.abs, wide))
    # Two roundings of 3 bits; small numbers of a block lose more.
    assert (np.abs(found - expected) <= sizes * 2**-3).all()
    assert not (found == expected).all()


def test_scales_begin_at_a_multiple_of_four_of_a_quadrant() -> None:
    def kernel(left: Any, right: Any) -> Any:
        return quantized_product(left, right, offset=2)

    x = np.ones((32, 8), ml_dtypes.bfloat16)
    with pytest.raises(NkiValidationError, match="may begin at 0, 4, 8 or 12"):
        nki.simulate(kernel, target="trn3")(x, x)


def test_what_is_not_finite_makes_its_block_nan() -> None:
    x = np.ones((32, 8), ml_dtypes.bfloat16)
    x[9, 1] = np.inf

    def kernel(x: Any) -> Any:
        tile = nl.ndarray((32, 2), nl.float8_e4m3fn_x4)
        scale = nl.ndarray((4, 2), nl.uint8)
        nisa.quantize_mx(tile, loaded(x), scale)
        return stored(scale)

    one = 127 - 7
    expected = np.full((4, 2), one)
    expected[1, 0] = 255
    found = run(kernel, x, target="trn3")
    np.testing.assert_array_equal(found, expected)


# -- tiles and double rows -------------------------------------------------------------
def test_double_rows_sum_over_both_rows() -> None:
    random = np.random.default_rng(6)
    left, right = (
        random.integers(-4, 5, (128, 2, n)).astype(ml_dtypes.float8_e4m3)
        for n in (128, 512)
    )

    def kernel(left: Any, right: Any) -> Any:
        total = psum((128, 512))
        mode = nisa.matmul_perf_mode.double_row
        nisa.nc_matmul(total, loaded(left), loaded(right), perf_mode=mode)
        return stored(total)

    expected = np.einsum("prm,prn->mn", left.astype("f4"), right.astype("f4"))
    np.testing.assert_array_equal(run(kernel, left, right), expected)


def test_a_product_is_in_one_bank_of_the_psum() -> None:
    def kernel(first: int) -> Any:
        def body(x: Any) -> None:
            tile = nl.ndarray((128, 128), nl.float32)
            nisa.memset(tile, 0.0)
            right = nl.ndarray((128, 512), nl.float32)
            nisa.memset(right, 0.0)
            total = nl.ndarray((128, 1024), nl.float32, buffer=nl.psum)
            nisa.nc_matmul(total[:, first : first + 512], tile, right)

        return body

    x = np.zeros((1, 1), np.float32)
    for first in (0, 512):
        nki.simulate(kernel(first), target="trn2")(x)
    with pytest.raises(nki.NkiValidationError, match="several banks of the PSUM"):
        nki.simulate(kernel(256), target="trn2")(x)
    nki.simulate(kernel(256), target="trn3")(x)
