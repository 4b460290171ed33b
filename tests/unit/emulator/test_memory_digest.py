"""What large arrays hold, by fewer bytes."""

from __future__ import annotations

import random

import ml_dtypes
import numpy as np
import pytest

from nkipy.runtime import simulate_jit
from nkipy.runtime.guards import Guards
from nkipy.runtime.unwritten import Unwritten
from nkipy_emulator import _xla

KEYS = random.Random(5).randbytes(_xla.DIGEST_KEYS)
BLOCK = 4096


def expected(data: bytes) -> bytes:
    """NH, in Python's integers."""
    keys = np.frombuffer(KEYS, "<u8").tolist()
    made = b""
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        words = np.frombuffer(block + bytes(-len(block) % 16), "<u8").tolist()
        sums = [(w + k) % 2**64 for w, k in zip(words, keys)]
        total = sum(x * y for x, y in zip(sums[::2], sums[1::2]))
        made += (total % 2**128).to_bytes(16, "little")
    return made


@pytest.mark.parametrize("size", [0, 1, 16, 4095, 4096, 4113, 3 << 20, (3 << 20) + 9])
def test_digests_are_nh(size):
    data = np.random.default_rng(size).bytes(size)
    assert _xla.digest(np.frombuffer(data, np.uint8), KEYS) == expected(data)


def test_wrong_arguments():
    array = np.zeros((8, 8), ml_dtypes.bfloat16)
    assert _xla.digest(array, KEYS) == expected(bytes(128))
    with pytest.raises(ValueError, match="C-contiguous"):
        _xla.digest(array[:, 1:], KEYS)
    with pytest.raises(ValueError, match="4096"):
        _xla.digest(array, KEYS[1:])
    with pytest.raises(TypeError):
        _xla.digest(array, "keys")  # type: ignore[arg-type]


def test_a_captured_array_that_changes_is_noticed():
    x, held = np.ones(1 << 18, np.float32), np.arange(1 << 18, dtype=np.float32)

    @simulate_jit
    def kernel(x):
        return x + held

    for at, value in ((0, 5), (12345, np.nan), (-1, -0.0)):
        np.testing.assert_array_equal(kernel(x), x + held)
        held[at] = value
        np.testing.assert_array_equal(kernel(x), x + held)
    held[[3, 4]] = held[[4, 3]]
    np.testing.assert_array_equal(kernel(x), x + held)
    held.shape = 512, 512
    with pytest.raises(ValueError, match="broadcast"):
        kernel(x)


def test_no_copy_of_a_large_array_is_kept():
    large, small = np.zeros(1 << 20, np.uint8), np.zeros(8)
    guards = Guards(lambda: (large, small, large[::2]))
    guards.keep_digests(_xla.digest, KEYS, _xla.MemoryWatch)
    assert guards.hold()
    large[-1] = 1
    assert not guards.hold()
    large[-1] = 0
    assert guards.hold()
    small[0] = 1
    assert not guards.hold()


def test_bytes_of_pythons_are_not_copied():
    array = np.frombuffer(bytes(1 << 20), np.uint8)
    is_unwritten = Unwritten(array)
    assert is_unwritten._kept is None
    assert is_unwritten()
    array.shape = 1024, 1024
    assert not is_unwritten()
