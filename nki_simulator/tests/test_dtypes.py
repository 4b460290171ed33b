"""Element types: what is stored, against ml_dtypes and against sums by hand."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from nkipy_nki import rounding
from nkipy_nki.dtypes import (
    DTYPES,
    convert,
    find_dtype,
    narrow,
    pack,
    unpack,
    widen,
)
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.kernel import simulate

BYTES = ("float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu")
FLOATS = (*BYTES, "float16", "bfloat16")


def every_half() -> np.ndarray:
    """Each upper half of a float32 with the lower halves where rounding turns."""
    halves = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    lower = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    return np.concatenate([halves | np.uint32(n) for n in lower]).view(np.float32)


def random_bits(count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)


@pytest.mark.parametrize("name", FLOATS)
def test_floats_round_as_ml_dtypes_does_to_the_bit(name: str) -> None:
    record = find_dtype(name)
    values = np.concatenate([every_half(), random_bits(200_000)])
    made = narrow(values, record)
    with np.errstate(all="ignore"):
        expected = values.astype(record.element)
    assert made.dtype == record.element
    bits = np.dtype(f"u{record.itemsize}")
    numbers = ~np.isnan(expected.astype(np.float32))
    assert (made.view(bits) == expected.view(bits))[numbers].all()
    assert np.isnan(made.astype(np.float32))[~numbers].all()


@pytest.mark.parametrize("name", FLOATS)
def test_every_element_keeps_its_value(name: str) -> None:
    record = find_dtype(name)
    bits = np.arange(1 << 8 * record.itemsize, dtype=f"u{record.itemsize}")
    elements = bits.view(record.element)
    values = widen(elements, record)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, elements.astype(np.float32))
    numbers = ~np.isnan(values)
    assert (narrow(values, record).view(bits.dtype) == bits)[numbers].all()


def nearest(value: float, candidates: list[float]) -> float:
    """The nearest of ascending numbers; of two, the one at an even place."""
    places = range(len(candidates))
    return candidates[min(places, key=lambda i: (abs(candidates[i] - value), i % 2))]


def test_fp8_rounds_to_the_nearest_by_a_loop() -> None:
    """float8_e4m3 from its definition: 1 sign, 4 exponent and 3 mantissa bits."""
    numbers = [m / 8 * 2.0**-6 for m in range(8)]
    numbers += [(1 + m / 8) * 2.0 ** (e - 7) for e in range(1, 15) for m in range(8)]
    assert numbers[-1] == find_dtype("float8_e4m3").highest == 240
    values = np.random.default_rng(1).uniform(0, 240, 400).astype(np.float32)
    values[::3] *= np.float32(2**-12)
    made = widen(narrow(values, DTYPES["float8_e4m3"]), DTYPES["float8_e4m3"])
    assert made.tolist() == [nearest(float(v), numbers) for v in values]


@pytest.mark.parametrize(
    ("name", "highest", "beyond"),
    [
        ("float8_e4m3", 240, math.inf),
        ("float8_e4m3fn", 448, math.nan),
        ("float8_e5m2", 57344, math.inf),
        ("float16", 65504, math.inf),
    ],
)
def test_what_is_too_great(name: str, highest: float, beyond: float) -> None:
    record = find_dtype(name)
    assert (record.lowest, record.highest) == (-highest, highest)
    given = np.array([highest, -highest, 1e9, -1e9], np.float32)
    expected = [highest, -highest, beyond, -beyond]
    np.testing.assert_array_equal(widen(narrow(given, record), record), expected)


def test_tfloat32_has_ten_bits_of_mantissa() -> None:
    record = find_dtype("tfloat32")
    assert (record.itemsize, record.element) == (4, np.float32)
    step = 2.0**-10
    given = [1 + step / 2, 1 + 3 * step / 2, 1 + step / 2 + 2**-23, -1 - 3 * step / 2]
    given += [1 + step / 4, math.inf, -math.inf, 2.0**-149, 0.0, 3.4028235e38]
    expected = [1.0, 1 + 2 * step, 1 + step, -1 - 2 * step]
    expected += [1.0, math.inf, -math.inf, 0.0, 0.0, math.inf]
    made = narrow(np.array(given, np.float32), record)
    assert made.tolist() == expected
    all_ones = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32)
    assert np.isnan(narrow(all_ones.view(np.float32), record)).all()
    highest = np.array([record.highest], np.float32)
    assert narrow(highest, record) == highest


@pytest.mark.parametrize("name", [n for n, r in DTYPES.items() if r.is_integer])
def test_floats_become_whole_numbers_half_to_even_and_saturate(name: str) -> None:
    record = find_dtype(name, is_scalar=True)
    given = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.5, 255.5, 32767.5, 65535.5]
    given += [2147483520, 2147483648, -2147483648, 4294967040, 4294967296, -1e10, 1e30]
    given += [1e-40, math.inf, -math.inf, -(2.0**63), 2.0**63]
    expected = []
    for value in np.array(given, np.float32).tolist():
        if math.isinf(value):
            expected.append(int(record.highest if value > 0 else record.lowest))
        else:  # Python's round() is half to even
            expected.append(
                min(max(round(value), int(record.lowest)), int(record.highest))
            )
    assert narrow(np.array(given, np.float32), record).tolist() == expected
    assert narrow(np.array([np.nan], np.float32), record).tolist() == [0]


def test_whole_numbers_become_others_exactly_or_the_limit() -> None:
    great = np.array([2**31 - 1, -(2**31), 2**24 + 1, -1, 300])
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32"):
        record = find_dtype(name)
        expected = [
            min(max(v, int(record.lowest)), int(record.highest)) for v in great.tolist()
        ]
        assert narrow(great.astype(np.int32), record).tolist() == expected
        assert narrow(great, record).tolist() == expected
    assert narrow(np.array([2**32 - 1], np.uint32), DTYPES["int32"]) == 2**31 - 1


def test_conversions_pass_through_float32_unless_exact() -> None:
    int32, uint32, bfloat16 = map(find_dtype, ("int32", "uint32", "bfloat16"))
    given = np.array([2**24 + 1, 2**31 - 1], np.int32)
    assert convert(given, int32, uint32).tolist() == [2**24, 2**31]
    assert convert(given, int32, uint32, exact=True).tolist() == given.tolist()
    assert convert(given, int32, int32) is given
    nans = np.array([0x7F81, 0xFFC1], np.uint16).view(ml_dtypes.bfloat16)
    assert convert(nans, bfloat16, bfloat16).view(np.uint16).tolist() == [
        0x7F81,
        0xFFC1,
    ]
    halves = np.array([1.5, 2.5], ml_dtypes.bfloat16)
    assert convert(halves, bfloat16, int32, exact=True).tolist() == [2, 2]


def test_bool_is_stored_as_a_byte() -> None:
    record = find_dtype("bool_")
    assert record is find_dtype("bool") is find_dtype(np.bool_) is find_dtype(bool)
    assert record.element == np.uint8
    made = narrow(np.array([0, -0.0, 0.25, -3, np.nan], np.float32), record)
    assert made.tolist() == [0, 0, 1, 1, 1]
    assert narrow(np.array([False, True]), record).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int8", "uint32", "float32"])
def test_what_numpy_calls_a_type_finds_it(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    record = find_dtype(name)
    assert record is find_dtype(dtype) is find_dtype(dtype.type) is find_dtype(record)
    assert record.name == name
    assert pickle.loads(pickle.dumps(record)) is record


@pytest.mark.parametrize(
    "given", [None, np.float64, "float64", "<f4", ">f4", "x", "", object(), 3, [1, 2]]
)
def test_what_is_no_type_is_refused(given: object) -> None:
    if given == "<f4":
        given = np.dtype(np.float32).newbyteorder()
    with pytest.raises(NkiValidationError, match="no element type.*bfloat16"):
        find_dtype(given)


def test_int64_is_of_one_number() -> None:
    with pytest.raises(NkiValidationError, match="a type of scalars.*take int32"):
        find_dtype(np.int64)
    assert find_dtype("int64", is_scalar=True).itemsize == 8


@pytest.mark.parametrize(
    "given, hint",
    [
        ("int64", r"take int32; .* as in x.astype\(np.int32\)$"),
        ("uint64", r"x.astype\(np.uint32\)$"),
        ("float64", r"x.astype\(np.float32\)$"),
        ("complex64", "give two arrays, x.real and x.imag$"),
        ("S4", "give an array of numbers$"),
    ],
)
def test_an_array_is_converted_to_a_type_of_its_kind(given: str, hint: str) -> None:
    with pytest.raises(NkiValidationError, match=f"(?m)argument x: .*{hint}"):
        simulate(lambda x: x)(np.zeros((4, 4), given))


PACKED = ("float8_e5m2_x4", "float8_e4m3fn_x4", "float4_e2m1fn_x4")


@pytest.mark.parametrize("name", PACKED)
def test_four_numbers_are_packed_the_first_lowest(name: str) -> None:
    record = find_dtype(name)
    assert record.is_packed and record.packs is not None
    numbers = np.array([[1, -2, 0.5, 4, 3, 0, -1.5, 6]], np.float32)
    packed = pack(numbers, record)
    assert (packed.shape, packed.dtype) == ((1, 2), record.element)
    assert unpack(packed, record).tolist() == numbers.tolist()
    assert unpack(packed[:, ::-1], record)[0, 4:].tolist() == numbers[0, :4].tolist()
    width = 8 * record.itemsize // 4
    inner = narrow(numbers, record.packs).view(np.uint8)[0].tolist()
    whole = [
        sum(b << width * i for i, b in enumerate(inner[k : k + 4])) for k in (0, 4)
    ]
    assert packed[0].tolist() == whole


def test_fp4_has_these_numbers() -> None:
    record = find_dtype("float4_e2m1fn_x4")
    numbers = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    codes = np.array([0x3210, 0x7654, 0xBA98, 0xFEDC], np.uint16)
    assert unpack(codes, record).tolist() == numbers + [-n for n in numbers]


@pytest.mark.parametrize("name", PACKED)
def test_no_engine_computes_with_packed_numbers(name: str) -> None:
    record = find_dtype(name)
    with pytest.raises(NkiValidationError, match=name):
        widen(np.zeros(4, record.element), record)
    with pytest.raises(NkiValidationError, match=name):
        narrow(np.zeros(4, np.float32), record)
    with pytest.raises(NkiValidationError, match="multiple"):
        pack(np.zeros(6, np.float32), record)
    with pytest.raises(NkiValidationError, match="no packed type"):
        unpack(np.zeros(4, np.uint32), find_dtype("uint32"))


def test_values_may_be_kept_in_float32() -> None:
    record = find_dtype("bfloat16", precise=False)
    assert (record.name, record.element) == ("bfloat16", np.float32)
    assert (record.itemsize, record.device_itemsize) == (4, 2)
    value = np.array([1 + 2**-20], np.float32)
    assert narrow(value, record) == widen(value, record) == value
    assert find_dtype(np.float16, precise=False).is_kept_in_float32
    assert record is find_dtype(find_dtype("bfloat16"), precise=False)
    assert pickle.loads(pickle.dumps(record)) is record
    for name in ("int8", "float32", "tfloat32", "float8_e8m0fnu", *PACKED):
        assert find_dtype(name, precise=False) is find_dtype(name)


@pytest.mark.parametrize("name", [n for n, r in DTYPES.items() if not r.is_packed])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
def test_shapes_are_kept_and_nothing_is_changed(
    name: str, shape: tuple[int, ...]
) -> None:
    record = find_dtype(name, is_scalar=True)
    values = np.full((*shape, 2), 1.75, np.float32)[..., 0]  # not contiguous
    made = narrow(values, record)
    assert (made.shape, made.dtype) == (shape, record.element)
    assert (values == 1.75).all()
    assert widen(made, record).shape == shape


def test_floats_of_64_bits_are_rounded_to_float32_first() -> None:
    """A double just above the middle of two bfloat16 is at the middle as a float32."""
    given = np.array([1 + 2**-8 + 2**-40, 1e300, 1e-300])
    made = narrow(given, find_dtype("bfloat16")).astype(np.float32)
    assert made.tolist() == [1.0, math.inf, 0.0]


def test_tables_are_made_by_threads_at_once() -> None:
    rounding._rounded_halves.cache_clear()
    values = every_half()
    record = find_dtype("float8_e5m2")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: narrow(values, record).tobytes(), range(8)))
    assert len(set(made)) == 1


@pytest.mark.parametrize("name", ["float8_e4m3", "float8_e4m3fn", "float8_e5m2"])
def test_many_bytes_are_widened_as_each_is(name: str) -> None:
    dtype = find_dtype(name)
    bytes_ = np.random.default_rng(0).integers(0, 256, (64, 130)).astype(np.uint8)
    elements = bytes_.view(dtype.element)
    expected = elements.astype(np.float32)
    for part in (np.s_[:], np.s_[:, :129], np.s_[:, ::2], np.s_[:7]):
        found = widen(elements[part], dtype)
        np.testing.assert_array_equal(found, expected[part])
        assert found.dtype == np.float32
